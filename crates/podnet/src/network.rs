//! The node's side of the pod network: what exists once per node, and the life of a pod's interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::Ipv4Net;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock};
use tokio::time::Instant;

use crate::{
    ANCHOR_INTERFACE, NetworkError, NodeNetwork, POD_INTERFACE_PREFIX, PodAddress,
    addresses::{self, AddressBook},
    netlink::{self, HardwareAddress, Index, Netlink, Route, VethPair, Via},
    pod::{self, PodSide},
    state::{self, Missing, Owner},
    uplink,
};

/// A connected pod: its address and its network namespace, which stays open, and so alive, until the pod is detached.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) ip: Ipv4Addr,
    pub(crate) netns: Arc<File>,
    /// Whether clients at loopback addresses of the node reach it.
    pub(crate) serves_loopback: bool,
}

impl Connected {
    fn new(ip: Ipv4Addr, netns: File) -> Self {
        Self { ip, netns: Arc::new(netns), serves_loopback: false }
    }
}

/// The pod network of this node, set up and ready to attach pods.
#[derive(Debug)]
pub struct PodNetwork {
    config: NodeNetwork,
    netlink: Netlink,
    addresses: Mutex<AddressBook>,
    /// The pods that are connected, by UID: those that this run has attached or adopted.
    pub(crate) connected: Mutex<BTreeMap<String, Connected>>,
    /// Told when a pod is adopted: what it has lost before is looked for.
    pub(crate) adopted: Notify,
    /// Held for reading while a pod is attached or detached, for writing while something is restored.
    pub(crate) turn: RwLock<()>,
    /// Since when it has been looked for what is missing, while that goes on.
    pub(crate) restoring: Mutex<Option<Instant>>,
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
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        set_up_node(&netlink, &config, ipv6, Others::Respected).await?;
        Self::of(config, netlink, addresses, ipv6).await
    }

    /// The network that another process has set up, for looking at it. Changes nothing. As [`PodNetwork::setup`].
    pub async fn open(config: NodeNetwork, run_dir: &Path) -> Result<Self, NetworkError> {
        let addresses = AddressBook::open(run_dir.join(RECORDS), config.pod_cidr)?;
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        Self::of(config, Netlink::open()?, addresses, ipv6).await
    }

    async fn of(
        config: NodeNetwork,
        netlink: Netlink,
        addresses: AddressBook,
        ipv6: bool,
    ) -> Result<Self, NetworkError> {
        let mtu = uplink::mtu(&netlink).await?;
        Ok(Self {
            config,
            netlink,
            addresses: Mutex::new(addresses),
            connected: Mutex::default(),
            adopted: Notify::new(),
            turn: RwLock::default(),
            restoring: Mutex::default(),
            mtu,
            ipv6,
        })
    }

    /// Since when [`PodNetwork::keep`] has been at looking for what is missing, and at putting it back; absent while it waits
    /// for something to happen.
    pub fn restoring_since(&self) -> Option<Instant> {
        *self.restoring.lock()
    }

    pub(crate) fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// Connects the network namespace at `netns` as pod `uid`. Repeating it repairs what is missing and gives the same
    /// address. At most one call per pod may be under way.
    pub async fn attach(&self, uid: &str, netns: &Path) -> Result<PodAddress, NetworkError> {
        let _turn = self.turn.read().await;
        let ip = self.addresses.lock().assign(uid)?;
        let side = self.side(ip);
        let namespace = self.wire(uid, side, netns).await?;
        self.connected.lock().insert(uid.to_owned(), Connected::new(ip, namespace));
        let gateway = IpAddr::V4(side.gateway);
        Ok(PodAddress { ip: IpAddr::V4(ip), prefix: 32, gateway, mtu: self.mtu })
    }

    /// Makes all that lies between a pod's namespace and the node's, and returns the namespace.
    pub(crate) async fn wire(&self, uid: &str, side: PodSide, netns: &Path) -> Result<File, NetworkError> {
        let namespace = self.connect(uid, netns, side).await?;
        self.lead_to(side.ip).await?;
        pod::configure(netns, side).await?;
        Ok(namespace)
    }

    /// Takes over a pod that an earlier run has attached and that is left as it is: only what its host side has lost is
    /// restored, by [`PodNetwork::keep`]. A pod without an address is no error.
    pub fn adopt(&self, uid: &str, netns: &Path) -> Result<(), NetworkError> {
        let Some(ip) = self.addresses.lock().get(uid) else { return Ok(()) };
        let namespace = open_netns(netns)?;
        self.connected.lock().insert(uid.to_owned(), Connected::new(ip, namespace));
        self.adopted.notify_one();
        Ok(())
    }

    /// Lets packets from loopback addresses of the node go to a pod that is attached or adopted, for translations of
    /// destinations that lead there from a loopback address. The translation keeps the pod's own packets away from
    /// loopback addresses, which the kernel then no longer does.
    pub async fn serve_loopback(&self, uid: &str) -> Result<(), NetworkError> {
        let _turn = self.turn.read().await;
        let ip = match self.connected.lock().get_mut(uid) {
            Some(pod) => {
                pod.serves_loopback = true;
                pod.ip
            }
            None => return Ok(()),
        };
        let name = interface_name(ip);
        match self.netlink.link(&name).await? {
            Some(_) => set_parameter(&format!("conf/{name}/route_localnet"), "1"),
            // Whoever restores the interface sets it.
            None => Ok(()),
        }
    }

    pub(crate) fn side(&self, ip: Ipv4Addr) -> PodSide {
        PodSide {
            ip,
            hardware: hardware_address(POD_END, ip),
            gateway: self.config.gateway(),
            gateway_hardware: hardware_address(HOST_END, ip),
            ipv6: self.ipv6,
        }
    }

    /// The way from the node to a pod whose interface is there.
    async fn lead_to(&self, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let index = self.index_of(&interface_name(ip)).await?;
        self.netlink.set_neighbour(index, ip, hardware_address(POD_END, ip)).await?;
        let to_pod = Via::Interface { index, source: self.config.gateway() };
        self.netlink.replace_route(Route { to: Ipv4Net::from(ip), via: to_pod }).await
    }

    /// Restores the host's side of a connected pod; a pod that is not connected (any more) is no error. The pod's own side
    /// is touched only if it went with the host's.
    pub(crate) async fn restore_pod(&self, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let found =
            self.connected.lock().iter().find(|(_, pod)| pod.ip == ip).map(|(u, p)| (u.clone(), p.clone()));
        let Some((uid, pod)) = found else { return Ok(()) };
        if self.netlink.link(&interface_name(ip)).await?.is_some() {
            self.raise(&uid, ip).await?;
            return self.lead_to(ip).await;
        }
        let netns = PathBuf::from(format!("/proc/self/fd/{}", pod.netns.as_raw_fd()));
        let side = self.side(ip);
        drop(self.connect(&uid, &netns, side).await?);
        self.lead_to(ip).await?;
        pod::configure(&netns, side).await
    }

    /// Restores what exists once per node, also over a route that another program put in the place of ours.
    pub(crate) async fn restore_node(&self) -> Result<(), NetworkError> {
        set_up_node(&self.netlink, &self.config, self.ipv6, Others::Replaced).await
    }

    /// What is missing now, by owner.
    pub(crate) async fn missing(&self) -> Result<BTreeMap<Owner, BTreeSet<Missing>>, NetworkError> {
        let observed = state::observe(&self.netlink).await?;
        let pods: Vec<Ipv4Addr> = self.connected.lock().values().map(|pod| pod.ip).collect();
        Ok(state::missing(&self.config, pods, &observed))
    }

    pub(crate) fn config(&self) -> &NodeNetwork {
        &self.config
    }

    /// What of the node's side is missing in the current network namespace, for the pods that are recorded under `run_dir`. Needs
    /// no live `PodNetwork` and changes nothing; a few requests to the kernel. A pod that is just being attached may be
    /// named.
    pub async fn examine(config: &NodeNetwork, run_dir: &Path) -> Result<BTreeSet<Missing>, NetworkError> {
        let records = run_dir.join(RECORDS);
        let pods = match records.exists() {
            true => AddressBook::open(records, config.pod_cidr)?.all().values().copied().collect(),
            false => Vec::new(),
        };
        let observed = state::observe(&Netlink::open()?).await?;
        Ok(state::missing(config, pods, &observed).into_values().flatten().collect())
    }

    /// Makes the veth pair unless it is there already, sets the host's end up and returns the pod's namespace.
    async fn connect(&self, uid: &str, netns: &Path, side: PodSide) -> Result<File, NetworkError> {
        let host_name = interface_name(side.ip);
        let namespace = open_netns(netns)?;
        let pair = VethPair {
            host_name: &host_name,
            host_address: side.gateway_hardware,
            peer_name: pod::INTERFACE,
            peer_address: side.hardware,
            peer_netns: namespace.as_fd(),
            mtu: self.mtu,
        };
        if !self.netlink.add_veth(&pair).await? && !self.is_connected(&host_name, netns, side).await? {
            if let Some(stale) = self.netlink.link(&host_name).await? {
                self.netlink.delete_link(stale.header.index).await?;
            }
            if !self.netlink.add_veth(&pair).await? {
                return Err(NetworkError::ForeignInterface { netns: netns.to_owned() });
            }
        }
        self.raise(uid, side.ip).await?;
        Ok(namespace)
    }

    /// Sets the host's end of a pod's interface up.
    async fn raise(&self, uid: &str, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let name = interface_name(ip);
        let index = self.index_of(&name).await?;
        set_parameter(&format!("conf/{name}/send_redirects"), "0")?;
        set_parameter(&format!("conf/{name}/forwarding"), "1")?;
        if self.connected.lock().get(uid).is_some_and(|pod| pod.serves_loopback) {
            set_parameter(&format!("conf/{name}/route_localnet"), "1")?;
        }
        self.netlink.set_up(index, Some(uid), self.ipv6).await
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
        let _turn = self.turn.read().await;
        let Some(ip) = self.addresses.lock().get(uid) else { return Ok(()) };
        // Before the interface goes: its loss is not to be made good.
        self.connected.lock().remove(uid);
        if let Some(link) = self.netlink.link(&interface_name(ip)).await? {
            self.netlink.delete_link(link.header.index).await?;
        }
        self.addresses.lock().release(uid)
    }

    /// The pods that hold an address, by UID, from this and earlier runs.
    pub fn existing(&self) -> BTreeMap<String, IpAddr> {
        self.existing_v4().into_iter().map(|(uid, ip)| (uid, IpAddr::V4(ip))).collect()
    }

    pub(crate) fn existing_v4(&self) -> BTreeMap<String, Ipv4Addr> {
        self.addresses.lock().all().clone()
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
pub(crate) fn interface_name(ip: Ipv4Addr) -> String {
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

/// What to do about routes of other programs to exactly our ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Respected,
    /// They came after ours.
    Replaced,
}

/// Makes or adopts what exists once per node.
async fn set_up_node(
    netlink: &Netlink,
    config: &NodeNetwork,
    ipv6: bool,
    others: Others,
) -> Result<(), NetworkError> {
    set_parameters()?;
    let gateway = config.gateway();
    let anchor = set_up_anchor(netlink, gateway, ipv6).await?;
    set_parameter(&format!("conf/{ANCHOR_INTERFACE}/forwarding"), "1")?;
    let services = Via::Interface { index: anchor, source: gateway };
    let routes = [
        Route { to: config.service_cidr.trunc(), via: services },
        Route { to: config.cluster_cidr.trunc(), via: Via::Unreachable },
    ];
    for route in routes {
        match others {
            Others::Respected => netlink.set_our_route(route).await?,
            Others::Replaced => netlink.replace_route(route).await?,
        }
    }
    Ok(())
}

fn open_netns(netns: &Path) -> Result<File, NetworkError> {
    File::open(netns).map_err(NetworkError::io("open network namespace", netns))
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
