//! skiff-node.
