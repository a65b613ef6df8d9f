//! HTTP: connections, paths, negotiation, documents and the way of one request.

pub(crate) mod accept;
pub(crate) mod aside;
pub(crate) mod body;
pub(crate) mod client;
mod documents;
pub(crate) mod gate;
mod handle;
pub(crate) mod health;
mod listener;
pub(crate) mod metrics;
mod order;
pub(crate) mod path;
mod push;
pub(crate) mod query;
pub(crate) mod warnings;

pub(crate) use documents::Documents;
pub(crate) use listener::serve;
