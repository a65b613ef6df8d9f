//! The group `scheduling.k8s.io`.

mod priority_class;

pub use priority_class::{SYSTEM, SystemClass};

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![priority_class::row(schema)]
}
