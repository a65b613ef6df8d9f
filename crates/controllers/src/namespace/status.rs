//! What a namespace that is being deleted reports about itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What one pass over the content of a namespace found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Objects still there, by resource.
    pub(super) remaining: BTreeMap<String, usize>,
    /// Objects still there, by finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// Why not all kinds could be discovered.
    pub(super) discovery_failure: Option<String>,
    /// Why some content could not be deleted.
    pub(super) deletion_failures: Vec<String>,
}

impl Findings {
    /// Whether the namespace can go.
    pub(super) fn is_empty(&self) -> bool {
        self.discovery_failure.is_none() && !self.something_stays()
    }

    /// Whether something that is known is still there.
    pub(super) fn something_stays(&self) -> bool {
        !(self.remaining.is_empty() && self.deletion_failures.is_empty())
    }
}

/// The status that tells of `findings`; times of conditions that stay as they are do not change.
pub(super) fn status(old: Option<&NamespaceStatus>, findings: &Findings, now: Timestamp) -> NamespaceStatus {
    let mut conditions = old.and_then(|status| status.conditions.clone()).unwrap_or_default();
    for (kind, state) in conditions_of(findings) {
        let (status, reason, message) = state;
        let present = conditions.iter_mut().find(|condition| condition.type_ == kind);
        let condition = NamespaceCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        };
        match present {
            None => conditions.push(condition),
            Some(present) => {
                let since = present.last_transition_time.clone().filter(|_| present.status == status);
                *present = NamespaceCondition {
                    last_transition_time: since.or(condition.last_transition_time.clone()),
                    ..condition
                };
            }
        }
    }
    NamespaceStatus { phase: Some("Terminating".into()), conditions: Some(conditions) }
}

type State = (&'static str, &'static str, String);

fn conditions_of(findings: &Findings) -> [(&'static str, State); 5] {
    let good = |reason, message: &str| ("False", reason, message.to_owned());
    let discovery = match &findings.discovery_failure {
        None => good("ResourcesDiscovered", "All resources successfully discovered"),
        Some(failure) => ("True", "DiscoveryFailed", failure.clone()),
    };
    let deletion = match findings.deletion_failures.as_slice() {
        [] => good("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        failures => {
            let text = failures.join(", ");
            (
                "True",
                "ContentDeletionFailed",
                format!("Failed to delete all resource types, {} remaining: {text}", failures.len()),
            )
        }
    };
    let content = if findings.remaining.is_empty() {
        good("ContentRemoved", "All content successfully removed")
    } else {
        let parts =
            findings.remaining.iter().map(|(resource, n)| format!("{resource} has {n} resource instances"));
        (
            "True",
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", parts.collect::<Vec<_>>().join(", ")),
        )
    };
    let finalizers = if findings.finalizers.is_empty() {
        good("ContentHasNoFinalizers", "All content-preserving finalizers finished")
    } else {
        let parts = findings.finalizers.iter().map(|(name, n)| format!("{name} in {n} resource instances"));
        let text = parts.collect::<Vec<_>>().join(", ");
        (
            "True",
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {text}"),
        )
    };
    [
        ("NamespaceDeletionDiscoveryFailure", discovery),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            good("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        ("NamespaceDeletionContentFailure", deletion),
        ("NamespaceContentRemaining", content),
        ("NamespaceFinalizersRemaining", finalizers),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(findings: &Findings) -> Vec<String> {
        let status = status(None, findings, Timestamp::UNIX_EPOCH);
        assert_eq!(status.phase.as_deref(), Some("Terminating"));
        let show =
            |c: NamespaceCondition| format!("{} {} {}", c.status, c.reason.unwrap(), c.message.unwrap());
        status.conditions.unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn an_empty_namespace_has_nothing_to_complain_about() {
        assert!(check(&Findings::default()).iter().all(|text| text.starts_with("False")));
    }

    #[test]
    fn what_remains_is_named() {
        let findings = Findings {
            remaining: BTreeMap::from([("pods.".into(), 3)]),
            finalizers: BTreeMap::from([("example.com/x".into(), 1)]),
            ..Findings::default()
        };
        let texts = check(&findings);
        assert_eq!(
            texts[3],
            "True SomeResourcesRemain Some resources are remaining: pods. has 3 resource instances"
        );
        assert_eq!(
            texts[4],
            "True SomeFinalizersRemain Some content in the namespace has finalizers remaining: example.com/x in 1 \
             resource instances"
        );
    }

    #[test]
    fn times_change_with_the_state_only() {
        let first = status(None, &Findings::default(), Timestamp::UNIX_EPOCH);
        let later = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(status(Some(&first), &Findings::default(), later), first);
        let findings = Findings { remaining: BTreeMap::from([("pods.".into(), 1)]), ..Findings::default() };
        let changed = status(Some(&first), &findings, later).conditions.unwrap();
        assert_eq!(changed[3].last_transition_time.as_ref().unwrap().0, later);
        assert_eq!(changed[0].last_transition_time.as_ref().unwrap().0, Timestamp::UNIX_EPOCH);
    }
}
