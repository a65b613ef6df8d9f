//! The skiff API server: one request pipeline for every kind.

mod admission;
mod aggregation;
pub mod bootstrap;
mod build_info;
mod config;
mod definitions;
mod errors;
mod extension;
mod fairness;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod limits;
mod offer;
mod pipeline;
mod plugins;
mod relay;
mod server;
mod subresources;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod webhooks;

pub use build_info::{BuildInfo, kubernetes_version};
pub use config::{ClusterConfig, Config};
pub use extension::{Asked, Extension};
pub use http::body::{Body, BodyError, BoxError};
pub use http::client::ApiService;
pub use limits::Limits;
pub use pipeline::terms::terms;
pub use plugins::{Plugins, UnknownPlugin};
pub use server::{ApiServer, StartError};
pub use skiff_identity::UserInfo;
pub use skiff_listener::{Checks, Concern};
