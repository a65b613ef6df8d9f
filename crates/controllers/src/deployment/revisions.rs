//! The history of a Deployment: which of its ReplicaSets is which revision, told in annotations.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::model::{Member, Wants};

/// Which revision it is.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions that it was before.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many replicas the Deployment asked for when the ReplicaSet was last scaled.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with what may be there beyond them.
const MOST: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of the Deployment that are not its ReplicaSets'.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
];
/// Longest history, in bytes.
const HISTORY_LENGTH: usize = 2000;

/// The revision that a ReplicaSet says it is; 0 if it says none.
pub(super) fn revision_of(set: &ReplicaSet) -> Option<i64> {
    set.annotations().get(REVISION).map_or(Some(0), |text| text.parse().ok())
}

/// The revision after all of `old`.
pub(super) fn next(old: &[Member]) -> i64 {
    old.iter().filter_map(|member| revision_of(&member.set)).fold(0, i64::max) + 1
}

/// Lets the ReplicaSet of the present template have the Deployment's annotations and be `revision`, unless it is a later one
/// already: others may have gone since.
pub(super) fn annotate(set: &mut ReplicaSet, deployment: &Deployment, revision: i64) {
    let annotations = set.annotations_mut();
    for (key, value) in deployment.annotations() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let before = annotations.get(REVISION).cloned();
    let Ok(number) = before.as_deref().filter(|text| !text.is_empty()).map_or(Ok(0), str::parse::<i64>)
    else {
        return;
    };
    if number >= revision {
        return;
    }
    annotations.insert(REVISION.into(), revision.to_string());
    if let Some(before) = before {
        let history = annotations.get(HISTORY).map_or("", String::as_str);
        if let Some(history) = extended(history, &before) {
            annotations.insert(HISTORY.into(), history);
        }
    }
}

/// A history with one revision more, without the oldest ones if it gets too long.
fn extended(history: &str, before: &str) -> Option<String> {
    if history.is_empty() {
        return Some(before.to_owned());
    }
    let mut kept: Vec<&str> = history.split(',').collect();
    let length = |kept: &[&str]| kept.iter().map(|one| one.len() + 1).sum::<usize>() + before.len();
    while !kept.is_empty() && length(&kept) > HISTORY_LENGTH {
        kept.remove(0);
    }
    kept.push(before);
    Some(kept.join(",")).filter(|history| history.len() <= HISTORY_LENGTH)
}

/// Notes how large the Deployment is.
pub(super) fn note_size(set: &mut ReplicaSet, wants: &Wants<'_>) {
    let annotations = set.annotations_mut();
    annotations.insert(DESIRED.into(), wants.replicas.to_string());
    annotations.insert(MOST.into(), wants.most().to_string());
}

/// How many replicas the Deployment asked for when the ReplicaSet was last scaled.
pub(super) fn desired(set: &ReplicaSet) -> Option<i32> {
    number(set, DESIRED)
}

/// How many pods the Deployment could have when the ReplicaSet was last scaled.
pub(super) fn most(set: &ReplicaSet) -> Option<i32> {
    number(set, MOST)
}

fn number(set: &ReplicaSet, key: &str) -> Option<i32> {
    set.annotations().get(key)?.parse().ok().filter(|number| *number >= 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(annotations: Value) -> ReplicaSet {
        serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap()
    }

    #[test]
    fn a_revision_only_grows_and_remembers_what_it_was() {
        let deployment: Deployment = serde_json::from_value(json!({"metadata": {"annotations": {
            "a": "b", REVISION: "7", "kubectl.kubernetes.io/last-applied-configuration": "x"}}}))
        .unwrap();
        let check = |before: Value, revision: i64, after: Value| {
            let mut changed = set(before);
            annotate(&mut changed, &deployment, revision);
            assert_eq!(json!(changed.annotations()), after);
        };
        check(json!({}), 1, json!({"a": "b", REVISION: "1"}));
        check(json!({REVISION: "3"}), 2, json!({"a": "b", REVISION: "3"}));
        check(json!({REVISION: "1"}), 3, json!({"a": "b", REVISION: "3", HISTORY: "1"}));
        check(json!({REVISION: "3", HISTORY: "1"}), 5, json!({"a": "b", REVISION: "5", HISTORY: "1,3"}));
        check(json!({REVISION: "odd"}), 5, json!({"a": "b", REVISION: "odd"}));
    }

    #[test]
    fn a_history_drops_its_oldest() {
        let long = vec!["1234567890"; 181].join(",");
        assert_eq!(long.len(), 1990);
        let longer = extended(&long, "9876543210").unwrap();
        assert!(longer.len() <= HISTORY_LENGTH && longer.ends_with(",9876543210"));
        assert_eq!(extended("1", "2").as_deref(), Some("1,2"));
        assert_eq!(extended("1", &"2".repeat(2001)), None);
    }
}
