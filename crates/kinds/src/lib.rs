//! The built-in kinds: a folder for each API group, in it a file or folder for each kind, with its row, strategy and
//! printer. What rows are made of is in `skiff_machinery`, which knows none of them. Nothing here does I/O.
//!
//! A new kind is a file in the folder of its group and a line in the group's list; a new group a line in [`builtin`].

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod authentication;
mod authorization;
mod certificates;
mod coordination;
mod core;
mod discovery;
pub mod flowcontrol;
pub mod honour;
pub mod networking;
mod node;
mod rbac;
mod resource;
mod row;
pub mod scheduling;
mod shared;
pub mod storage;

use std::sync::Arc;

pub use apiextensions::custom;
pub use apiregistration::service as api_service;
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
        authentication::rows(schema),
        authorization::rows(schema),
        certificates::rows(schema),
        networking::rows(schema),
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
