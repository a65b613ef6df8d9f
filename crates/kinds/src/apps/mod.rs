//! The group `apps`, `v1`.

mod controller_revision;
mod daemon_set;
mod deployment;
mod replica_set;
mod stateful_set;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        controller_revision::row(schema),
        daemon_set::row(schema),
        deployment::row(schema),
        replica_set::row(schema),
        stateful_set::row(schema),
    ]
}
