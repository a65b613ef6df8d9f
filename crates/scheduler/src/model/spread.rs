//! Topology spread constraints (KEP-895).

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use skiff_machinery::selector::LabelSelector;

/// What becomes of a pod whose spread cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenUnsatisfiable {
    /// It waits.
    DoNotSchedule,
    /// It goes where it disturbs least.
    ScheduleAnyway,
}

/// A `TopologySpreadConstraint`, with Kubernetes' defaults.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The most by which the number of pods in one domain may exceed the smallest.
    pub max_skew: i64,
    /// With fewer domains the smallest number counts as zero.
    pub min_domains: usize,
    /// The label whose values are the domains.
    pub topology_key: String,
    /// What becomes of the pod otherwise.
    pub when: WhenUnsatisfiable,
    /// Whether only nodes count that the pod's node selector and affinity allow.
    pub honours_affinity: bool,
    /// Whether only nodes count whose taints the pod tolerates.
    pub honours_taints: bool,
    /// Which pods are counted; `None` selects none.
    pub selector: Option<LabelSelector>,
}

impl Spread {
    pub(crate) fn of(constraint: &TopologySpreadConstraint) -> Self {
        let honour = |policy: &Option<String>, default: &str| policy.as_deref().unwrap_or(default) == "Honor";
        Self {
            max_skew: constraint.max_skew.into(),
            min_domains: constraint.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            topology_key: constraint.topology_key.clone(),
            when: match constraint.when_unsatisfiable.as_str() {
                "ScheduleAnyway" => WhenUnsatisfiable::ScheduleAnyway,
                _ => WhenUnsatisfiable::DoNotSchedule,
            },
            honours_affinity: honour(&constraint.node_affinity_policy, "Honor"),
            honours_taints: honour(&constraint.node_taints_policy, "Ignore"),
            selector: constraint.label_selector.as_ref().and_then(|s| LabelSelector::try_from(s).ok()),
        }
    }
}
