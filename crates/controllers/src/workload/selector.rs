//! What an owner selects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use skiff_machinery::selector::LabelSelector;

use super::Dependent;
use crate::meta::Strings;

/// A selector as controllers use it: one that is empty, or cannot be understood, selects nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector(LabelSelector);

impl Selector {
    /// Of equal labels.
    pub(crate) fn equal(labels: &Strings) -> Self {
        Self(LabelSelector::all_of(labels))
    }

    /// As most owners have it.
    pub(crate) fn of(selector: &v1::LabelSelector) -> Self {
        Self(LabelSelector::try_from(selector).unwrap_or_default())
    }

    /// Whether `object` is selected.
    pub(crate) fn selects<D: Dependent>(&self, object: &D) -> bool {
        !self.0.is_everything() && self.0.matches_by(|key| object.label(key))
    }
}
