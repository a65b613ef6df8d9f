//! From a container's specification to what the runtime is told; no I/O.

pub(crate) mod config;
pub(crate) mod downward;
pub(crate) mod env;
pub(crate) mod env_file;
pub(crate) mod error;
pub(crate) mod expand;
pub(crate) mod keyring;
pub(crate) mod limits;
pub(crate) mod references;
pub(crate) mod security;
pub(crate) mod services;
