//! What the files of several kinds share.

pub(crate) mod check;
pub(crate) mod conditions;
pub(crate) mod defaults;
pub(crate) mod diff;
pub(crate) mod go;
pub(crate) mod node_labels;
pub(crate) mod replicated;
pub(crate) mod share;
pub(crate) mod template;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod workload;
