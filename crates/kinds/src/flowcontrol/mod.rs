//! The group `flowcontrol.apiserver.k8s.io`: which requests are served first (KEP-1040).

pub mod bootstrap;
mod common;
mod flow_schema;
mod go;
mod priority_level;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![flow_schema::row(schema), priority_level::row(schema)]
}
