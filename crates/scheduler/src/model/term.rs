//! Terms of pod affinity and anti-affinity: which pods one speaks of, and how near they are meant.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodAffinityTerm;
use skiff_machinery::selector::LabelSelector;
use skiff_ordered::Ordered as _;

use super::{Labels, Namespaces};

/// A `PodAffinityTerm`. Its `matchLabelKeys` are in the selector already: the API server puts them there (KEP-3633).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    /// The label whose value says which nodes are near each other.
    pub topology_key: String,
    /// Which pods; `None` selects none.
    selector: Option<LabelSelector>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
}

impl Term {
    /// Reads a term of a pod in `namespace`.
    pub(crate) fn of(term: &PodAffinityTerm, namespace: &str) -> Self {
        let selector = |selector: &Option<_>| selector.as_ref().and_then(|s| LabelSelector::try_from(s).ok());
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().to_set();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self {
            topology_key: term.topology_key.clone(),
            selector: selector(&term.label_selector),
            namespaces,
            namespace_selector: selector(&term.namespace_selector),
        }
    }

    /// Whether of which pods it speaks depends on the labels of namespaces.
    pub(crate) fn selects_namespaces(&self) -> bool {
        self.namespace_selector.is_some()
    }

    /// Whether the term speaks of a pod with these labels in `namespace`.
    pub(crate) fn speaks_of(&self, namespace: &str, labels: &Labels, known: &Namespaces) -> bool {
        let there = || {
            let selector = self.namespace_selector.as_ref()?;
            Some(selector.selects(known.get(namespace).unwrap_or(&Labels::new())))
        };
        (self.namespaces.contains(namespace) || there().unwrap_or(false))
            && self.selector.as_ref().is_some_and(|selector| selector.selects(labels))
    }
}
