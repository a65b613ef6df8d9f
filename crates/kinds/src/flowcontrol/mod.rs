//! The group `flowcontrol.apiserver.k8s.io`: which requests are served first (KEP-1040).

pub mod bootstrap;
mod common;
mod flow_schema;
mod go;
mod priority_level;

use std::sync::Arc;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![flow_schema::row(schema), priority_level::row(schema)]
}

/// A FlowSchema as it is stored. Read here, for most of the program is made for size, but not what calls this.
///
/// # Errors
/// When the text is not one.
pub fn read_schema(text: &[u8]) -> serde_json::Result<FlowSchema> {
    serde_json::from_slice(text)
}

/// As [`read_schema`], for a PriorityLevelConfiguration.
///
/// # Errors
/// When the text is not one.
pub fn read_level(text: &[u8]) -> serde_json::Result<PriorityLevelConfiguration> {
    serde_json::from_slice(text)
}
