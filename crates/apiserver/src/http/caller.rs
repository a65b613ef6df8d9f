//! Who is at the other end.

use std::net::IpAddr;
use std::sync::Arc;

use skiff_identity::{PeerIdentity, UserInfo};
use skiff_listener::Peer;

/// Who sends requests into a service.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A connection.
    Network {
        /// That of its client certificate, if it showed one.
        identity: Option<Arc<PeerIdentity>>,
        /// Its other end.
        peer: Arc<Peer>,
    },
    /// A part of this process.
    InProcess(Arc<UserInfo>),
}

impl Caller {
    /// The address at the other end.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Network { peer, .. } => Some(peer.address.ip()),
            Self::InProcess(_) => None,
        }
    }
}
