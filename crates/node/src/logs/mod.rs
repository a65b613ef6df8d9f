//! Container logs: files in CRI format, one per attempt, read and followed.

pub(crate) mod line;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod tail;
