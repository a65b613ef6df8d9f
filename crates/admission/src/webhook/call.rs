//! One call of one webhook.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answer::{self, Answer, Unusable};
use super::client::Webhooks;
use super::configuration::{SideEffects, Type, Webhook};
use super::review::{self, Version};
use super::select::Versioned;
use crate::attributes::Attributes;
use crate::notes::Notes;
use crate::numbers::{self, Called};
use crate::refusal::Refusal;
use crate::rules::Matched;
use skiff_audit::Level;

/// A call may take as long, where nothing else bounds it.
const LONGEST: Duration = Duration::from_secs(30);

/// Why a webhook did not let a request go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It could not be asked, or its answer could not be used, for this reason: the failure policy decides.
    Failed(String),
    /// It, or the server because of it, refuses.
    Refused(Refusal),
}

impl Stop {
    /// A failed call as it is told to clients.
    pub(super) fn failure(webhook: &str, why: &str) -> Refusal {
        Refusal::internal(format!("failed calling webhook {webhook:?}: {why}"))
    }
}

/// A webhook with what it is asked.
pub(super) struct Call<'a> {
    pub(super) hook: &'a Webhook,
    pub(super) of: Type,
    pub(super) attributes: &'a Attributes,
    pub(super) matched: &'a Matched,
    pub(super) versioned: &'a Versioned<'a>,
}

impl Call<'_> {
    /// Asks, counts what comes of it, and notes what the webhook wants to have noted. Gives the answer of a webhook that allows the
    /// request.
    pub(super) async fn run(&self, caller: &dyn Webhooks, notes: &mut Notes) -> Result<Answer, Stop> {
        let began = Instant::now();
        let answer = self.ask(caller, notes).await;
        let called = match &answer {
            Ok(_) => Called::Allowed,
            Err(Stop::Refused(refusal)) => Called::Refused(refusal),
            Err(Stop::Failed(_)) => Called::Failed,
        };
        numbers::webhook(&self.hook.name, self.of, self.attributes, &called, began);
        answer
    }

    async fn ask(&self, caller: &dyn Webhooks, notes: &mut Notes) -> Result<Answer, Stop> {
        let name = &self.hook.name;
        self.check_dry_run()?;
        let version = Version::of(self.hook).ok_or_else(|| {
            let why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            Stop::Failed(format!("could not create admission objects: {why}"))
        })?;
        let uid = uuid::Uuid::new_v4().to_string();
        let request = review::request(version, &uid, self.attributes, self.matched, self.versioned);
        let timeout = self.timeout();
        let client = &self.hook.client;
        let called = caller.call(client, Bytes::from(request.to_string()), timeout).await;
        let failed = |why: &str| Stop::Failed(format!("failed to call webhook: {why}"));
        let body = called.map_err(|error| failed(&error.text(client, timeout)))?;
        let answer = answer::read(&body, version, &uid, self.of).map_err(|error| match error {
            Unusable::Unreadable(why) => failed(&why),
            Unusable::Invalid(why) => Stop::Failed(format!("received invalid webhook response: {why}")),
        })?;
        for (key, value) in &answer.annotations {
            notes.annotate(Level::Metadata, format!("{name}/{key}"), value.clone());
        }
        answer.warnings.iter().for_each(|warning| notes.warn(warning.clone()));
        if answer.allowed { Ok(answer) } else { Err(Stop::Refused(answer::denial(name, answer.status))) }
    }

    /// Webhooks that do something besides their answer are not called in dry runs.
    fn check_dry_run(&self) -> Result<(), Stop> {
        match self.hook.side_effects {
            _ if !self.attributes.dry_run => Ok(()),
            SideEffects::None => Ok(()),
            SideEffects::Unsaid => Err(Stop::Failed("Webhook SideEffects is nil".to_owned())),
            SideEffects::Some => {
                let why = format!("admission webhook {:?} does not support dry run", self.hook.name);
                Err(Stop::Refused(Refusal::bad_request(why)))
            }
        }
    }

    /// The webhook's own time, or what is left of the request's.
    fn timeout(&self) -> Duration {
        let own = self.hook.timeout.map_or(LONGEST, Duration::from_secs);
        let left = self.attributes.deadline.map(|end| end.saturating_duration_since(Instant::now()));
        left.map_or(own, |left| left.min(own))
    }
}

/// Whether the request's own time is over.
pub(super) fn is_over(attributes: &Attributes) -> bool {
    attributes.deadline.is_some_and(|end| end <= Instant::now())
}
