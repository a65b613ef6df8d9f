//! ValidatingAdmissionWebhook: webhooks that refuse. All are asked at the same time.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use super::call::{Call, Stop, is_over};
use super::client::Webhooks;
use super::configuration::{Configuration, Current, Type, Webhook};
use super::select::{Versioned, select};
use crate::attributes::Attributes;
use crate::chain::Plugin;
use crate::expressions::FailurePolicy;
use crate::notes::Notes;
use crate::numbers;
use crate::refusal::Refusal;
use crate::rules::Matched;
use crate::surroundings::Surroundings;
use skiff_audit::Level;

const FAILED_OPEN: &str = "failed-open.validating.webhook.admission.k8s.io/";

/// The plugin.
pub struct ValidatingWebhooks {
    surroundings: Surroundings,
    caller: Arc<dyn Webhooks>,
    current: Current,
}

impl ValidatingWebhooks {
    /// Without configurations yet.
    pub fn new(surroundings: Surroundings, caller: Arc<dyn Webhooks>) -> Self {
        Self { surroundings, caller, current: Current::default() }
    }

    /// Puts these in the place of all configurations. Requests that have begun go on with those that they found.
    pub fn set(&self, configurations: Vec<Arc<Configuration>>) {
        self.current.set(configurations);
    }

    /// Asks one webhook; its place is that among those that match the request.
    async fn ask(
        &self,
        place: usize,
        (hook, matched, versioned): &(&Webhook, Matched, Versioned<'_>),
        attributes: &Attributes,
    ) -> (Result<(), Refusal>, Notes) {
        let mut notes = Notes::default();
        let call = Call { hook, of: Type::Validating, attributes, matched, versioned };
        let outcome = match call.run(&*self.caller, &mut notes).await {
            Ok(_) => Ok(()),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(_)) if hook.failure_policy == FailurePolicy::Ignore => {
                numbers::webhook_failed(&hook.name, Type::Validating, attributes, false);
                let key = format!("{FAILED_OPEN}round_0_index_{place}");
                notes.annotate(Level::Metadata, key, hook.name.clone());
                Ok(())
            }
            Err(Stop::Failed(why)) => {
                numbers::webhook_failed(&hook.name, Type::Validating, attributes, true);
                Err(Stop::failure(&hook.name, &why))
            }
        };
        (outcome, notes)
    }
}

#[async_trait]
impl Plugin for ValidatingWebhooks {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, attributes: &Attributes) -> bool {
        !attributes.configures_admission()
    }

    /// Of several refusals that of the first webhook counts.
    async fn validate(&self, attributes: &Attributes) -> Result<(), Refusal> {
        let configurations = self.current.get();
        let mut relevant = Vec::new();
        for hook in configurations.iter().flat_map(|configuration| &configuration.webhooks) {
            let Some(matched) = select(hook, attributes, &self.surroundings).await? else { continue };
            let versioned = Versioned::of(attributes, &matched.kind, &*self.surroundings.kinds);
            relevant.push((hook, matched, versioned.map_err(Refusal::internal)?));
        }
        if relevant.is_empty() {
            return Ok(());
        }
        if is_over(attributes) {
            return Err(Refusal::timeout());
        }
        let calls = relevant.iter().enumerate().map(|(place, hook)| self.ask(place, hook, attributes));
        let mut outcome = Ok(());
        for (asked, notes) in join_all(calls).await {
            attributes.notes.lock().extend(notes);
            outcome = outcome.and(asked);
        }
        outcome
    }
}
