//! What the files of several kinds share.

pub(crate) mod check;
pub(crate) mod defaults;
#[cfg(test)]
pub(crate) mod testing;
