//! The group `policy`, `v1`.

pub mod disruption;
mod pod_disruption_budget;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![pod_disruption_budget::row(schema)]
}
