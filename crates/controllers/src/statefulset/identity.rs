//! Who the pods of a StatefulSet are: their ordinals, names, labels, and the claims that are theirs.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::pods::KnownPod;
use crate::workload::history::REVISION_HASH;
use crate::workload::pod_of;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The number of one replica, counted from the set's first.
pub(super) type Ordinal = i32;

/// The ordinal of the pod of that name, if it is one of the set's.
pub(super) fn ordinal_of(set: &str, pod: &str) -> Option<Ordinal> {
    let (parent, ordinal) = pod.rsplit_once('-')?;
    let digits = !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit());
    if parent == set && digits { ordinal.parse().ok() } else { None }
}

/// The name of the pod of that ordinal.
pub(super) fn pod_name(set: &StatefulSet, ordinal: Ordinal) -> String {
    format!("{}-{ordinal}", set.name_any())
}

/// Whether the set asks for the pod of that ordinal.
pub(super) fn is_wanted(spec: &StatefulSetSpec, ordinal: Ordinal) -> bool {
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    (start..start.saturating_add(spec.replicas.unwrap_or(1))).contains(&ordinal)
}

/// The templates of the claims that each pod has.
pub(super) fn claim_templates(spec: &StatefulSetSpec) -> &[PersistentVolumeClaim] {
    spec.volume_claim_templates.as_deref().unwrap_or(&[])
}

/// The name of the claim that a pod has by a template.
pub(super) fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: Ordinal) -> String {
    format!("{}-{}-{ordinal}", template.name_any(), set.name_any())
}

/// The claims of the pod of that ordinal.
pub(super) fn claims(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: Ordinal,
) -> Vec<PersistentVolumeClaim> {
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(set, template, ordinal));
        claim.metadata.namespace = set.namespace();
        claim.status = None;
        if let Some(selected) = &spec.selector.match_labels {
            claim.labels_mut().extend(selected.clone());
        }
        claim
    };
    claim_templates(spec).iter().map(claim).collect()
}

/// The pod of that ordinal, from the template of a revision.
pub(super) fn pod(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: Ordinal,
    (revision, template): (&str, &PodTemplateSpec),
) -> Pod {
    let (mut pod, name) = (pod_of(set, template), pod_name(set, ordinal));
    let labels = pod.labels_mut();
    labels.insert(POD_NAME.into(), name.clone());
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    labels.insert(REVISION_HASH.into(), revision.to_owned());
    pod.metadata.name = Some(name.clone());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name);
    pod_spec.subdomain = spec.service_name.clone();
    let mut volumes = volumes(set, spec, ordinal);
    let given = pod_spec.volumes.take().unwrap_or_default();
    let others =
        given.into_iter().filter(|given| claim_templates(spec).iter().all(|t| t.name_any() != given.name));
    volumes.extend(others.collect::<Vec<_>>());
    pod_spec.volumes = Some(volumes).filter(|volumes| !volumes.is_empty());
    pod
}

/// The volumes by which a pod has its claims.
fn volumes(set: &StatefulSet, spec: &StatefulSetSpec, ordinal: Ordinal) -> Vec<Volume> {
    let volume = |template: &PersistentVolumeClaim| {
        let claim_name = claim_name(set, template, ordinal);
        let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
        Volume { name: template.name_any(), persistent_volume_claim: Some(source), ..Volume::default() }
    };
    claim_templates(spec).iter().map(volume).collect()
}

/// What makes a pod that is there the one of its ordinal; nothing if it is.
pub(super) fn amendment(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: Ordinal,
    pod: &KnownPod,
) -> Option<Value> {
    let mut patch = json!({});
    if pod.labels().get(POD_NAME) != Some(pod.name()) {
        let labels = json!({POD_NAME: pod.name(), POD_INDEX: ordinal.to_string()});
        patch["metadata"] = json!({"uid": pod.uid(), "labels": labels});
    }
    let has = |template: &PersistentVolumeClaim| {
        pod.claim(&template.name_any()) == Some(claim_name(set, template, ordinal).as_str())
    };
    if !claim_templates(spec).iter().all(has) {
        patch["spec"] = json!({"volumes": volumes(set, spec, ordinal)});
    }
    Some(patch).filter(|patch| patch.as_object().is_some_and(|fields| !fields.is_empty()))
}

/// The revision that a pod is of; empty if it says none.
pub(super) fn revision(pod: &KnownPod) -> &str {
    pod.labels().get(REVISION_HASH).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_from_names() {
        assert_eq!(ordinal_of("web", "web-0"), Some(0));
        assert_eq!(ordinal_of("web-a", "web-a-12"), Some(12));
        assert_eq!(ordinal_of("web", "web-a-12"), None);
        assert_eq!(ordinal_of("web", "web"), None);
        assert_eq!(ordinal_of("web", "web-+1"), None);
        assert_eq!(ordinal_of("web", "web-99999999999"), None);
    }
}
