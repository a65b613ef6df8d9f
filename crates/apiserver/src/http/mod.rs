//! HTTP: connections, paths, negotiation, documents and the way of one request.

pub(crate) mod accept;
pub(crate) mod aside;
pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod documents;
pub(crate) mod gate;
mod handle;
pub(crate) mod health;
pub(crate) mod listener;
pub(crate) mod metrics;
mod order;
pub(crate) mod path;
mod push;
mod scrape;
