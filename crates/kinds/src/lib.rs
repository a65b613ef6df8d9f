//! The built-in kinds: a folder for each API group, in it a file or folder for each kind, with its row, strategy and
//! printer. What rows are made of is in `skiff_machinery`, which knows none of them. Nothing here does I/O.
//!
//! A new kind is a file in the folder of its group and a line in the group's list; a new group lines in `groups` and
//! [`builtin`].

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
pub mod flowcontrol;
pub mod former;
mod groups;
pub mod honour;
pub mod networking;
mod node;
mod policy;
mod rbac;
mod resource;
mod row;
pub mod scheduling;
mod shared;
pub mod storage;

use std::sync::Arc;

pub use apiextensions::custom;
pub use apiregistration::service as api_service;
pub use policy::disruption;
use skiff_machinery::Catalogue;
use skiff_schema::Schema;

/// Every built-in kind with the schema of Kubernetes, in discovery order: groups by Kubernetes' priorities, plural names
/// alphabetically.
pub fn builtin() -> Catalogue {
    builtin_of(&Arc::new(Schema::kubernetes()))
}

/// As [`builtin`], with a schema that others use as well.
pub fn builtin_of(schema: &Arc<Schema>) -> Catalogue {
    let groups = [
        core::rows(schema),
        apiregistration::rows(schema),
        apps::rows(schema),
        events::rows(schema),
        authentication::rows(schema),
        authorization::rows(schema),
        autoscaling::rows(schema),
        batch::rows(schema),
        certificates::rows(schema),
        networking::rows(schema),
        policy::rows(schema),
        rbac::rows(schema),
        storage::rows(schema),
        admissionregistration::rows(schema),
        apiextensions::rows(schema),
        scheduling::rows(schema),
        coordination::rows(schema),
        node::rows(schema),
        discovery::rows(schema),
        resource::rows(schema),
        flowcontrol::rows(schema),
    ];
    groups.into_iter().flatten().collect()
}
