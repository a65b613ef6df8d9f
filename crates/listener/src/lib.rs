//! HTTPS for strangers: what everything of ours listens with that speaks HTTP.
//!
//! Three facts shape this crate:
//!
//! * Who connects is unknown until a certificate or a request says so. Until then a connection is a *stranger's*: there
//!   are few places for strangers, and whoever comes last pushes out the one that has waited longest. A client that
//!   proves itself at once is therefore served however many idle connections others open.
//! * A connection costs a descriptor and memory for as long as it likes, unless somebody ends it. One loop for each
//!   connection ends it when it is idle, when its client takes no more bytes, and when an answer takes too long.
//! * Descriptors run out for the whole process. Accepting then waits until one is free, and says so once.
//!
//! Every bound is a field of [`Limits`]. How a program tells of its health is here as well ([`Checks`]), and whom its clients believe
//! to be a server ([`verifier`]).

mod accept;
mod body;
mod book;
mod connection;
mod contain;
mod exchange;
mod gather;
mod health;
mod io;
mod limits;
mod peer;
mod verify;

pub use accept::Listener;
pub use body::RequestBody;
pub use contain::{Panicked, contained};
pub use exchange::Exchange;
pub use health::{Checks, Concern, Outcome, report};
pub use limits::{Limits, NoFiles, raise_descriptors};
pub use peer::Peer;
pub use verify::{Anybody, Judge, verifier};

/// Identifies a request in the answer and in our log, under Kubernetes' name for it.
pub const AUDIT_ID: http::HeaderName = http::HeaderName::from_static("audit-id");

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
