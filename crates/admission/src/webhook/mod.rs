//! Webhooks: programs outside that are asked about requests.

mod answer;
mod call;
mod client;
mod configuration;
mod fields;
mod mutating;
mod review;
mod select;
mod url;
mod validate;
mod validating;

pub use client::{CallError, ClientConfig, Target, Webhooks};
pub use configuration::{Configuration, Type};
pub use fields::default_configuration;
pub use mutating::MutatingWebhooks;
pub(crate) use select::Versioned;
pub use validate::{validate_configuration, validate_configuration_update};
pub use validating::ValidatingWebhooks;

#[cfg(test)]
mod tests;
