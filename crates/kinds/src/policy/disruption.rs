//! Whether a pod may be evicted: what its disruption budget says, and what is left of the budget then.

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{items, str_of};
use skiff_machinery::{Object, selector};

use crate::shared::defaults::object_mut;

/// Of how many pods a budget waits to hear that they have gone.
const MOST_DISRUPTED: usize = 2000;
/// When to ask again where the budget is not counted yet, in seconds.
const COUNTED_IN: u32 = 10;

/// What becomes of an eviction.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The pod may go, and no budget is spent.
    Free,
    /// The pod may go at the expense of the budget at this place, which is then so.
    Spends(usize, Object),
    /// It may not.
    Refused(Refusal),
}

/// Why a pod may not be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The budget would be violated.
    Violated {
        /// In which way, in Kubernetes' words.
        why: String,
        /// When to ask again, in seconds, where that can be said.
        retry: Option<u32>,
    },
    /// Something is wrong with the budget of this name.
    Broken {
        /// The budget.
        budget: String,
        /// What is wrong.
        why: &'static str,
    },
    /// There are several budgets for the pod.
    Several,
}

/// Decides on a pod by the budgets of its namespace.
pub fn decide(pod: &Object, budgets: &[&Object], now: Timestamp) -> Verdict {
    if has_no_budget(pod) {
        return Verdict::Free;
    }
    let mut own = budgets.iter().enumerate().filter(|(_, budget)| concerns(budget, pod));
    let Some((at, budget)) = own.next() else { return Verdict::Free };
    if own.next().is_some() {
        return Verdict::Refused(Refusal::Several);
    }
    if !is_ready(pod) && spares_unready(budget) {
        return Verdict::Free;
    }
    match refusal(budget) {
        Some(refusal) => Verdict::Refused(refusal),
        None => Verdict::Spends(at, spent(budget, pod, now)),
    }
}

/// A pod that does not run, or that goes anyway, disrupts nothing.
fn has_no_budget(pod: &Object) -> bool {
    matches!(pod.str(&["status", "phase"]), "Succeeded" | "Failed" | "Pending") || pod.is_terminating()
}

fn is_ready(pod: &Object) -> bool {
    let conditions = items(pod, &["status", "conditions"]);
    conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn concerns(budget: &Object, pod: &Object) -> bool {
    let selector = budget.get(&["spec", "selector"]).filter(|selector| !selector.is_null());
    let selector = selector.and_then(selector::read);
    budget.namespace() == pod.namespace() && selector.is_some_and(|selector| selector.matches(&pod.labels()))
}

/// Whether pods that are not ready may go: always, or while there are enough that are.
fn spares_unready(budget: &Object) -> bool {
    let count = |field: &str| budget.int(&["status", field]).unwrap_or(0);
    let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
    let always = budget.str(&["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
    always || healthy >= desired && desired > 0
}

fn refusal(budget: &Object) -> Option<Refusal> {
    let name = budget.name();
    let count = |field: &str| budget.int(&["status", field]).unwrap_or(0);
    if count("observedGeneration") < budget.int(&["metadata", "generation"]).unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Some(Refusal::Violated { why, retry: Some(COUNTED_IN) });
    }
    let broken = |why| Some(Refusal::Broken { budget: name.to_owned(), why });
    let disrupted = budget.get(&["status", "disruptedPods"]).and_then(Value::as_object);
    match count("disruptionsAllowed") {
        ..0 => broken("pdb disruptions allowed is negative"),
        _ if disrupted.is_some_and(|pods| pods.len() > MOST_DISRUPTED) => {
            broken("DisruptedPods map too big - too many evictions not confirmed by PDB controller")
        }
        0 => Some(Refusal::Violated { why: exhausted(budget), retry: None }),
        _ => None,
    }
}

/// Why nothing is left of a budget.
fn exhausted(budget: &Object) -> String {
    let name = budget.name();
    let count = |field: &str| budget.int(&["status", field]).unwrap_or(0);
    let conditions = items(budget, &["status", "conditions"]);
    let condition = conditions.iter().find(|one| one["type"] == "DisruptionAllowed");
    let told = condition.filter(|one| one["status"] == "False" && !str_of(one, "message").is_empty());
    let (reason, message) =
        told.map_or(("", ""), |condition| (str_of(condition, "reason"), str_of(condition, "message")));
    let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
    let refuses = format!("The disruption budget {name} does not allow evicting pods currently");
    if reason == "SyncFailed" {
        format!("{refuses} because it failed sync: {message}")
    } else if healthy <= desired {
        format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    } else if told.is_some() {
        format!("{refuses} ({reason}): {message}")
    } else {
        refuses
    }
}

/// A budget of which one more eviction is spent, until its controller has seen the pod go.
fn spent(budget: &Object, pod: &Object, now: Timestamp) -> Object {
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let left = budget.int(&["status", "disruptionsAllowed"]).unwrap_or(0) - 1;
    let seen = budget.int(&["status", "observedGeneration"]).unwrap_or(0);
    let mut budget = budget.clone();
    let status = object_mut(budget.as_map_mut(), "status");
    status.insert("disruptionsAllowed".to_owned(), left.into());
    object_mut(status, "disruptedPods").insert(pod.name().to_owned(), time.as_str().into());
    if left == 0 {
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Some(conditions) = conditions.as_array_mut() {
            forbid(conditions, seen, &time);
        }
    }
    budget
}

/// Sets the condition that says that nothing is left.
fn forbid(conditions: &mut Vec<Value>, seen: i64, time: &str) {
    let mut condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "lastTransitionTime": time,
    });
    if seen != 0 {
        condition["observedGeneration"] = seen.into();
    }
    match conditions.iter_mut().find(|one| one["type"] == "DisruptionAllowed") {
        Some(old) => {
            if old["status"] == "False" {
                condition["lastTransitionTime"] = old["lastTransitionTime"].take();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

/// Notes in a pod that it is evicted, for whoever asks why it went.
pub fn mark(pod: &mut Object, now: Timestamp) {
    let mut condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let status = object_mut(pod.as_map_mut(), "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    match conditions.iter_mut().find(|one| one["type"] == "DisruptionTarget") {
        Some(old) => {
            if old["status"] == "True" {
                condition["lastTransitionTime"] = old["lastTransitionTime"].take();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::object;

    fn pod(phase: &str, ready: &str) -> Object {
        object(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"app": "a"}},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        }))
    }

    fn budget(spec: Value, status: Value) -> Object {
        let mut budget = object(json!({
            "metadata": {"name": "b", "namespace": "n", "generation": 2},
            "spec": {"selector": {"matchLabels": {"app": "a"}}},
            "status": {"observedGeneration": 2, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1},
        }));
        for (member, changes) in [("spec", spec), ("status", status)] {
            let map = budget.as_map_mut()[member].as_object_mut().unwrap();
            map.extend(changes.as_object().cloned().unwrap());
        }
        budget
    }

    fn verdict(pod: &Object, budget: &Object) -> Verdict {
        decide(pod, &[budget], Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn pods_go_where_no_budget_is_for_them() {
        let spent = budget(json!({}), json!({}));
        for phase in ["Pending", "Succeeded", "Failed"] {
            assert_eq!(verdict(&pod(phase, "True"), &spent), Verdict::Free);
        }
        let running = pod("Running", "True");
        let others = |selector: Value| budget(json!({"selector": selector}), json!({}));
        assert_eq!(verdict(&running, &others(json!({"matchLabels": {"app": "b"}}))), Verdict::Free);
        assert_eq!(verdict(&running, &others(Value::Null)), Verdict::Free);
        assert!(matches!(verdict(&running, &others(json!({}))), Verdict::Refused(_)));
        assert_eq!(
            decide(&running, &[&spent, &spent], Timestamp::UNIX_EPOCH),
            Verdict::Refused(Refusal::Several)
        );
    }

    #[test]
    fn pods_that_are_not_ready_go_where_the_policy_says() {
        let unready = pod("Running", "False");
        let check = |spec: Value, status: Value, free: bool| {
            let verdict = verdict(&unready, &budget(spec, status));
            assert_eq!(verdict == Verdict::Free, free, "{verdict:?}");
        };
        check(json!({}), json!({}), true);
        check(json!({}), json!({"currentHealthy": 0}), false);
        check(json!({}), json!({"currentHealthy": 0, "desiredHealthy": 0}), false);
        let always = json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"});
        check(always, json!({"currentHealthy": 0}), true);
    }

    #[test]
    fn refusals_say_why() {
        let check = |status: Value, why: &str, retry: Option<u32>| {
            let refused = Refusal::Violated { why: why.to_owned(), retry };
            let verdict = verdict(&pod("Running", "True"), &budget(json!({}), status));
            assert_eq!(verdict, Verdict::Refused(refused));
        };
        let processed = "The disruption budget b is still being processed by the server.";
        check(json!({"observedGeneration": 1}), processed, Some(10));
        check(json!({}), "The disruption budget b needs 1 healthy pods and has 1 currently", None);
        let plain = "The disruption budget b does not allow evicting pods currently";
        check(json!({"currentHealthy": 2}), plain, None);
        let condition = |reason: &str| json!([{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": "m"}]);
        let told = json!({"currentHealthy": 2, "conditions": condition("Odd")});
        check(told, &format!("{plain} (Odd): m"), None);
        let failed = json!({"conditions": condition("SyncFailed")});
        check(failed, &format!("{plain} because it failed sync: m"), None);
    }

    #[test]
    fn what_is_spent_is_noted() {
        let running = pod("Running", "True");
        let status = |allowed: i64| {
            let budget = budget(json!({}), json!({"disruptionsAllowed": allowed}));
            match verdict(&running, &budget) {
                Verdict::Spends(0, spent) => spent.get(&["status"]).cloned().unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let two = status(2);
        assert_eq!(two["disruptionsAllowed"], 1);
        assert_eq!(two["disruptedPods"], json!({"p": "1970-01-01T00:00:00Z"}));
        assert_eq!(two["conditions"], Value::Null);
        let last = status(1);
        assert_eq!(last["disruptionsAllowed"], 0);
        assert_eq!(
            (&last["conditions"][0]["status"], &last["conditions"][0]["observedGeneration"]),
            (&json!("False"), &json!(2))
        );
    }
}
