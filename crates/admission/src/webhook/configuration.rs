//! Configurations as matchers.

use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;
use skiff_machinery::Object;

use super::client::ClientConfig;
use crate::expressions::{Conditions, Environments, FailurePolicy};
use crate::rules::{MatchPolicy, Rule};
use crate::selector::{self, Selector};
use crate::surroundings::{items, text, texts};

/// Of which kind a configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// MutatingWebhookConfiguration.
    Mutating,
    /// ValidatingWebhookConfiguration.
    Validating,
}

/// A MutatingWebhookConfiguration or ValidatingWebhookConfiguration, ready for requests.
#[derive(Debug)]
pub struct Configuration {
    pub(super) name: String,
    pub(super) webhooks: Vec<Webhook>,
}

/// A webhook does something besides its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SideEffects {
    /// Nothing is said.
    Unsaid,
    /// Never, or not in dry runs.
    None,
    /// In dry runs, too.
    Some,
}

/// One webhook of a configuration.
#[derive(Debug)]
pub(super) struct Webhook {
    /// Of the configuration, with the webhook's own: unique among all webhooks.
    pub(super) key: String,
    pub(super) configuration: String,
    pub(super) name: String,
    pub(super) client: ClientConfig,
    pub(super) rules: Vec<Rule>,
    pub(super) match_policy: MatchPolicy,
    pub(super) failure_policy: FailurePolicy,
    pub(super) namespaces: Selector,
    pub(super) objects: Selector,
    pub(super) conditions: Conditions,
    pub(super) side_effects: SideEffects,
    /// Seconds; without, a call may take as long as the request.
    pub(super) timeout: Option<u64>,
    pub(super) review_versions: Vec<String>,
    /// Whether it wants to see an object again that others changed after it.
    pub(super) reinvoked: bool,
}

impl Configuration {
    /// Compiles a configuration as it is stored, with its defaults. What cannot be compiled fails the requests that it matches, as
    /// the failure policy says.
    pub fn compile(object: &Object) -> Self {
        let name = object.name().to_owned();
        let environments = Environments::of_webhooks();
        let hooks = object.get(&["webhooks"]).and_then(Value::as_array);
        let hooks = hooks.into_iter().flatten().enumerate();
        let webhooks =
            hooks.map(|(index, hook)| Webhook::compile(&name, index, hook, &environments)).collect();
        Self { name, webhooks }
    }
}

impl Webhook {
    fn compile(configuration: &str, index: usize, hook: &Value, environments: &Environments) -> Self {
        let name = text(hook, "name");
        let failure_policy = FailurePolicy::of(hook);
        let none = Value::Null;
        let part = |field: &str| hook.get(field).unwrap_or(&none);
        Self {
            key: format!("{configuration}/{name}/{index}"),
            configuration: configuration.to_owned(),
            name: name.to_owned(),
            client: ClientConfig::of(part("clientConfig")),
            rules: items(hook, "rules").iter().map(Rule::of).collect(),
            match_policy: MatchPolicy::of(hook),
            failure_policy,
            namespaces: selector::compile(part("namespaceSelector")),
            objects: selector::compile(part("objectSelector")),
            conditions: Conditions::compile(hook, failure_policy, environments),
            side_effects: match text(hook, "sideEffects") {
                "" => SideEffects::Unsaid,
                "None" | "NoneOnDryRun" => SideEffects::None,
                _ => SideEffects::Some,
            },
            timeout: part("timeoutSeconds").as_u64(),
            review_versions: texts(hook, "admissionReviewVersions"),
            reinvoked: text(hook, "reinvocationPolicy") == "IfNeeded",
        }
    }
}

/// The configurations of now. Requests that have begun go on with those that they found.
#[derive(Debug, Default)]
pub(super) struct Current(RwLock<Arc<Vec<Arc<Configuration>>>>);

impl Current {
    /// Puts others in their place. Webhooks are called in the order of their configurations' names.
    pub(super) fn set(&self, mut configurations: Vec<Arc<Configuration>>) {
        skiff_ordered::sort_by(&mut configurations, |one, another| one.name.cmp(&another.name));
        *self.0.write() = Arc::new(configurations);
    }

    pub(super) fn get(&self) -> Arc<Vec<Arc<Configuration>>> {
        self.0.read().clone()
    }
}
