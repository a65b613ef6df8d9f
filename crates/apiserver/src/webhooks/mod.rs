//! Outgoing calls of webhooks: HTTPS to a URL, or to a Service of the cluster. Those that are not objects are in kubeconfigs.
//!
//! Connections wait for the next call to where they lead; a Service is looked up for each call, so that none goes to where it was a
//! while ago. TLS configurations, and with them TLS sessions, are kept. Redirections are not followed and no proxy is asked: a
//! webhook is where its configuration says, or nowhere.

pub(crate) mod conversion;
pub(crate) mod credentials;
pub(crate) mod dial;
mod idle;
pub(crate) mod kubeconfig;
mod open;
pub(crate) mod outgoing;
pub(crate) mod resolve;
pub(crate) mod tls;
pub(crate) mod trust;
pub(crate) mod user;
