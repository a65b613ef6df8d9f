//! The volumes of pods.

pub(crate) mod atomic;
pub(crate) mod content;
pub(crate) mod host_path;
pub(crate) mod mounts;
pub(crate) mod ownership;
pub(crate) mod setup;
pub(crate) mod tokens;
