//! MutatingAdmissionWebhook: webhooks that change objects, one after the other.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use skiff_audit::Level;
use skiff_machinery::{Object, patch};

use super::call::{Call, Stop, is_over};
use super::client::Webhooks;
use super::configuration::{Configuration, Current, Type, Webhook};
use super::select::{Versioned, select};
use crate::attributes::{Attributes, GroupVersionKind};
use crate::chain::Plugin;
use crate::expressions::FailurePolicy;
use crate::notes::Notes;
use crate::numbers;
use crate::refusal::Refusal;
use crate::rules::Matched;
use crate::surroundings::{Surroundings, Unknown};

const NAME: &str = "MutatingAdmissionWebhook";
const PATCH: &str = "patch.webhook.admission.k8s.io/";
const MUTATION: &str = "mutation.webhook.admission.k8s.io/";
const FAILED_OPEN: &str = "failed-open.mutation.webhook.admission.k8s.io/";

/// The plugin.
pub struct MutatingWebhooks {
    surroundings: Surroundings,
    caller: Arc<dyn Webhooks>,
    current: Current,
}

/// Whether a webhook changed the object.
#[derive(Serialize)]
struct MutationNote<'a> {
    configuration: &'a str,
    webhook: &'a str,
    mutated: bool,
}

/// How a webhook changed the object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PatchNote<'a> {
    configuration: &'a str,
    webhook: &'a str,
    patch: &'a [Map<String, Value>],
    patch_type: &'static str,
}

/// What a webhook made of the object.
struct Change {
    /// In the version that the webhook asked for, with defaults.
    object: Object,
    /// Whether it is another object: the defaults that come back by themselves do not count.
    changed: bool,
    patch: Vec<Map<String, Value>>,
}

impl MutatingWebhooks {
    /// Without configurations yet.
    pub fn new(surroundings: Surroundings, caller: Arc<dyn Webhooks>) -> Self {
        Self { surroundings, caller, current: Current::default() }
    }

    /// Puts these in the place of all configurations. Requests that have begun go on with those that they found.
    pub fn set(&self, configurations: Vec<Arc<Configuration>>) {
        self.current.set(configurations);
    }

    async fn run(&self, attributes: &mut Attributes) -> Result<(), Refusal> {
        let configurations = self.current.get();
        let hooks = configurations.iter().flat_map(|configuration| &configuration.webhooks);
        for (index, hook) in hooks.enumerate() {
            let Some(matched) = select(hook, attributes, &self.surroundings).await? else { continue };
            let second = attributes.reinvocation.is_second();
            if second && !attributes.reinvocation.of(NAME).is_due(&hook.key) {
                continue;
            }
            let place = format!("round_{}_index_{index}", u8::from(second));
            let outcome = self.ask(hook, &matched, &place, attributes).await;
            let invoked = attributes.reinvocation.of(NAME);
            if outcome == Ok(true) {
                invoked.changed();
            }
            if hook.reinvoked {
                invoked.waits(hook.key.clone());
            }
            match outcome {
                Ok(true) => attributes.reinvocation.want(),
                Ok(false) => {}
                Err(Stop::Refused(refusal)) => return Err(refusal),
                Err(Stop::Failed(_)) if hook.failure_policy == FailurePolicy::Ignore => {
                    numbers::webhook_failed(&hook.name, Type::Mutating, attributes, false);
                    attributes.annotate(Level::Metadata, format!("{FAILED_OPEN}{place}"), &hook.name);
                    if is_over(attributes) {
                        return Err(Refusal::timeout());
                    }
                }
                Err(Stop::Failed(why)) => {
                    numbers::webhook_failed(&hook.name, Type::Mutating, attributes, true);
                    return Err(Stop::failure(&hook.name, &why));
                }
            }
        }
        Ok(())
    }

    /// Asks one webhook and does what it says; tells whether that changed the object.
    async fn ask(
        &self,
        hook: &Webhook,
        matched: &Matched,
        place: &str,
        attributes: &mut Attributes,
    ) -> Result<bool, Stop> {
        let mut notes = Notes::default();
        let change = self.change(hook, matched, attributes, &mut notes).await;
        attributes.notes.lock().extend(notes);
        let changed = change.as_ref().is_ok_and(|change| change.as_ref().is_some_and(|c| c.changed));
        let (configuration, webhook) = (hook.configuration.as_str(), hook.name.as_str());
        let note = MutationNote { configuration, webhook, mutated: changed };
        attributes.annotate(Level::Metadata, format!("{MUTATION}{place}"), json(&note));
        let Some(Change { object, patch, .. }) = change? else { return Ok(false) };
        let note = PatchNote { configuration, webhook, patch: &patch, patch_type: "JSONPatch" };
        attributes.annotate(Level::Request, format!("{PATCH}{place}"), json(&note));
        attributes.object = Some(if matched.kind == attributes.kind {
            object
        } else {
            let back = self.surroundings.kinds.convert(&object, &attributes.kind);
            back.map_err(|why| Stop::Refused(Refusal::internal(why)))?
        });
        Ok(changed)
    }

    async fn change(
        &self,
        hook: &Webhook,
        matched: &Matched,
        attributes: &Attributes,
        notes: &mut Notes,
    ) -> Result<Option<Change>, Stop> {
        let internal = |why: String| Stop::Refused(Refusal::internal(why));
        let versioned = Versioned::of(attributes, &matched.kind, &*self.surroundings.kinds);
        let versioned = versioned.map_err(internal)?;
        let call = Call { hook, of: Type::Mutating, attributes, matched, versioned: &versioned };
        let answer = call.run(&*self.caller, notes).await?;
        if answer.patch.is_empty() {
            return Ok(None);
        }
        let operations: Vec<Map<String, Value>> = serde_json::from_slice(&answer.patch).map_err(|error| {
            Stop::Failed(format!("received undecodable patch in webhook response: {error}"))
        })?;
        if operations.is_empty() {
            return Ok(None);
        }
        let Some(object) = versioned.object.as_deref() else {
            return Err(internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        if answer.patch_type != "JSONPatch" {
            return Err(Stop::Failed(format!("unsupported patch type {:?}", answer.patch_type)));
        }
        let patched = patch::json(object, &answer.patch).map_err(|error| internal(error.to_string()))?;
        self.complete(object, patched, &matched.kind, operations).map(Some).map_err(internal)
    }

    fn complete(
        &self,
        before: &Object,
        patched: Object,
        kind: &GroupVersionKind,
        patch: Vec<Map<String, Value>>,
    ) -> Result<Change, String> {
        let kinds = &self.surroundings.kinds;
        let mut object = kinds.decode(kind, patched, Unknown::Dropped)?;
        let changed = object != *before;
        kinds.fill(kind, &mut object);
        Ok(Change { object, changed, patch })
    }
}

/// A note as JSON.
fn json(note: &impl Serialize) -> String {
    serde_json::to_string(note).unwrap_or_default()
}

#[async_trait]
impl Plugin for MutatingWebhooks {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, attributes: &Attributes) -> bool {
        !attributes.configures_admission()
    }

    async fn admit(&self, attributes: &mut Attributes) -> Result<(), Refusal> {
        attributes.reinvocation.enter(NAME, attributes.object.as_ref());
        let outcome = self.run(attributes).await;
        attributes.reinvocation.leave(NAME, attributes.object.as_ref());
        outcome
    }
}
