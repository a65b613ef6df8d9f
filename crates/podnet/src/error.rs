//! What can go wrong with the pod network, and on which object.

use std::{io, net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;

/// Failure of a pod network operation. Netlink and file errors may be transient: the caller retries with back-off.
/// [`NetworkError::Overlap`], [`NetworkError::RouteTaken`] and [`NetworkError::TooSmall`] need another configuration.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A configured range contains an address that the machine already uses for something else.
    #[error("{what} {range} contains {address}, which this machine already uses; choose another range")]
    Overlap {
        /// Which range: "pod CIDR" or "service CIDR".
        what: &'static str,
        /// The configured range.
        range: Ipv4Net,
        /// The address in use.
        address: Ipv4Addr,
    },
    /// Somebody else's route covers exactly a range of ours.
    #[error("a route to {range} exists already and is not ours; remove it or choose another range")]
    RouteTaken {
        /// The destination of the foreign route.
        range: Ipv4Net,
    },
    /// The pod CIDR has no room for a gateway and a pod.
    #[error("pod CIDR {range} is too small, it needs at least four addresses")]
    TooSmall {
        /// The configured range.
        range: Ipv4Net,
    },
    /// Every address of the pod CIDR is taken.
    #[error("no free address left in pod CIDR {range} for pod {uid}")]
    Exhausted {
        /// The node's pod CIDR.
        range: Ipv4Net,
        /// The pod that got none.
        uid: String,
    },
    /// The pod's namespace has an `eth0` that is not ours.
    #[error("network namespace {netns} already has an interface eth0 that skiff did not make")]
    ForeignInterface {
        /// Path of the namespace.
        netns: PathBuf,
    },
    /// A pod UID that cannot be a file name.
    #[error("pod UID {uid:?} is not usable as a file name")]
    BadUid {
        /// The UID as given.
        uid: String,
    },
    /// The kernel cannot make a kind of interface.
    #[error(
        "the kernel lacks {option}: its module `{module}` is not there or cannot be loaded; `modprobe {module}` says why"
    )]
    Missing {
        /// The module that has it where it is not built in.
        module: &'static str,
        /// The option of the kernel's configuration.
        option: &'static str,
        /// The attempt that failed.
        source: Box<NetworkError>,
    },
    /// The kernel refused a request.
    #[error("{action}")]
    Netlink {
        /// What was attempted, with the object's name.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file, a namespace handle or a socket could not be used.
    #[error("{action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl NetworkError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn missing(module: &'static str, option: &'static str) -> impl FnOnce(Self) -> Self {
        move |source| Self::Missing { module, option, source: Box::new(source) }
    }
}
