//! The registry: create, read, update, delete, list and watch over a store, the same for every kind.
//!
//! - A [`Call`] is plain data: who asks, what for, in which version of which kind. [`run`] carries it out against a
//!   [`Registry`], which holds the store and the services that are asked on the way, each as a narrow trait; what comes of
//!   it is an [`Outcome`] of entries and objects. How that is written, and to whom, is not known here.
//! - The pipeline (`pipeline/`) names no kind; what is special about one, its strategy says. Admission (`admission/`) is one
//!   file for each plugin.
//! - Nothing is kept besides the store but what can be made of it again: the kinds that definitions define
//!   (`definitions.rs`), the webhooks and policies that are configured, and some decoded objects.

mod admission;
pub mod configuration;
mod definitions;
mod errors;
#[cfg(debug_assertions)]
pub mod fuzzing;
mod pipeline;
mod plugins;
mod query;
mod registry;
mod services;
mod subresources;
mod warnings;

pub use admission::asking::connect;
pub use admission::surroundings::kinds;
pub use errors::{ApiError, Cause, Subject, aggregate};
pub use pipeline::call::{Call, Place, options_kind, timestamp};
pub use pipeline::codec;
pub use pipeline::list::searched as list_work;
pub use pipeline::metadata::made_id;
pub use pipeline::metadata_checks::{annotations as check_annotations, labels as check_labels};
pub use pipeline::outcome::{Content, Outcome, Selected};
pub use pipeline::recent::Recent;
pub use pipeline::run::run;
pub use pipeline::terms::terms;
pub use pipeline::watch::{Scribe, Told, Watching, searched as watch_work};
pub use plugins::{
    Configuration as PluginConfiguration, ConfigurationError, PluginError, PluginNames, Plugins,
};
pub use query::{FieldValidation, Query};
pub use registry::{Registry, Services};
pub use services::{Authority, Callers, Converters, Offer, Parts};
pub use warnings::Warnings;
