//! What the node, its pods and their containers use: read when somebody asks, shown as the kubelet shows it.
//!
//! [`gather`] reads; everything else is a pure function of its [`readings`]. What the kernel does not tell is left out of
//! the answers, never shown as zero. Not measured: the bytes of writable layers and of volumes on disk, for which whole trees
//! would have to be walked.

pub(crate) mod cadvisor;
pub(crate) mod claims;
pub(crate) mod exposition;
pub(crate) mod gather;
pub(crate) mod rates;
pub(crate) mod readings;
pub(crate) mod resource;
pub(crate) mod summary;
