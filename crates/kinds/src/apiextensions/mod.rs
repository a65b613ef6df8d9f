//! The group `apiextensions.k8s.io`.

pub mod custom;
mod custom_resource_definition;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![custom_resource_definition::row(schema)]
}
