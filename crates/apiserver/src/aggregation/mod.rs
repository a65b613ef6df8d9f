//! API aggregation: group versions that other API servers serve, registered by APIServices (kube-aggregator's part of
//! kube-apiserver).
//!
//! - Every request for such a version is authenticated and authorised here like any other, then passed on with the user's
//!   name in headers ([`proxy`]). Which requests these are is read from a model of the APIServices ([`registration`]), so that
//!   a cluster without any pays a look into an empty map.
//! - Each of them has a task ([`keeper`]) that asks whether it can be used and says so in the condition `Available`
//!   ([`availability`]), and what it has to tell for the documents ([`gather`]). The task is here and not among the
//!   controllers, since it has to dial as requests are dialled, with the same keys, and what it gathers is served here. It
//!   waits for changes of the Service, and asks again every half a minute; where nothing is aggregated there is no task.
//! - Versions that this server serves have APIServices, too: those that are built in are written before the first request
//!   (`bootstrap/api_services.rs`), those of custom kinds follow the definitions ([`local`]).
//!
//! An extension server is a stranger: what it sends is bounded in size and time, and nothing else waits for it.

mod availability;
mod gather;
mod keeper;
pub(crate) mod known;
mod local;
mod metrics;
pub(crate) mod proxy;
pub(crate) mod registration;
pub(crate) mod run;
pub(crate) mod setting;
mod transport;
pub(crate) mod writer;
