//! What the plugin decides about pods and what makes pods.

use std::collections::BTreeMap;

use serde_json::Value;
use skiff_machinery::FieldErrors;

use crate::checks::{Violation, check, details};
use crate::level::{Level, LevelVersion};
use crate::pod::{items, name, text};
use crate::policy::{PREFIX, Policy, joined};

/// Who and what is never checked; names are compared as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemptions {
    /// Users that make pods, by name.
    pub usernames: Vec<String>,
    /// RuntimeClasses that pods name.
    pub runtime_classes: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
}

/// The plugin with its configuration. By default everything is privileged where labels say nothing, and nobody is
/// exempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSecurity {
    /// What holds where a namespace's labels say nothing.
    pub defaults: Policy,
    /// Who and what is never checked.
    pub exemptions: Exemptions,
}

/// What is done to the object.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// The object is new.
    Create,
    /// The object is there.
    Update {
        /// As it is before the update; of a Namespace only `metadata.labels`.
        old: &'a Value,
    },
}

/// A request for a pod, or for what makes pods.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub user: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// `metadata.labels` of that Namespace; null for none.
    pub namespace_labels: &'a Value,
    /// The subresource of the path.
    pub subresource: Option<&'a str>,
    /// What is done.
    pub operation: Operation<'a>,
    /// The object as it would be stored.
    pub object: &'a Value,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Denial {
    /// 403, reason Forbidden: what follows `pods "name" is forbidden: `.
    Forbidden(String),
    /// 422, reason Invalid: fields of the Namespace.
    Invalid(FieldErrors),
}

/// What the plugin says to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Why the request is refused; none if it is not.
    pub denied: Option<Denial>,
    /// What the client is warned of, with code 299; none if the request is refused.
    pub warnings: Vec<String>,
    /// What is added to the audit event, under whole keys.
    pub audit_annotations: BTreeMap<String, String>,
}

impl Decision {
    fn annotate(&mut self, key: &str, value: impl Into<String>) {
        self.audit_annotations.insert(format!("{PREFIX}{key}"), value.into());
    }

    fn exempt(reason: &str) -> Self {
        let mut decision = Self::default();
        decision.annotate("exempt", reason);
        decision
    }
}

/// Subresources of pods that cannot change what is checked.
const IGNORED_SUBRESOURCES: &[&str] =
    &["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// Where the pod's template is in objects of a resource, as keys; `None` for resources that make no pods. For pods
/// themselves see [`PodSecurity::pod`].
pub fn template_path(group: &str, resource: &str) -> Option<&'static [&'static str]> {
    match (group, resource) {
        ("", "podtemplates") => Some(&["template"]),
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some(&["spec", "template"]),
        ("batch", "cronjobs") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

impl PodSecurity {
    /// Creates and updates of pods, also by subresources that carry the whole Pod. Updates matter if containers
    /// come, go or get another image.
    pub fn pod(&self, request: &Request<'_>) -> Decision {
        if request.subresource.is_some_and(|s| IGNORED_SUBRESOURCES.contains(&s)) {
            return Decision::default();
        }
        if let Some(decision) = self.exempt(request) {
            return decision;
        }
        let (policy, errors) = Policy::from_labels(request.namespace_labels, &self.defaults);
        if errors.is_empty() && policy.is_privileged() {
            let mut decision = Decision::default();
            decision.annotate("enforce-policy", LevelVersion::PRIVILEGED.to_string());
            return decision;
        }
        match request.operation {
            Operation::Update { old } if !is_significant(request.object, old) => Decision::default(),
            _ => self.evaluate(&policy, &errors, request.object, Enforcement::On),
        }
    }

    /// Creates and updates of what makes pods; `path` is where the template is ([`template_path`]). Never refused.
    pub fn workload(&self, path: &[&str], request: &Request<'_>) -> Decision {
        if request.subresource.is_some() {
            return Decision::default();
        }
        if let Some(decision) = self.exempt(request) {
            return decision;
        }
        let (policy, errors) = Policy::from_labels(request.namespace_labels, &self.defaults);
        let silent = [policy.warn, policy.audit].iter().all(|mode| mode.level == Level::Privileged);
        let template = path.iter().fold(request.object, |object, key| &object[*key]);
        if template.is_null() || (errors.is_empty() && silent) {
            return Decision::default();
        }
        self.evaluate(&policy, &errors, template, Enforcement::Off)
    }

    /// The answer to an exempt namespace or user.
    fn exempt(&self, request: &Request<'_>) -> Option<Decision> {
        let namespace = self.exempts_namespace(request.namespace).then_some("namespace");
        let user = || listed(&self.exemptions.usernames, request.user).then_some("user");
        namespace.or_else(user).map(Decision::exempt)
    }

    pub(crate) fn exempts_namespace(&self, namespace: &str) -> bool {
        listed(&self.exemptions.namespaces, namespace)
    }

    pub(crate) fn exempts_runtime_class_of(&self, pod: &Value) -> bool {
        listed(&self.exemptions.runtime_classes, text(&pod["spec"]["runtimeClassName"]))
    }

    fn evaluate(&self, policy: &Policy, errors: &FieldErrors, pod: &Value, enforce: Enforcement) -> Decision {
        if self.exempts_runtime_class_of(pod) {
            return Decision::exempt("runtimeClass");
        }
        let mut decision = Decision::default();
        if !errors.is_empty() {
            decision.annotate("error", format!("Failed to parse policy: {}", joined(errors)));
        }
        if matches!(enforce, Enforcement::On) {
            decision.annotate("enforce-policy", policy.enforce.to_string());
            let violates = violation(policy.enforce, pod).map(|text| format!("violates {text}"));
            decision.denied = violates.map(Denial::Forbidden);
        }
        let would = |mode| violation(mode, pod).map(|text| format!("would violate {text}"));
        if let Some(text) = would(policy.audit) {
            decision.annotate("audit-violations", text);
        }
        if decision.denied.is_none() {
            decision.warnings.extend(would(policy.warn));
        }
        decision
    }
}

/// Whether violations of the enforced level refuse the request.
enum Enforcement {
    On,
    Off,
}

/// `PodSecurity "LEVEL:VERSION": what is violated`
fn violation(mode: LevelVersion, pod: &Value) -> Option<String> {
    let violations: Vec<Violation> = check(mode, pod);
    (!violations.is_empty()).then(|| format!("PodSecurity \"{mode}\": {}", details(&violations)))
}

/// The empty name is never listed.
fn listed(list: &[String], name: &str) -> bool {
    !name.is_empty() && list.iter().any(|listed| listed == name)
}

/// Whether an update can make a pod worse: of what is checked only containers can change, and images stand for them.
fn is_significant(new: &Value, old: &Value) -> bool {
    let (new, old) = (&new["spec"], &old["spec"]);
    let changed = |list: &str| {
        let (new, old) = (items(&new[list]), items(&old[list]));
        new.len() != old.len() || new.iter().zip(old).any(|(new, old)| new["image"] != old["image"])
    };
    let before = items(&old["ephemeralContainers"]);
    let known = |new: &Value| {
        let old = before.iter().find(|old| name(old) == name(new));
        old.is_some_and(|old| old["image"] == new["image"])
    };
    ["containers", "initContainers"].into_iter().any(changed)
        || !items(&new["ephemeralContainers"]).iter().all(known)
}
