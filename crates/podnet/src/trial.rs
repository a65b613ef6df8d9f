//! Whether the kernel has the interfaces that the pod network is made of: they are made, in a namespace of their own.

use std::{fs::File, os::fd::AsFd};

use crate::{
    NetworkError,
    netlink::{HardwareAddress, Netlink, VethPair},
};

/// Any locally administered address.
const ADDRESS: HardwareAddress = [0x0a, 0, 0, 0, 0, 1];

/// Makes a bridge and a veth pair; the kernel loads what modules it needs for that. Call it on a thread with a network
/// namespace made for this, inside a tokio runtime: the interfaces stay.
pub async fn try_out() -> Result<(), NetworkError> {
    let netlink = Netlink::open()?;
    let bridge = netlink.add_bridge("trial0").await;
    bridge.map_err(NetworkError::missing("bridge", "CONFIG_BRIDGE"))?;
    let path = "/proc/thread-self/ns/net";
    let here = File::open(path).map_err(NetworkError::io("open network namespace", path))?;
    let pair = VethPair {
        host_name: "trial1",
        host_address: ADDRESS,
        peer_name: "trial2",
        peer_address: ADDRESS,
        peer_netns: here.as_fd(),
        mtu: 1500,
    };
    netlink.add_veth(&pair).await.map(drop).map_err(NetworkError::missing("veth", "CONFIG_VETH"))
}
