//! Probes of containers, and the actions they share with lifecycle hooks.

pub(crate) mod action;
pub(crate) mod counts;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod perform;
pub(crate) mod prober;
pub(crate) mod tally;
