//! The node's side of the pod network.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use crate::{NetworkError, NodeNetwork, PodAddress};

/// The pod network of this node, set up and ready to attach pods.
#[derive(Debug)]
pub struct PodNetwork {}

impl PodNetwork {
    /// Makes the node's side, or adopts what an earlier run left. Addresses given to pods are kept under
    /// `run_dir/network`.
    pub async fn setup(_config: NodeNetwork, _run_dir: &Path) -> Result<Self, NetworkError> {
        todo!()
    }

    /// Connects the network namespace at `netns` as pod `uid`. Repeating it repairs what is missing and gives the same
    /// address.
    pub async fn attach(&self, _uid: &str, _netns: &Path) -> Result<PodAddress, NetworkError> {
        todo!()
    }

    /// Removes the interface of pod `uid` and frees its address. Unknown pods are no error.
    pub async fn detach(&self, _uid: &str) -> Result<(), NetworkError> {
        todo!()
    }

    /// The pods that hold an address, by UID, in this and earlier runs.
    pub fn existing(&self) -> BTreeMap<String, IpAddr> {
        todo!()
    }

    /// Removes every interface, route and file of ours. Needs no live `PodNetwork`, so that `skiff down` can call it.
    pub async fn teardown(_run_dir: &Path) -> Result<(), NetworkError> {
        todo!()
    }
}

/// The address under which this machine is best reached: the source of the default route, else the first global address of an
/// interface other than loopback, else none.
pub async fn primary_address() -> Result<Option<Ipv4Addr>, NetworkError> {
    todo!()
}
