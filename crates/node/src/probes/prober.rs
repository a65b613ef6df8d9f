//! The task that runs one probe of one running container, for as long as it is wanted.

use super::action::of_probe;
use super::perform::{Effort, Outcome, Target, perform};
use super::tally::{ProbeKind, Tally, Timing};
use crate::pod::local::{LocalContainer, LocalPod};
use crate::pod::observed::Report;
use crate::shared::Shared;
use crate::time::{after, until};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;
use skiff_informer::EventType::Warning;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

/// One probe of one container.
pub(crate) struct Prober {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pod: Arc<LocalPod>,
    pub(crate) container: LocalContainer,
    pub(crate) kind: ProbeKind,
    pub(crate) target: Target,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) started_at: Timestamp,
    /// Where changed verdicts go.
    pub(crate) reports: mpsc::Sender<Report>,
}

/// The probe of `container` of the given kind.
pub(crate) fn probe_of(container: &LocalContainer, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.spec.startup_probe.as_ref(),
        ProbeKind::Liveness => container.spec.liveness_probe.as_ref(),
        ProbeKind::Readiness => container.spec.readiness_probe.as_ref(),
    }
}

impl Prober {
    /// Probes each period, from the initial delay after the container's start on; ends when a startup probe has
    /// passed or nobody listens.
    pub(crate) async fn run(self) {
        let Some(probe) = probe_of(&self.container, self.kind).cloned() else { return };
        let timing = Timing::of(&probe);
        let first = until(Timestamp::now(), after(self.started_at, timing.initial_delay));
        let mut ticks = tokio::time::interval_at(Instant::now() + first, timing.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tally = Tally::new(timing);
        let action = of_probe(&probe, &self.container.spec, self.ip);
        let mut effort = Effort::patient(timing.timeout);
        loop {
            ticks.tick().await;
            let outcome = match &action {
                Ok(action) => perform(action, &self.target, effort).await,
                Err(text) => Outcome::Error(text.clone()),
            };
            effort = Effort::at_once(timing.timeout);
            self.shared.probes.count(&self.pod, &self.container, self.kind, &outcome);
            self.tell(&outcome);
            let Some(verdict) = tally.count(outcome.is_success()) else { continue };
            if let Some(report) = self.report(verdict)
                && self.reports.send(report).await.is_err()
            {
                return;
            }
            if self.kind == ProbeKind::Startup && verdict {
                return;
            }
        }
    }

    /// Records an attempt that was no plain success.
    fn tell(&self, outcome: &Outcome) {
        if let Some((reason, message)) = event_of(self.kind, outcome) {
            self.shared.container_event(&self.pod, &self.container, Warning, reason, message);
        }
    }

    fn report(&self, ok: bool) -> Option<Report> {
        let (container, id) = (self.container.name.clone(), self.target.container.to_string());
        match self.kind {
            ProbeKind::Startup => Some(Report::Startup { container, id, ok }),
            ProbeKind::Readiness => Some(Report::Readiness { container, id, ok }),
            ProbeKind::Liveness => (!ok).then_some(Report::LivenessFailed { container, id }),
        }
    }
}

/// Reason and message of the event about an attempt, as the kubelet words them; none for a plain success.
fn event_of(kind: ProbeKind, outcome: &Outcome) -> Option<(&'static str, String)> {
    let title = kind.title();
    match outcome {
        Outcome::Success => None,
        Outcome::Warning(text) => Some(("ProbeWarning", format!("{title} probe warning: {text}"))),
        Outcome::Failure(text) => Some(("Unhealthy", format!("{title} probe failed: {text}"))),
        Outcome::Error(text) => {
            Some(("Unhealthy", format!("{title} probe errored and resulted in unknown state: {text}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_as_the_kubelet_tells_them() {
        let check = |kind: ProbeKind, outcome: Outcome, expected: Option<(&'static str, &str)>| {
            let event = event_of(kind, &outcome);
            assert_eq!(event, expected.map(|(reason, message)| (reason, message.to_owned())), "{outcome:?}");
        };
        check(ProbeKind::Readiness, Outcome::Success, None);
        // What a probe that is sent to another host comes to.
        let redirected = "Probe terminated redirects, Response body: bye";
        let warning = format!("Readiness probe warning: {redirected}");
        let redirected = Outcome::Warning(redirected.into());
        assert!(redirected.is_success(), "the container is ready all the same");
        check(ProbeKind::Readiness, redirected, Some(("ProbeWarning", &warning)));
        let failed = Outcome::Failure("HTTP probe failed with statuscode: 500".into());
        let unhealthy = "Liveness probe failed: HTTP probe failed with statuscode: 500";
        check(ProbeKind::Liveness, failed, Some(("Unhealthy", unhealthy)));
        check(
            ProbeKind::Startup,
            Outcome::Error("x".into()),
            Some(("Unhealthy", "Startup probe errored and resulted in unknown state: x")),
        );
    }
}
