//! What a Job's policies say: of a pod that failed, and of the indexes that succeeded.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    SuccessPolicy,
};

use super::indexes::Indexes;
use crate::pods::KnownPod;
use crate::pods::work::{Exit, Work};

/// What follows from the failure of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It counts towards the limits.
    Counts,
    /// It does not.
    Ignored,
    /// Its index has failed, whatever the limits are.
    FailsIndex,
    /// The whole Job has failed, for the reason given.
    FailsJob(String),
}

/// The first rule that matches decides; without one the failure counts.
pub(super) fn of_failure(policy: Option<&PodFailurePolicy>, pod: &KnownPod, work: &Work) -> Failure {
    for (index, rule) in policy.into_iter().flat_map(|policy| &policy.rules).enumerate() {
        let at_fault = || format!("{}/{}", pod.key().namespace(), pod.name());
        let message = if let Some(codes) = &rule.on_exit_codes {
            exit(codes, work).map(|exit| {
                let (pod, action) = (at_fault(), &rule.action);
                let Exit { container, code } = exit;
                format!("Container {container} for pod {pod} failed with exit code {code} matching {action} rule at index {index}")
            })
        } else {
            condition(rule.on_pod_conditions.as_deref().unwrap_or_default(), work).map(|type_| {
                let (pod, action) = (at_fault(), &rule.action);
                format!("Pod {pod} has condition {type_} matching {action} rule at index {index}")
            })
        };
        let Some(message) = message else { continue };
        match rule.action.as_str() {
            "Ignore" => return Failure::Ignored,
            "FailIndex" => return Failure::FailsIndex,
            "Count" => return Failure::Counts,
            "FailJob" => return Failure::FailsJob(message),
            _ => {}
        }
    }
    Failure::Counts
}

/// The first end that is meant.
fn exit<'w>(codes: &PodFailurePolicyOnExitCodesRequirement, work: &'w Work) -> Option<&'w Exit> {
    work.exits.iter().find(|exit| {
        let named = codes.container_name.as_deref().is_none_or(|name| name == &*exit.container);
        let listed = codes.values.contains(&exit.code);
        named
            && match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
    })
}

/// The type of the first condition that is meant.
fn condition<'w>(patterns: &[PodFailurePolicyOnPodConditionsPattern], work: &'w Work) -> Option<&'w str> {
    let meant = |(type_, status): &&(Box<str>, Box<str>)| {
        let mut patterns = patterns.iter();
        patterns.any(|pattern| {
            pattern.type_ == **type_ && pattern.status.as_deref().unwrap_or("True") == &**status
        })
    };
    work.conditions.iter().find(meant).map(|(type_, _)| &**type_)
}

/// Why the Job has succeeded by now, if its policy says so.
pub(super) fn of_success(
    policy: Option<&SuccessPolicy>,
    succeeded: &Indexes,
    completions: u32,
) -> Option<String> {
    let enough =
        |total: u32, count: Option<i32>| count.is_some_and(|count| i64::from(total) >= i64::from(count));
    if succeeded.total() == 0 {
        return None;
    }
    let met = policy?.rules.iter().position(|rule| match &rule.succeeded_indexes {
        None => enough(succeeded.total(), rule.succeeded_count),
        Some(required) => {
            let required = Indexes::parse(required, completions);
            let there = required.shared_with(succeeded);
            required.total() > 0 && (there == required.total() || enough(there, rule.succeeded_count))
        }
    });
    met.map(|index| format!("Matched rules at index {index}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pods::tests::known;
    use crate::pods::work::TRACKING_FINALIZER;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42, 43]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 2, 42]}},
            {"action": "Count", "onExitCodes": {"operator": "In", "values": [2]}},
            {"action": "FailJob", "onPodConditions": [{"type": "Broken"}]},
        ]});
        let policy: PodFailurePolicy = serde_json::from_value(policy).unwrap();
        let check = |exits: &[(&str, i32)], condition: Value, expected: Failure| {
            let containers = exits
                .iter()
                .map(|(name, code)| {
                    json!({
                "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code}}})
                })
                .collect::<Vec<_>>();
            let pod = known(json!({
                "metadata": {"namespace": "ns", "name": "p", "finalizers": [TRACKING_FINALIZER]},
                "status": {"containerStatuses": containers, "conditions": condition}}));
            assert_eq!(of_failure(Some(&policy), &pod, pod.work().unwrap()), expected);
            assert_eq!(of_failure(None, &pod, pod.work().unwrap()), Failure::Counts);
        };
        let disrupted = json!([{"type": "DisruptionTarget", "status": "True"}]);
        check(&[("main", 42)], disrupted, Failure::Ignored);
        check(&[("main", 0), ("other", 2)], json!([]), Failure::Counts);
        check(&[("other", 42)], json!([]), Failure::Counts);
        check(&[("other", 3)], json!([{"type": "DisruptionTarget", "status": "False"}]), Failure::FailsIndex);
        check(&[], json!([]), Failure::Counts);
        let exit = "Container main for pod ns/p failed with exit code 43 matching FailJob rule at index 1";
        check(&[("other", 1), ("main", 43)], json!([]), Failure::FailsJob(exit.into()));
        let broken = "Pod ns/p has condition Broken matching FailJob rule at index 4";
        check(
            &[("main", 1)],
            json!([{"type": "Broken", "status": "True"}]),
            Failure::FailsJob(broken.into()),
        );
    }

    #[test]
    fn enough_indexes_are_success() {
        let check = |rules: Value, succeeded: &str, expected: Option<&str>| {
            let policy: SuccessPolicy = serde_json::from_value(json!({"rules": rules})).unwrap();
            let met = of_success(Some(&policy), &Indexes::parse(succeeded, 10), 10);
            assert_eq!(met.as_deref(), expected, "{rules} {succeeded}");
        };
        let first = Some("Matched rules at index 0");
        check(json!([{"succeededCount": 2}]), "1", None);
        check(json!([{"succeededCount": 2}]), "1,7", first);
        check(json!([{"succeededIndexes": "0-2"}]), "0,1,3", None);
        check(json!([{"succeededIndexes": "0-2"}]), "0-3", first);
        check(json!([{"succeededIndexes": "0-2", "succeededCount": 1}]), "2", first);
        check(
            json!([{"succeededIndexes": "5"}, {"succeededCount": 1}]),
            "2",
            Some("Matched rules at index 1"),
        );
        check(json!([{"succeededIndexes": "20"}]), "2", None);
        check(json!([{"succeededCount": 0}]), "", None);
        assert_eq!(of_success(None, &Indexes::parse("1", 10), 10), None);
    }
}
