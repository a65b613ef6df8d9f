//! skiff bench.
