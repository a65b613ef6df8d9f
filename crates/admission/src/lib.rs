//! Admission: what may change or refuse a request after it was authorised, as Kubernetes 1.36 has it. No HTTP and no store: a
//! [`Chain`] of [`Plugin`]s works on [`Attributes`], and asks the server that it is part of through narrow traits.
//!
//! The pipeline makes [`Attributes`] of a request: operation, resource, kind, names, user, options, the object with its defaults and
//! the one that is there. It calls
//!
//! 1. [`Chain::admit`] when the object is decoded, has its defaults and, on update, was merged with what is there; afterwards it
//!    takes [`Attributes::object`], which may be another one, prepares and validates it;
//! 2. [`Chain::validate`] with the object as it will be written, right before that;
//! 3. [`Attributes::warnings`] and [`Attributes::annotations`], whether or not the request was refused.
//!
//! A [`Refusal`] is the Status to answer. On delete and connect the same two calls are made, one after the other. When a write
//! is tried again because another writer came first, so is admission, with new attributes.
//!
//! The order of plugins is Kubernetes': its own that change objects, then those of the server's administrators: mutating
//! policies, mutating webhooks; and at the end validating policies, validating webhooks, quotas.
//!
//! [`MutatingWebhooks`] and [`ValidatingWebhooks`] get their [`Configuration`]s by `set` whenever one changes: compiled once from
//! the objects' JSON, not for each request. What they need of the server are [`Surroundings`], and [`Webhooks`] for outgoing calls.
//! In the same way [`MutatingPolicies`] and [`ValidatingPolicies`] get theirs, each with its [`Binding`]s, and read parameters through
//! [`Params`]. A controller of the server writes what [`check_types`] finds into the status of ValidatingAdmissionPolicies.
//! Validation and defaults of these objects are functions, which `skiff_kinds` calls.
//!
//! Three facts shaped this crate. Messages are part of the interface, and are Kubernetes' word for word. What webhooks answer comes from
//! strangers, so it is bounded and checked. And a webhook or policy that cannot be used must not be found out by a user's request
//! alone: everything that can be known ahead is compiled and checked when the object is written.

mod attributes;
mod chain;
mod expressions;
mod fields;
mod notes;
mod numbers;
mod policy;
mod refusal;
mod reinvocation;
mod rules;
mod selector;
mod surroundings;
#[cfg(test)]
mod testing;
mod webhook;

pub use attributes::{Attributes, GroupVersionKind, GroupVersionResource, Operation, User};
pub use chain::{Chain, Plugin};
pub use numbers::{Laps, METRICS, Step, step};
pub use policy::{
    Binding, MutatingPolicies, MutatingPolicy, Params, ValidatingPolicies, ValidatingPolicy, check_types,
    default_binding, default_policy, validate_mutating_binding, validate_mutating_policy,
    validate_mutating_policy_update, validate_validating_binding, validate_validating_policy,
    validate_validating_policy_status, validate_validating_policy_update,
};
pub use refusal::{Cause, Details, Refusal};
pub use reinvocation::Reinvocation;
pub use surroundings::{Authorizers, Equivalent, Kinds, Namespaces, Surroundings, Unknown};
pub use webhook::{
    CallError, ClientConfig, Configuration, MutatingWebhooks, Target, Type, ValidatingWebhooks, Webhooks,
    default_configuration, validate_configuration, validate_configuration_update,
};
