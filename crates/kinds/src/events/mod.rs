//! The group `events.k8s.io`, `v1`: the events of the core group, with other names for their fields.

mod event;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![event::row(schema)]
}
