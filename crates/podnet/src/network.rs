//! The node's side of the pod network: what exists once per node, and the life of a pod's interface.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd,
    path::Path,
};

use ipnet::Ipv4Net;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use parking_lot::Mutex;

use crate::{
    ANCHOR_INTERFACE, NetworkError, NodeNetwork, POD_INTERFACE_PREFIX, PodAddress,
    addresses::{self, AddressBook},
    netlink::{self, HardwareAddress, Index, Netlink, Route, VethPair, Via},
    pod::{self, PodSide},
    uplink,
};

/// The pod network of this node, set up and ready to attach pods.
#[derive(Debug)]
pub struct PodNetwork {
    config: NodeNetwork,
    netlink: Netlink,
    addresses: Mutex<AddressBook>,
    /// Bytes; taken from the uplink once.
    mtu: u32,
    /// Whether the kernel has IPv6 at all.
    ipv6: bool,
}

impl PodNetwork {
    /// Makes the node's side, or adopts what an earlier run left. Addresses given to pods are kept under
    /// `run_dir/network`. Must be called inside the node's network namespace and a tokio runtime.
    pub async fn setup(config: NodeNetwork, run_dir: &Path) -> Result<Self, NetworkError> {
        config.check()?;
        let netlink = Netlink::open()?;
        refuse_overlap(&netlink, &config).await?;
        let addresses = AddressBook::open(run_dir.join(RECORDS), config.pod_cidr)?;
        set_parameters()?;
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        let gateway = config.gateway();
        let anchor = set_up_anchor(&netlink, gateway, ipv6).await?;
        let services = Via::Interface { index: anchor, source: gateway };
        netlink.set_our_route(Route { to: config.service_cidr.trunc(), via: services }).await?;
        netlink.set_our_route(Route { to: config.cluster_cidr.trunc(), via: Via::Unreachable }).await?;
        let mtu = uplink::mtu(&netlink).await?;
        Ok(Self { config, netlink, addresses: Mutex::new(addresses), mtu, ipv6 })
    }

    /// Connects the network namespace at `netns` as pod `uid`. Repeating it repairs what is missing and gives the same
    /// address. At most one call per pod may be under way.
    pub async fn attach(&self, uid: &str, netns: &Path) -> Result<PodAddress, NetworkError> {
        let ip = self.addresses.lock().assign(uid)?;
        let gateway = self.config.gateway();
        let host_name = interface_name(ip);
        let side = PodSide {
            ip,
            hardware: hardware_address(POD_END, ip),
            gateway,
            gateway_hardware: hardware_address(HOST_END, ip),
            ipv6: self.ipv6,
        };
        let host = self.connect(uid, &host_name, netns, side).await?;
        self.netlink.set_neighbour(host, ip, side.hardware).await?;
        let to_pod = Via::Interface { index: host, source: gateway };
        self.netlink.replace_route(Route { to: Ipv4Net::from(ip), via: to_pod }).await?;
        pod::configure(netns, side).await?;
        Ok(PodAddress { ip: IpAddr::V4(ip), prefix: 32, gateway: IpAddr::V4(gateway), mtu: self.mtu })
    }

    /// Makes the veth pair unless it is there already, sets the host's end up and returns its index.
    async fn connect(
        &self,
        uid: &str,
        host_name: &str,
        netns: &Path,
        side: PodSide,
    ) -> Result<Index, NetworkError> {
        let namespace = File::open(netns).map_err(NetworkError::io("open network namespace", netns))?;
        let pair = VethPair {
            host_name,
            host_address: side.gateway_hardware,
            peer_name: pod::INTERFACE,
            peer_address: side.hardware,
            peer_netns: namespace.as_fd(),
            mtu: self.mtu,
        };
        if !self.netlink.add_veth(&pair).await? && !self.is_connected(host_name, netns, side).await? {
            if let Some(stale) = self.netlink.link(host_name).await? {
                self.netlink.delete_link(stale.header.index).await?;
            }
            if !self.netlink.add_veth(&pair).await? {
                return Err(NetworkError::ForeignInterface { netns: netns.to_owned() });
            }
        }
        let index = self.index_of(host_name).await?;
        set_parameter(&format!("conf/{host_name}/send_redirects"), "0")?;
        self.netlink.set_up(index, Some(uid), self.ipv6).await?;
        Ok(index)
    }

    /// Whether both ends exist: the host's by name, the pod's by its hardware address in the namespace.
    async fn is_connected(&self, host_name: &str, netns: &Path, side: PodSide) -> Result<bool, NetworkError> {
        Ok(self.netlink.link(host_name).await?.is_some() && pod::has_interface(netns, side).await?)
    }

    async fn index_of(&self, name: &str) -> Result<Index, NetworkError> {
        index_of(&self.netlink, name).await
    }

    /// Removes the interface of pod `uid` and frees its address. Unknown pods are no error.
    pub async fn detach(&self, uid: &str) -> Result<(), NetworkError> {
        let Some(ip) = self.addresses.lock().get(uid) else { return Ok(()) };
        if let Some(link) = self.netlink.link(&interface_name(ip)).await? {
            self.netlink.delete_link(link.header.index).await?;
        }
        self.addresses.lock().release(uid)
    }

    /// The pods that hold an address, by UID, from this and earlier runs.
    pub fn existing(&self) -> BTreeMap<String, IpAddr> {
        self.addresses.lock().all().iter().map(|(uid, ip)| (uid.clone(), IpAddr::V4(*ip))).collect()
    }

    /// Removes every interface, route and file of ours from the current network namespace. Needs no live
    /// `PodNetwork`, so that a cluster can be taken down after its processes are gone. What can be removed is removed also
    /// when something cannot; the first failure is returned. `net.ipv4.ip_forward` and `net.ipv4.conf.all.send_redirects`
    /// stay as they are: others may have come to depend on them.
    pub async fn teardown(run_dir: &Path) -> Result<(), NetworkError> {
        let netlink = Netlink::open()?;
        let mut result = Ok(());
        for route in netlink.routes().await?.into_iter().filter(netlink::is_ours) {
            result = result.and(netlink.delete_route(route).await);
        }
        for link in netlink.links().await?.iter().filter(|link| is_ours(link)) {
            result = result.and(netlink.delete_link(link.header.index).await);
        }
        result.and(addresses::forget_all(&run_dir.join(RECORDS)))
    }
}

/// The address under which this machine is best reached: the source of the default route, else the first global address of an
/// interface other than loopback and ours, else none.
pub async fn primary_address() -> Result<Option<Ipv4Addr>, NetworkError> {
    uplink::primary_address(&Netlink::open()?).await
}

/// Directory of the address records inside the run directory.
const RECORDS: &str = "network";

/// First two bytes of hardware addresses, locally administered; the IP address follows.
const POD_END: [u8; 2] = [0x0a, 0x70];
const HOST_END: [u8; 2] = [0x0a, 0x68];

fn hardware_address([a, b]: [u8; 2], ip: Ipv4Addr) -> HardwareAddress {
    let [c, d, e, f] = ip.octets();
    [a, b, c, d, e, f]
}

/// `skiff-0af40005` for 10.244.0.5: 14 of at most 15 characters, unique because the address is.
fn interface_name(ip: Ipv4Addr) -> String {
    format!("{POD_INTERFACE_PREFIX}{:08x}", u32::from(ip))
}

/// Whether the name is one that we give. Others do not use it by accident.
pub(crate) fn is_ours(link: &LinkMessage) -> bool {
    netlink::name(link).is_some_and(|name| {
        name == ANCHOR_INTERFACE
            || name
                .strip_prefix(POD_INTERFACE_PREFIX)
                .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

/// Makes or adopts the anchor interface; afterwards `gateway` is its only address.
async fn set_up_anchor(netlink: &Netlink, gateway: Ipv4Addr, ipv6: bool) -> Result<Index, NetworkError> {
    let _new_or_adopted: bool = netlink.add_bridge(ANCHOR_INTERFACE).await?;
    let index = index_of(netlink, ANCHOR_INTERFACE).await?;
    netlink.set_up(index, None, ipv6).await?;
    netlink.add_address(index, gateway).await?;
    for address in netlink.addresses().await? {
        let other = netlink::global_ipv4(&address).is_some_and(|ip| ip != gateway);
        if address.header.index == index && other {
            netlink.delete_address(address).await?;
        }
    }
    Ok(index)
}

pub(crate) async fn index_of(netlink: &Netlink, name: &str) -> Result<Index, NetworkError> {
    match netlink.link(name).await? {
        Some(link) => Ok(link.header.index),
        None => {
            let gone = std::io::Error::from(rustix::io::Errno::NODEV);
            Err(NetworkError::io("find interface", name)(gone))
        }
    }
}

/// Refuses ranges that contain an address of another interface: its owner would lose its connections.
async fn refuse_overlap(netlink: &Netlink, config: &NodeNetwork) -> Result<(), NetworkError> {
    let links = netlink.links().await?;
    let ours: Vec<Index> = links.iter().filter(|link| is_ours(link)).map(|link| link.header.index).collect();
    for address in netlink.addresses().await? {
        if ours.contains(&address.header.index) {
            continue;
        }
        let Some(address) = netlink::global_ipv4(&address) else { continue };
        for (what, range) in [("pod CIDR", config.cluster_cidr), ("service CIDR", config.service_cidr)] {
            if range.contains(&address) {
                return Err(NetworkError::Overlap { what, range, address });
            }
        }
    }
    Ok(())
}

/// Lets the kernel forward packets between pods, and interfaces decide for themselves about redirects.
///
/// A pod that reaches itself through a Service sends and gets its packets by one interface. The kernel would tell it of
/// a shorter way, and count that against the errors it may report to the pod: a ping of a ClusterIP soon after would
/// get no answer. Pod interfaces send no redirects, which holds only if `all` does not overrule them; other
/// interfaces keep their own setting.
fn set_parameters() -> Result<(), NetworkError> {
    set_parameter("ip_forward", "1")?;
    set_parameter("conf/all/send_redirects", "0")
}

/// Sets a parameter below `net.ipv4`, unless it is set already: changing some resets others.
fn set_parameter(name: &str, value: &str) -> Result<(), NetworkError> {
    let path = Path::new("/proc/sys/net/ipv4").join(name);
    let now = std::fs::read_to_string(&path).map_err(NetworkError::io("read", &path))?;
    if now.trim() == value {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(NetworkError::io("write", &path))
}

/// Whether the interface has the given hardware address.
pub(crate) fn has_address(link: &LinkMessage, hardware: HardwareAddress) -> bool {
    link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::Address(a) if *a == hardware))
}
