//! The group `apiregistration.k8s.io`.

mod api_service;
mod priorities;
pub mod service;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![api_service::row(schema)]
}
