//! Kubernetes' API machinery: what is the same for every kind.
//!
//! A [`Kind`] is data: names, scope, subresources, schema, table columns, selectable fields and a [`Strategy`] for the
//! few places where kinds really differ. This crate knows no kind (`skiff_kinds` has the built-in ones) and does no I/O:
//! the API server's pipeline, which is written once, reads the rows and calls the functions.
//!
//! Objects travel as JSON trees ([`Object`]); a strategy decodes to the typed `k8s_openapi` struct where that reads
//! better.

pub mod addresses;
mod catalogue;
pub mod cells;
mod column;
mod convert;
pub mod discovery;
pub mod duration;
mod exchange;
mod field;
pub mod go;
mod group_version;
mod identity;
pub mod keys;
mod kind;
pub mod managed;
pub mod names;
mod native;
mod object;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod scale;
mod selectable;
pub mod selector;
mod strategy;
pub mod strict;
mod subresource;
pub mod table;
#[cfg(test)]
mod testing;
mod verb;
pub mod yaml;

pub use catalogue::Catalogue;
pub use column::{Cell, Column, ColumnType, Printer, Row};
pub use convert::{Convert, ConvertError, Converting};
pub use exchange::{Exchange, version_path};
pub use field::{FieldError, FieldErrorKind, FieldErrors, MOST_ERRORS, Shown};
pub use group_version::GroupVersion;
pub use identity::{Namespace, Uid};
pub use kind::{Conversion, Kind, Names, Persistence, Scope, Versions};
pub use native::Native;
pub use object::{DecodeError, NotAnObject, Object};
pub use selectable::{Getter, Selectable};
pub use skiff_ports::{NodePort, NodePorts};
pub use skiff_quantity as quantity;
pub use strategy::{
    AddressSpace, AllocationError, Claim, ClusterFacts, Companion, Context, Dependents, Findings, Grace,
    MetadataChecks, Part, Requester, Strategy,
};
pub use subresource::Subresource;
pub use verb::Verb;
