//! The conditions of a definition, worded as Kubernetes words them.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition as Condition, CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::names::Accepted;

pub(super) const NAMES_ACCEPTED: &str = "NamesAccepted";
pub(super) const ESTABLISHED: &str = "Established";
pub(super) const TERMINATING: &str = "Terminating";
const APPROVED: &str = "KubernetesAPIApprovalPolicyConformant";
const APPROVAL: &str = "api-approved.kubernetes.io";

/// What becomes of a status.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    AsItIs,
    Changed(Box<CustomResourceDefinitionStatus>),
}

/// Whether a condition is true.
pub(super) fn holds(definition: &CustomResourceDefinition, name: &str) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == name && one.status == "True")
}

/// The status of a definition that has these names.
pub(super) fn of(definition: &CustomResourceDefinition, accepted: Accepted, now: Timestamp) -> Outcome {
    let before = definition.status.clone().unwrap_or_default();
    let mut status = before.clone();
    match &accepted.conflict {
        None => set(&mut status, now, (NAMES_ACCEPTED, "True", "NoConflicts"), "no conflicts found"),
        Some(conflict) => {
            set(&mut status, now, (NAMES_ACCEPTED, "False", conflict.reason), &conflict.message)
        }
    }
    // Once served, always served: only the names may be denied later.
    if !holds(definition, ESTABLISHED) {
        let message = "the initial names have been accepted";
        match accepted.conflict {
            None => set(&mut status, now, (ESTABLISHED, "True", "InitialNamesAccepted"), message),
            Some(_) => {
                set(&mut status, now, (ESTABLISHED, "False", "NotAccepted"), "not all names are accepted");
            }
        }
    }
    if let Some((state, message)) = approval(definition) {
        set(&mut status, now, state, &message);
    }
    status.accepted_names = Some(accepted.names);
    if status == before { Outcome::AsItIs } else { Outcome::Changed(Box::new(status)) }
}

/// The status while objects are being deleted.
pub(super) fn deleting(
    definition: &CustomResourceDefinition,
    now: Timestamp,
) -> CustomResourceDefinitionStatus {
    let mut status = definition.status.clone().unwrap_or_default();
    let message = "CustomResource deletion is in progress";
    set(&mut status, now, (TERMINATING, "True", "InstanceDeletionInProgress"), message);
    status
}

/// The status once there are no more objects.
pub(super) fn deleted(
    definition: &CustomResourceDefinition,
    now: Timestamp,
) -> CustomResourceDefinitionStatus {
    let mut status = definition.status.clone().unwrap_or_default();
    set(&mut status, now, (TERMINATING, "False", "InstanceDeletionCompleted"), "removed all instances");
    status
}

type State = (&'static str, &'static str, &'static str);

/// Whether a definition in one of Kubernetes' own groups says who has approved it (KEP-1111).
fn approval(definition: &CustomResourceDefinition) -> Option<(State, String)> {
    let is_protected = ["k8s.io", "kubernetes.io"].into_iter().any(|domain| {
        let rest = definition.spec.group.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if !is_protected {
        return None;
    }
    let annotation = definition.annotations().get(APPROVAL).map(String::as_str).unwrap_or_default();
    Some(match annotation {
        "" => (
            (APPROVED, "False", "MissingAnnotation"),
            format!(
                "protected groups must have approval annotation {APPROVAL:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            ),
        ),
        text if text.starts_with("unapproved") => {
            ((APPROVED, "False", "UnapprovedAnnotation"), format!("not approved: {text:?}"))
        }
        text => ((APPROVED, "True", "ApprovedAnnotation"), format!("approved in {text}")),
    })
}

/// Sets a condition; its time is that of the last change between true and false.
fn set(status: &mut CustomResourceDefinitionStatus, now: Timestamp, state: State, message: &str) {
    let (name, value, reason) = state;
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let conditions = status.conditions.get_or_insert_default();
    let found = conditions.iter_mut().find(|one| one.type_ == name);
    let since =
        found.as_ref().filter(|one| one.status == value).and_then(|one| one.last_transition_time.clone());
    let mut condition = Condition {
        type_: name.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        ..Condition::default()
    };
    match found {
        Some(found) => {
            condition.observed_generation = found.observed_generation;
            *found = condition;
        }
        None => conditions.push(condition),
    }
}
