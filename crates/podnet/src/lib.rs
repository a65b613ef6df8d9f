//! skiff-podnet.
