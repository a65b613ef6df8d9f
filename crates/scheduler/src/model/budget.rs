//! Disruption budgets, as far as preemption minds them.

use std::collections::BTreeSet;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use skiff_machinery::selector::LabelSelector;

use super::PodInfo;

/// A `PodDisruptionBudget`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Budget {
    /// Where its pods are.
    pub namespace: String,
    selector: Option<LabelSelector>,
    /// How many of its pods may go now.
    pub allowed: i64,
    /// Names of pods that are counted as gone.
    disrupted: BTreeSet<String>,
}

impl Budget {
    pub(crate) fn of(budget: &PodDisruptionBudget) -> Self {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let status = budget.status.as_ref();
        let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
        Self {
            namespace: budget.namespace().unwrap_or_default(),
            selector: selector.and_then(|selector| LabelSelector::try_from(selector).ok()),
            allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0).into(),
            disrupted: disrupted.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Whether the removal of the pod of this name takes from the budget. A pod without labels, and a budget that selects
    /// everything by saying nothing, have nothing to do with each other, as in Kubernetes' preemption.
    pub(crate) fn covers(&self, name: &str, pod: &PodInfo) -> bool {
        let selects = |selector: &LabelSelector| !selector.is_everything() && selector.selects(&pod.labels);
        pod.namespace == self.namespace
            && !pod.labels.is_empty()
            && self.selector.as_ref().is_some_and(selects)
            && !self.disrupted.contains(name)
    }
}
