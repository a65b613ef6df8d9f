//! What the table looks like: its sets and maps, its base chains, and the shared chains that elements refer to. Pure.
//!
//! All chains hang in NAT hooks, which the kernel consults only for the first packet of a connection; packets of
//! established connections pay nothing for any number of Services. A connection that is refused there never becomes
//! established, so every attempt is refused.
//!
//! ```text
//! prerouting:          loopback addresses in packets of pods → drop
//! prerouting, output:  services[daddr . proto . dport] → goto n3 | o2-10800 | split.n3.o1 | refuse | guard | drop
//!                      daddr in addresses → refuse;  daddr in the service CIDR → drop
//! guard:               [daddr . proto . dport . saddr] in allowed → guarded[daddr . proto . dport], as services;  else drop
//! n3:                  dnat to endpoints[daddr . proto . dport . random below 3]
//! postrouting:         hairpin and masqueraded frontends → source NAT;  pod and Service addresses never leave by a foreign
//!                      interface;  pods reach the outside under the node's address
//! ```

use std::{net::Ipv4Addr, time::Duration};

use ipnet::Ipv4Net;

use super::{
    abi,
    rule::Expr::{self, *},
};
use skiff_podnet::POD_INTERFACE_PREFIX;

use crate::model::{Balance, Verdict};

/// The address ranges that the rules name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    /// This node's pods. The first address is the node's own.
    pub pod_cidr: Ipv4Net,
    /// All pods of all nodes.
    pub cluster_cidr: Ipv4Net,
    /// All ClusterIPs.
    pub service_cidr: Ipv4Net,
}

impl Ranges {
    /// The node's own address in the pod CIDR.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.pod_cidr.network()).wrapping_add(1))
    }
}

/// Raised whenever rules or sets change: a table of another layout is replaced as a whole.
const LAYOUT: u32 = 6;

pub(super) const TABLE: &str = "skiff";

pub(super) const SERVICES: &str = "services";
pub(super) const ENDPOINTS: &str = "endpoints";
pub(super) const ADDRESSES: &str = "addresses";
pub(super) const MASQUERADE: &str = "masqueraded";
pub(super) const AFFINITY_IDS: &str = "affinity-ids";
pub(super) const AFFINITY_ENDPOINTS: &str = "affinity-endpoints";
/// Frontends that only some clients may reach, and what those meet there.
pub(super) const GUARDED: &str = "guarded";
/// Which ones: frontends with ranges of source addresses, of which none of one frontend overlap.
pub(super) const ALLOWED: &str = "allowed";
/// Who went where: source address and affinity id to endpoint. Filled by the rules, never by us.
const AFFINITY: &str = "affinity";
/// Pairs of a pod address with itself, for every pod address of the node.
pub(super) const HAIRPIN: &str = "hairpin";

const REFUSE: &str = "refuse";
const SOURCE: &str = "source-nat";
const GUARD: &str = "guard";

/// Clients with affinity that can be remembered at a time; beyond that, new ones get any endpoint.
const AFFINITY_CLIENTS: u32 = 1 << 18;

/// Type numbers that the `nft` program shows sets by; without meaning for the kernel.
const ADDRESS: u32 = 7;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const NUMBER: u32 = 19;

/// A set or map of the table.
pub(super) struct SetSpec {
    pub(super) name: &'static str,
    pub(super) id: u32,
    pub(super) flags: u32,
    pub(super) key_type: u32,
    pub(super) key_length: u32,
    /// Type and length of the data of a map.
    pub(super) data: Option<(u32, u32)>,
    pub(super) size: Option<u32>,
    /// Bytes of each part of a key, where parts may be ranges; else empty.
    pub(super) parts: &'static [u32],
}

/// A chain that hangs in a hook.
pub(super) struct BaseChain {
    pub(super) name: &'static str,
    pub(super) hook: u32,
    pub(super) priority: i32,
}

/// A chain and its rules.
pub(super) struct ChainSpec {
    pub(super) name: String,
    pub(super) rules: Vec<Vec<Expr>>,
}

/// Identifies layout and ranges; kept in the table's comment, so that a restart can tell whether the table still fits.
pub(super) fn comment(ranges: &Ranges) -> String {
    let Ranges { pod_cidr, cluster_cidr, service_cidr } = ranges;
    format!("skiff Services, layout {LAYOUT}, pods {pod_cidr} of {cluster_cidr}, Services {service_cidr}")
}

/// The ranges that a table's comment tells; none if it is not of this layout.
pub(super) fn ranges_of(comment: &str) -> Option<Ranges> {
    let (_, ranges) = comment.split_once(", pods ")?;
    let (pod_cidr, ranges) = ranges.split_once(" of ")?;
    let (cluster_cidr, service_cidr) = ranges.split_once(", Services ")?;
    let ranges = Ranges {
        pod_cidr: pod_cidr.parse().ok()?,
        cluster_cidr: cluster_cidr.parse().ok()?,
        service_cidr: service_cidr.parse().ok()?,
    };
    (self::comment(&ranges) == comment).then_some(ranges)
}

pub(super) fn sets() -> Vec<SetSpec> {
    let frontend = &[ADDRESS, PROTOCOL, PORT][..];
    let endpoint = &[ADDRESS, PORT][..];
    let spec = |name, key: &[&[u32]], data: Option<&[u32]>| {
        let key = key.concat();
        let map = data.map_or(0, |_| abi::SET_MAP);
        let data = data.map(|data| (concatenation(data), width(data)));
        SetSpec {
            name,
            id: 0,
            flags: map,
            key_type: concatenation(&key),
            key_length: width(&key),
            data,
            size: None,
            parts: &[],
        }
    };
    let verdicts = |name| SetSpec {
        data: Some((abi::DATA_IS_VERDICT, 0)),
        flags: abi::SET_MAP,
        ..spec(name, &[frontend], None)
    };
    let mut sets = vec![
        verdicts(SERVICES),
        spec(ENDPOINTS, &[frontend, &[NUMBER]], Some(endpoint)),
        spec(ADDRESSES, &[&[ADDRESS]], None),
        spec(MASQUERADE, &[frontend], None),
        spec(AFFINITY_IDS, &[frontend], Some(&[NUMBER])),
        spec(AFFINITY_ENDPOINTS, &[frontend, endpoint], None),
        SetSpec {
            flags: abi::SET_MAP | abi::SET_EVAL | abi::SET_TIMEOUT,
            size: Some(AFFINITY_CLIENTS),
            ..spec(AFFINITY, &[&[ADDRESS, NUMBER]], Some(endpoint))
        },
        spec(HAIRPIN, &[&[ADDRESS, ADDRESS]], None),
        verdicts(GUARDED),
        SetSpec {
            flags: abi::SET_INTERVAL | abi::SET_CONCAT,
            parts: &[4, 1, 2, 4],
            ..spec(ALLOWED, &[frontend, &[ADDRESS]], None)
        },
    ];
    (1..).zip(&mut sets).for_each(|(id, set)| set.id = id);
    sets
}

fn concatenation(fields: &[u32]) -> u32 {
    fields.iter().fold(0, |all, field| all << 6 | field)
}

/// Every field takes one register.
fn width(fields: &[u32]) -> u32 {
    fields.iter().map(|_| 4).sum()
}

pub(super) const BASE_CHAINS: [BaseChain; 3] = [
    BaseChain { name: "prerouting", hook: abi::HOOK_PREROUTING, priority: abi::PRIORITY_DSTNAT },
    BaseChain { name: "output", hook: abi::HOOK_OUTPUT, priority: abi::PRIORITY_DSTNAT },
    BaseChain { name: "postrouting", hook: abi::HOOK_POSTROUTING, priority: abi::PRIORITY_SRCNAT },
];

/// The chains that always exist, base chains included, in an order in which each refers only to earlier ones.
pub(super) fn fixed_chains(ranges: &Ranges) -> Vec<ChainSpec> {
    let chain = |name: &str, rules| ChainSpec { name: name.to_owned(), rules };
    let tcp = vec![TransportProtocol(0), Equal(0, vec![6]), ResetTcp];
    vec![
        chain(REFUSE, vec![tcp, vec![PortUnreachable]]),
        chain(SOURCE, source_nat(ranges)),
        chain(GUARD, guard()),
        chain("prerouting", [strange_loopback(), to_services(ranges)].concat()),
        chain("output", to_services(ranges)),
        chain("postrouting", postrouting(ranges)),
    ]
}

/// Registers 0, 1, 2: the frontend a packet is sent to.
fn frontend() -> Vec<Expr> {
    vec![DestinationAddress(0), TransportProtocol(1), DestinationPort(2)]
}

/// The kernel lets packets with loopback addresses pass on interfaces of pods that serve clients at such addresses of the node.
/// Those come from the node, never from the pod.
fn strange_loopback() -> Vec<Vec<Expr>> {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let from_pod =
        |address| [from_interface(POD_INTERFACE_PREFIX), within(address, loopback), vec![Drop]].concat();
    vec![from_pod(DestinationAddress(0)), from_pod(SourceAddress(0))]
}

fn guard() -> Vec<Vec<Expr>> {
    let allowed = vec![SourceAddress(3), InSet(ALLOWED, 0), VerdictMap(GUARDED, 0)];
    vec![[frontend(), allowed].concat(), vec![Drop]]
}

fn to_services(ranges: &Ranges) -> Vec<Vec<Expr>> {
    let mut unserved = within(DestinationAddress(0), ranges.service_cidr);
    unserved.push(Drop);
    vec![
        [frontend(), vec![VerdictMap(SERVICES, 0)]].concat(),
        vec![DestinationAddress(0), InSet(ADDRESSES, 0), Goto(REFUSE.into())],
        unserved,
    ]
}

/// Goes on if the address that `load` puts into register 0 is in `range`.
fn within(load: Expr, range: Ipv4Net) -> Vec<Expr> {
    vec![load, Mask(0, octets(range.netmask())), Equal(0, octets(range.network()))]
}

/// Goes on if it is not.
fn outside(load: Expr, range: Ipv4Net) -> Vec<Expr> {
    vec![load, Mask(0, octets(range.netmask())), NotEqual(0, octets(range.network()))]
}

fn octets(address: Ipv4Addr) -> Vec<u8> {
    address.octets().to_vec()
}

fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn from_interface(prefix: &str) -> Vec<Expr> {
    vec![InputInterface(0), Equal(0, prefix.as_bytes().to_vec())]
}

fn to_interface(prefix: &str) -> Vec<Expr> {
    vec![OutputInterface(0), Equal(0, prefix.as_bytes().to_vec())]
}

fn translated() -> Vec<Expr> {
    let status = abi::IPS_DST_NAT;
    vec![ConnectionStatus(0), Mask(0, number(status)), NotEqual(0, number(0))]
}

fn postrouting(ranges: &Ranges) -> Vec<Vec<Expr>> {
    let source = || Goto(SOURCE.to_owned());
    let hairpin = vec![SourceAddress(0), DestinationAddress(1), InSet(HAIRPIN, 0), source()];
    let external =
        vec![OriginalAddress(0), TransportProtocol(1), OriginalPort(2), InSet(MASQUERADE, 0), source()];
    // A client outside the cluster that has a route to ClusterIPs: the answer must come back through us.
    let foreign = [
        within(OriginalAddress(0), ranges.service_cidr),
        outside(SourceAddress(0), ranges.cluster_cidr),
        vec![SourceType(0), NotEqual(0, number(abi::RTN_LOCAL)), source()],
    ];
    vec![
        [translated(), hairpin].concat(),
        [translated(), external].concat(),
        [translated(), foreign.concat()].concat(),
        [to_interface(POD_INTERFACE_PREFIX), vec![Accept]].concat(),
        [to_interface("lo\0"), vec![Accept]].concat(),
        [within(DestinationAddress(0), ranges.service_cidr), vec![Drop]].concat(),
        [within(DestinationAddress(0), ranges.cluster_cidr), vec![Drop]].concat(),
        [within(SourceAddress(0), ranges.pod_cidr), vec![Masquerade]].concat(),
    ]
}

/// Pod interfaces have no address of their own, so towards them the node's address in the pod CIDR is named.
fn source_nat(ranges: &Ranges) -> Vec<Vec<Expr>> {
    let gateway = vec![Value(0, octets(ranges.gateway())), SourceNat(0)];
    vec![[to_interface(POD_INTERFACE_PREFIX), gateway].concat(), vec![Masquerade]]
}

/// How many rules the shared chain of this name has; none if it is no shared chain.
pub(super) fn shared_rules(name: &str, ranges: &Ranges) -> Option<usize> {
    let chains = shared_chains(&name.parse().ok()?, ranges);
    chains.last().filter(|chain| chain.name == name).map(|chain| chain.rules.len())
}

/// The names of [`shared_chains`].
pub(super) fn chain_names(verdict: &Verdict) -> Vec<String> {
    let of_balance = |balance: &Balance| {
        let plain = Balance { sticky: None, ..*balance }.to_string();
        std::iter::once(plain).chain(balance.sticky.map(|_| balance.to_string()))
    };
    match verdict {
        Verdict::Reject | Verdict::Drop | Verdict::Guard => vec![],
        Verdict::Balance(balance) => of_balance(balance).collect(),
        Verdict::Split { inside, outside } => {
            let both = of_balance(inside).chain(outside.iter().flat_map(of_balance));
            both.chain([verdict.to_string()]).collect()
        }
    }
}

/// The chain of a verdict refers only to chains of less depth.
pub(super) fn depth(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Reject | Verdict::Drop | Verdict::Guard => 0,
        Verdict::Balance(Balance { sticky, .. }) => 1 + u8::from(sticky.is_some()),
        Verdict::Split { .. } => 3,
    }
}

/// The chains that `verdict` goes to, each after those it refers to.
pub(super) fn shared_chains(verdict: &Verdict, ranges: &Ranges) -> Vec<ChainSpec> {
    match verdict {
        Verdict::Reject | Verdict::Drop | Verdict::Guard => vec![],
        Verdict::Balance(balance) => balance_chains(*balance),
        Verdict::Split { inside, outside } => {
            let mut chains = balance_chains(*inside);
            chains.extend(outside.iter().flat_map(|outside| balance_chains(*outside)));
            let goto_inside = || Goto(inside.to_string());
            let pods = [within(SourceAddress(0), ranges.cluster_cidr), vec![goto_inside()]].concat();
            let node = vec![SourceType(0), Equal(0, number(abi::RTN_LOCAL)), goto_inside()];
            let others = vec![outside.map_or(Drop, |outside| Goto(outside.to_string()))];
            chains.push(ChainSpec { name: verdict.to_string(), rules: vec![pods, node, others] });
            chains
        }
    }
}

fn balance_chains(balance: Balance) -> Vec<ChainSpec> {
    let plain = Balance { sticky: None, ..balance };
    let mut chains = vec![ChainSpec { name: plain.to_string(), rules: plain_rules(plain) }];
    if let Some(seconds) = balance.sticky {
        let rules = sticky_rules(plain, Duration::from_secs(seconds.into()));
        chains.push(ChainSpec { name: balance.to_string(), rules });
    }
    chains
}

/// Loads an endpoint into registers `to` and the next: registers 0 to 2 hold the frontend, 3 gets the position.
fn choose(balance: Balance, to: u32) -> Vec<Expr> {
    // Of one endpoint too the position is a random number: the `nft` program cannot show a constant as part of a key.
    let position = Random { to: 3, below: balance.count.get().into(), offset: balance.pool.offset() };
    [frontend(), vec![position, Map(ENDPOINTS, 0, to)]].concat()
}

fn plain_rules(balance: Balance) -> Vec<Vec<Expr>> {
    let translate = DestinationNat { address: 4, port: 5 };
    let mut rules = vec![[choose(balance, 4), vec![translate.clone()]].concat()];
    if balance.count.get() > 1 {
        // The list may shrink between the look-up of the verdict and that of the endpoint.
        let first = Balance { count: std::num::NonZeroU16::MIN, ..balance };
        rules.push([choose(first, 4), vec![translate]].concat());
    }
    rules.push(vec![Goto(REFUSE.into())]);
    rules
}

fn sticky_rules(balance: Balance, timeout: Duration) -> Vec<Vec<Expr>> {
    // Registers 5 and 6: source address and affinity id.
    let client = || vec![Map(AFFINITY_IDS, 0, 6), SourceAddress(5)];
    let remember = |data| Remember { map: AFFINITY, key: 5, data, timeout };
    let known = [
        frontend(),
        client(),
        vec![
            Map(AFFINITY, 5, 3),
            InSet(AFFINITY_ENDPOINTS, 0), // registers 0 to 4: the frontend and the endpoint remembered
            remember(3),
            DestinationNat { address: 3, port: 4 },
        ],
    ];
    // What is remembered of the client by now is an endpoint that serves no more.
    let forget = Forget { map: AFFINITY, key: 5, data: 7 };
    let translate = DestinationNat { address: 7, port: 8 };
    let new = [choose(balance, 7), client(), vec![forget, remember(7), translate]];
    vec![known.concat(), new.concat(), vec![Goto(balance.to_string())]]
}
