//! How many pods of a budget may be disrupted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::pods::KnownPod;
use crate::workload::amount::{self, Round};

/// How long a pod that was evicted may take to be seen going.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
/// How long a pod may be called disrupted without going.
const STALE: SignedDuration = SignedDuration::from_mins(2);
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// How many pods there should be, and how many of them healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expectation {
    pub(super) pods: i32,
    healthy: i32,
}

/// Whether what controls the pods has to be asked how many there should be.
pub(super) fn asks_controllers(spec: &PodDisruptionBudgetSpec) -> bool {
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// What a budget expects of `scale` pods: those that controllers ask for, or those that there are if they are not asked.
pub(super) fn expect(spec: &PodDisruptionBudgetSpec, scale: i32) -> Expectation {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let healthy = scale.saturating_sub(amount::of(most, scale, Round::Up)).max(0);
            Expectation { pods: scale, healthy }
        }
        (None, Some(least)) => Expectation { pods: scale, healthy: amount::of(least, scale, Round::Up) },
        (None, None) => Expectation { pods: 0, healthy: 0 },
    }
}

/// Pods that were evicted and are still to go.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Disrupted {
    pub(super) pods: BTreeMap<String, Time>,
    /// Pods that should have gone by now and did not.
    pub(super) stayed: Vec<String>,
    /// When to look at them again.
    pub(super) recheck_in: Option<Duration>,
}

/// Which of the pods that were evicted are still to go.
pub(super) fn disrupted(budget: &PodDisruptionBudget, pods: &[Arc<KnownPod>], now: Timestamp) -> Disrupted {
    let listed = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let mut disrupted = Disrupted::default();
    let Some(listed) = listed else { return disrupted };
    for pod in pods.iter().filter(|pod| !pod.is_deleting()) {
        let Some(since) = listed.get(pod.name()) else { continue };
        let left = DELETION_TIMEOUT - now.duration_since(since.0);
        if left.is_negative() {
            disrupted.stayed.push(pod.name().to_owned());
            continue;
        }
        let left = Duration::try_from(left).unwrap_or_default();
        disrupted.recheck_in = Some(disrupted.recheck_in.map_or(left, |other| other.min(left)));
        disrupted.pods.insert(pod.name().to_owned(), since.clone());
    }
    disrupted
}

/// Pods that are ready and about to stay.
pub(super) fn healthy(pods: &[Arc<KnownPod>], disrupted: &Disrupted) -> i32 {
    let stays = |pod: &&Arc<KnownPod>| {
        pod.is_ready() && !pod.is_deleting() && !disrupted.pods.contains_key(pod.name())
    };
    i32::try_from(pods.iter().filter(stays).count()).unwrap_or(i32::MAX)
}

/// The status that says so.
pub(super) fn status(
    budget: &PodDisruptionBudget,
    expectation: Expectation,
    healthy: i32,
    disrupted: Disrupted,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    // A budget without pods allows nothing, so that its first ones are safe until they have been counted.
    let spare = healthy.saturating_sub(expectation.healthy).max(0);
    let allowed = if expectation.pods > 0 { spare } else { 0 };
    let (holds, reason) = if allowed > 0 { (true, "SufficientPods") } else { (false, "InsufficientPods") };
    PodDisruptionBudgetStatus {
        conditions: conditions(budget, holds, reason, "", budget.metadata.generation, now),
        current_healthy: Some(healthy),
        desired_healthy: Some(expectation.healthy),
        expected_pods: Some(expectation.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted.pods).filter(|pods| !pods.is_empty()),
        observed_generation: budget.metadata.generation,
    }
}

/// The status of a budget of which nothing can be told: it allows nothing.
pub(super) fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let before = budget.status.clone().unwrap_or_default();
    PodDisruptionBudgetStatus {
        conditions: conditions(budget, false, "SyncFailed", why, before.observed_generation, now),
        disruptions_allowed: Some(0),
        ..before
    }
}

fn conditions(
    budget: &PodDisruptionBudget,
    holds: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Vec<Condition>> {
    let before = budget.status.as_ref().and_then(|status| status.conditions.clone());
    let mut conditions = before.unwrap_or_default();
    let mut new = Condition {
        type_: DISRUPTION_ALLOWED.into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == DISRUPTION_ALLOWED) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
    Some(conditions)
}

/// After how long the pod's condition DisruptionTarget is stale, if it is True and the pod stays; zero if it is already.
pub(super) fn stale_in(pod: &KnownPod, now: Timestamp) -> Option<Duration> {
    if pod.is_deleting() || pod.is_terminal() {
        return None;
    }
    let left = STALE - now.duration_since(pod.disrupted()?);
    Some(Duration::try_from(left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pods::tests::known;

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().unwrap()
    }

    fn pod(name: &str, ready: bool, deleting: bool) -> Arc<KnownPod> {
        let deleted = if deleting { json!("2026-01-01T00:09:00Z") } else { Value::Null };
        Arc::new(known(json!({
            "metadata": {"name": name, "uid": name, "deletionTimestamp": deleted},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        })))
    }

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        let budget = json!({"metadata": {"name": "b", "generation": 2}, "spec": spec, "status": status});
        serde_json::from_value(budget).unwrap()
    }

    #[test]
    fn budgets_expect_numbers_or_shares() {
        let check = |spec: Value, scale: i32, asks: bool, expected: (i32, i32)| {
            let spec = serde_json::from_value(spec).unwrap();
            let Expectation { pods, healthy } = expect(&spec, scale);
            assert_eq!((asks_controllers(&spec), (pods, healthy)), (asks, expected), "{spec:?}");
        };
        check(json!({"minAvailable": 2}), 5, false, (5, 2));
        check(json!({"minAvailable": "50%"}), 5, true, (5, 3));
        check(json!({"maxUnavailable": 1}), 5, true, (5, 4));
        check(json!({"maxUnavailable": "30%"}), 5, true, (5, 3));
        check(json!({"maxUnavailable": 9}), 5, true, (5, 0));
        check(json!({}), 5, false, (0, 0));
    }

    #[test]
    fn what_is_spare_may_be_disrupted() {
        let check = |spec: Value, pods: &[Arc<KnownPod>], scale: i32, expected: (i32, &str, &str)| {
            let budget = budget(spec, json!({}));
            let expectation = expect(budget.spec.as_ref().unwrap(), scale);
            let disrupted = disrupted(&budget, pods, now());
            let status = status(&budget, expectation, healthy(pods, &disrupted), disrupted, now());
            let condition = &status.conditions.as_ref().unwrap()[0];
            let shown = (status.disruptions_allowed.unwrap(), &*condition.status, &*condition.reason);
            assert_eq!(shown, expected);
            assert_eq!((status.observed_generation, condition.observed_generation), (Some(2), Some(2)));
        };
        let all =
            [pod("a", true, false), pod("b", true, false), pod("c", false, false), pod("d", true, true)];
        check(json!({"minAvailable": 1}), &all, 4, (1, "True", "SufficientPods"));
        check(json!({"minAvailable": 2}), &all, 4, (0, "False", "InsufficientPods"));
        check(json!({"maxUnavailable": "100%"}), &all, 4, (2, "True", "SufficientPods"));
        check(json!({"minAvailable": 0}), &[], 0, (0, "False", "InsufficientPods"));
    }

    #[test]
    fn evicted_pods_are_waited_for_two_minutes() {
        let budget = budget(
            json!({"minAvailable": 1}),
            json!({"disruptedPods": {
            "a": "2026-01-01T00:09:30Z", "b": "2026-01-01T00:07:00Z", "c": "2026-01-01T00:09:00Z", "gone": "2026-01-01T00:09:00Z"}}),
        );
        let pods =
            [pod("a", true, false), pod("b", true, false), pod("c", true, true), pod("d", true, false)];
        let disrupted = disrupted(&budget, &pods, now());
        assert_eq!(disrupted.pods.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(disrupted.stayed, ["b"]);
        assert_eq!(disrupted.recheck_in, Some(Duration::from_secs(90)));
        assert_eq!(healthy(&pods, &disrupted), 2);
    }

    #[test]
    fn a_budget_that_fails_allows_nothing() {
        let before = json!({"disruptionsAllowed": 2, "currentHealthy": 3, "observedGeneration": 1, "conditions": [
            {"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": "",
             "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let status = failed(&budget(json!({"minAvailable": 1}), before), "no", now());
        assert_eq!((status.disruptions_allowed, status.current_healthy), (Some(0), Some(3)));
        let condition = &status.conditions.unwrap()[0];
        assert_eq!(
            (&*condition.reason, &*condition.message, condition.observed_generation),
            ("SyncFailed", "no", Some(1))
        );
        assert_eq!(condition.last_transition_time.0, now());
    }

    #[test]
    fn pods_that_stay_are_not_disrupted() {
        let check = |status: Value, phase: &str, expected: Option<u64>| {
            let pod = known(json!({"status": {"phase": phase, "conditions": [status]}}));
            assert_eq!(stale_in(&pod, now()), expected.map(Duration::from_secs));
        };
        let condition = |status: &str, reason: &str, time: &str| json!({"type": "DisruptionTarget", "status": status, "reason": reason, "lastTransitionTime": format!("2026-01-01T{time}Z")});
        check(condition("True", "EvictionByEvictionAPI", "00:09:30"), "Running", Some(90));
        check(condition("True", "EvictionByEvictionAPI", "00:01:00"), "Running", Some(0));
        check(condition("True", "EvictionByEvictionAPI", "00:01:00"), "Failed", None);
        check(condition("True", "TerminationByKubelet", "00:01:00"), "Running", None);
        check(condition("False", "", "00:01:00"), "Running", None);
    }
}
