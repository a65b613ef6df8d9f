//! skiff tests.
