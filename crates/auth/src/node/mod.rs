//! What a node agent may do: read what its pods need, write what is its own.

mod authorizer;
mod graph;
mod labels;
mod references;
mod restriction;

pub(super) use authorizer::{Verdict, authorize};
pub(super) use graph::NodeGraph;
pub(super) use restriction::{Known, admit, needs_own_node};
