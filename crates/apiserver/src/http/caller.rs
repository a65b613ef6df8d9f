//! Who is at the other end.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
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
    InProcess {
        /// Who it is.
        user: Arc<UserInfo>,
        /// What it calls itself in requests, as a program's `User-Agent`.
        agent: HeaderValue,
    },
}

impl Caller {
    /// The address at the other end.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Network { peer, .. } => Some(peer.address.ip()),
            Self::InProcess { .. } => None,
        }
    }
}
