//! The Node object: what the machine is, that it is there, and that it takes pods.

pub(crate) mod disk;
pub(crate) mod machine;
pub(crate) mod modules;
pub(crate) mod object;
pub(crate) mod register;
pub(crate) mod view;
