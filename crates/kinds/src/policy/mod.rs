//! The group `policy`, `v1`.

pub mod disruption;
mod pod_disruption_budget;

use std::sync::Arc;

use skiff_machinery::{GroupVersion, Kind};
use skiff_schema::Schema;

const GV: GroupVersion = GroupVersion::fixed("policy", "v1");

/// The kinds of the group.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![pod_disruption_budget::row(schema)]
}
