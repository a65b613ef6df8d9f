//! Priority and fairness in the server: where requests wait for their seats, and what the decisions of `skiff_fairness` are
//! made by.
//!
//! Requests of parts of this process are classified as any other. None of them holds a seat while it waits for another request of
//! its own level: what a request needs to know it reads from the store, webhooks and nodes are called by the
//! rules of their callers, and streams, logs and proxied requests, which may last, take no seats. What the server does in its own
//! name is exempt, as are administrators and questions after its health.

pub(crate) mod configuration;
pub(crate) mod keeper;
pub(crate) mod priority;
mod wake;
