//! What URLs name below an object and leads elsewhere: to nodes, and to what proxy URLs name.

pub(crate) mod connect;
mod connection;
pub(crate) mod endpoints;
pub(crate) mod node;
pub(crate) mod proxy;
