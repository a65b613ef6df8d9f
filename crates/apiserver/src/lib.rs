//! The skiff API server: HTTP in front of the registry.
//!
//! A request is parsed, authenticated, authorised and given seats (`http/handle/`); one for objects becomes a
//! [`Call`](skiff_registry::Call), which the registry carries out, and what comes of it is written in the encoding that the
//! client wants (`answer/`). Beside that there are documents (discovery, OpenAPI), subresources that lead to nodes, and the
//! versions of the API that other servers serve (`aggregation/`).

mod access;
mod aggregation;
mod answer;
mod audit;
pub mod bootstrap;
mod build_info;
mod changes;
mod config;
mod expiry;
mod extension;
mod fairness;
#[cfg(debug_assertions)]
pub mod fuzzing;
mod http;
mod limits;
mod offer;
mod relay;
mod server;
mod shared;
mod subresources;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod webhooks;

pub use access::{
    AccessError, Authentication, AuthenticationOptions, Authorization, AuthorizationOptions, OidcOptions,
    Outcomes, Reloads, WebhookOptions,
};
pub use audit::{AuditConfig, AuditError, AuditOptions};
pub use build_info::{BuildInfo, kubernetes_version};
pub use changes::{Changes, Followed, Said};
pub use config::{ClusterConfig, Config};
pub use expiry::EventTtl;
pub use extension::{Asked, Extension};
pub use http::body::{Body, BodyError, BoxError};
pub use http::client::ApiService;
pub use limits::Limits;
pub use server::{ApiServer, StartError};
pub use skiff_identity::UserInfo;
pub use skiff_jwt::Flags as OidcFlags;
pub use skiff_listener::{Checks, Concern};
pub use skiff_registry::{
    ConfigurationError, PluginConfiguration, PluginError, PluginNames, Plugins, configuration, terms,
};
pub use webhooks::credentials::CredentialsError;
