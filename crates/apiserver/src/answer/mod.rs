//! Answers: how what a call came to is written, in the encoding that its client wants, whole or as it comes.

pub(crate) mod asked;
mod chunks;
mod events;
pub(crate) mod format;
mod listed;
mod protobuf;
pub(crate) mod respond;
pub(crate) mod watch;
