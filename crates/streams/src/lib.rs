//! skiff-streams.
