//! Whose the claims of a StatefulSet's pods are: with what they go, by the set's retention policy.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use crate::meta;

/// When claims are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// With the set.
    pub(super) with_set: bool,
    /// With a pod that goes for good.
    pub(super) with_pod: bool,
}

impl Policy {
    pub(super) fn of(spec: &StatefulSetSpec) -> Self {
        let policy = spec.persistent_volume_claim_retention_policy.as_ref();
        let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
        Self {
            with_set: deletes(policy.and_then(|policy| policy.when_deleted.as_ref())),
            with_pod: deletes(policy.and_then(|policy| policy.when_scaled.as_ref())),
        }
    }
}

/// The pod that has a claim, or will.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    pub(super) name: &'a str,
    /// Empty until there is one.
    pub(super) uid: &'a str,
    /// Whether the set asks for fewer pods than would keep it.
    pub(super) condemned: bool,
}

/// What is to become of the owners of a claim.
#[derive(Debug, PartialEq)]
pub(super) enum Owners {
    /// They are as they should be, or somebody else's affair.
    Stay,
    /// These instead.
    Become(Vec<OwnerReference>),
}

fn is_set(reference: &OwnerReference, set: &StatefulSet) -> bool {
    (reference.api_version.as_str(), reference.kind.as_str()) == ("apps/v1", "StatefulSet")
        && reference.name == set.name_any()
}

fn is_pod(reference: &OwnerReference, pod: &Holder<'_>) -> bool {
    (reference.api_version.as_str(), reference.kind.as_str()) == ("v1", "Pod") && reference.name == pod.name
}

/// Whether the claim is owned by a pod of that name that is gone, with which it will go.
pub(super) fn is_stale(claim: &PersistentVolumeClaim, pod: &Holder<'_>) -> bool {
    claim.owner_references().iter().find(|reference| is_pod(reference, pod)).is_some_and(|r| r.uid != pod.uid)
}

/// Whether another than the set and the pod controls the claim, though the policy gives it to them.
pub(super) fn is_disputed(
    policy: Policy,
    claim: &PersistentVolumeClaim,
    set: &StatefulSet,
    pod: &Holder<'_>,
) -> bool {
    let of_others = |reference: &OwnerReference| {
        if is_set(reference, set) {
            return reference.uid != meta::uid(&set.metadata);
        }
        if is_pod(reference, pod) {
            return reference.uid != pod.uid;
        }
        reference.controller == Some(true)
    };
    (policy.with_set || policy.with_pod) && claim.owner_references().iter().any(of_others)
}

/// Decides by the policy whose a claim is.
pub(super) fn owners(
    policy: Policy,
    claim: &PersistentVolumeClaim,
    set: &StatefulSet,
    pod: &Holder<'_>,
) -> Owners {
    let (references, uid) = (claim.owner_references(), meta::uid(&set.metadata));
    let stale_set = references.iter().find(|reference| is_set(reference, set)).is_some_and(|r| r.uid != uid);
    if stale_set || is_stale(claim, pod) {
        return Owners::Stay;
    }
    let owned_by = |uid: &str| references.iter().any(|reference| !uid.is_empty() && reference.uid == uid);
    let (of_set, of_pod) = (owned_by(uid), owned_by(pod.uid));
    let others = references.iter().filter(|r| !is_set(r, set) && !is_pod(r, pod)).cloned();
    if is_disputed(policy, claim, set, pod) {
        return if of_set || of_pod { Owners::Become(others.collect()) } else { Owners::Stay };
    }
    let goes_with_pod = policy.with_pod && pod.condemned;
    let goes_with_set = policy.with_set && !goes_with_pod;
    let only_owned = |r: &OwnerReference| (r.uid == uid || r.uid == pod.uid) && r.controller != Some(true);
    if (of_set, of_pod) == (goes_with_set, goes_with_pod) && !references.iter().any(only_owned) {
        return Owners::Stay;
    }
    let set = goes_with_set.then(|| meta::controller_reference(set));
    let pod = (goes_with_pod && !pod.uid.is_empty()).then(|| OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: pod.name.to_owned(),
        uid: pod.uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    });
    Owners::Become(others.chain(set).chain(pod).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set() -> StatefulSet {
        serde_json::from_value(json!({"metadata": {"name": "db", "uid": "set"}})).unwrap()
    }

    fn reference(kind: &str, name: &str, uid: &str, controller: bool) -> Value {
        let version = if kind == "StatefulSet" { "apps/v1" } else { "v1" };
        json!({"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": controller})
    }

    fn claim(references: &[Value]) -> PersistentVolumeClaim {
        serde_json::from_value(json!({"metadata": {"name": "data-db-0", "ownerReferences": references}}))
            .unwrap()
    }

    /// Who owns the claim afterwards, by UID; `=` if all stays.
    fn check(with_set: bool, with_pod: bool, condemned: bool, references: &[Value]) -> String {
        let pod = Holder { name: "db-0", uid: "pod", condemned };
        match owners(Policy { with_set, with_pod }, &claim(references), &set(), &pod) {
            Owners::Stay => "=".into(),
            Owners::Become(references) => {
                references.into_iter().map(|reference| reference.uid).collect::<Vec<_>>().join(",")
            }
        }
    }

    #[test]
    fn claims_go_with_whom_the_policy_says() {
        let (of_set, of_pod) =
            (reference("StatefulSet", "db", "set", true), reference("Pod", "db-0", "pod", true));
        assert_eq!(check(false, false, false, &[]), "=");
        assert_eq!(check(false, false, false, std::slice::from_ref(&of_set)), "");
        assert_eq!(check(true, false, false, &[]), "set");
        assert_eq!(check(true, false, true, std::slice::from_ref(&of_set)), "=");
        assert_eq!(check(false, true, false, &[]), "=");
        assert_eq!(check(false, true, true, &[]), "pod");
        assert_eq!(check(false, true, false, std::slice::from_ref(&of_pod)), "");
        assert_eq!(check(true, true, false, &[]), "set");
        assert_eq!(check(true, true, true, std::slice::from_ref(&of_set)), "pod");
        assert_eq!(check(true, true, true, std::slice::from_ref(&of_pod)), "=");
    }

    #[test]
    fn what_is_others_stays_theirs() {
        let other = reference("Backup", "b", "other", true);
        let friend = reference("Backup", "b", "friend", false);
        assert_eq!(check(true, false, false, std::slice::from_ref(&other)), "=");
        assert_eq!(check(true, false, false, &[other, reference("StatefulSet", "db", "set", true)]), "other");
        assert_eq!(check(true, false, false, &[friend]), "friend,set");
        assert_eq!(check(true, false, false, &[reference("StatefulSet", "db", "earlier", true)]), "=");
        assert_eq!(check(true, true, true, &[reference("Pod", "db-0", "earlier", true)]), "=");
        assert_eq!(check(true, false, false, &[reference("StatefulSet", "db", "set", false)]), "set");
    }
}
