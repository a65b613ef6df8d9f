//! The files the node manages in every container; no I/O.

pub(crate) mod hosts;
pub(crate) mod resolv;
