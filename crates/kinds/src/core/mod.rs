//! The core group, `v1`.

mod binding;
pub(crate) mod claim_spec;
mod component_status;
mod config_map;
mod data;
mod endpoints;
pub(crate) mod event;
mod limit_range;
mod namespace;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
pub(crate) mod pod;
mod pod_template;
mod replication_controller;
mod resource_quota;
pub(crate) mod resources;
mod secret;
mod service;
mod service_account;
mod volume_places;
mod volume_sources;
pub(crate) mod volume_spec;
mod volumes;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        binding::row(schema),
        component_status::row(schema),
        config_map::row(schema),
        endpoints::row(schema),
        event::row(schema),
        limit_range::row(schema),
        namespace::row(schema),
        node::row(schema),
        persistent_volume_claim::row(schema),
        persistent_volume::row(schema),
        pod::row(schema),
        pod_template::row(schema),
        replication_controller::row(schema),
        resource_quota::row(schema),
        secret::row(schema),
        service_account::row(schema),
        service::row(schema),
    ]
}
