//! The group `batch`, `v1`.

mod cron_job;
mod job;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![cron_job::row(schema), job::row(schema)]
}
