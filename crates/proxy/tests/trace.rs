//! Tracing of lost packets against the real kernel and other programs' packet filters, in namespaces of each test's own.
//! Needs root, nft and iptables.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../podnet/tests/namespace/mod.rs"]
mod namespace;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use namespace::Namespace;
use skiff_podnet::{NodeNetwork, PodNetwork};
use skiff_proxy::kernel::{Flow, Loser, Lost, Trace};
use skiff_proxy::model::Protocol;

const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 7, 1);
const PORT: u16 = 8080;
/// As long as a lost packet is looked for. A found one ends the search; the rest of it is for those that are not.
const PATIENCE: Duration = Duration::from_millis(700);

struct Host {
    node: Namespace,
    pods: [(Namespace, Ipv4Addr); 2],
    _listeners: [TcpListener; 2],
    _run_dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let node = Namespace::new();
        node.ip("link set lo up");
        let run_dir = tempfile::tempdir().unwrap();
        let config = NodeNetwork {
            pod_cidr: "10.244.7.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: NODE,
        };
        let pods = [Namespace::new(), Namespace::new()];
        let addresses = node.block_on(|| async {
            let network = PodNetwork::setup(config, run_dir.path()).await.unwrap();
            let mut addresses = Vec::new();
            for (uid, pod) in ["a", "b"].iter().zip(&pods) {
                addresses.push(match network.attach(uid, &pod.path()).await.unwrap().ip {
                    std::net::IpAddr::V4(ip) => ip,
                    std::net::IpAddr::V6(ip) => panic!("{ip}"),
                });
            }
            addresses
        });
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        let listeners = [node.run(listen), pods[1].run(listen)];
        let [a, b] = pods;
        Self { node, pods: [(a, addresses[0]), (b, addresses[1])], _listeners: listeners, _run_dir: run_dir }
    }

    /// Has the first pod connect to an address, and says where a packet of that was lost.
    fn lost(&self, to: Ipv4Addr) -> Option<Lost> {
        let (pod, ip) = &self.pods[0];
        let trace = self.node.run(|| Trace::start(Flow::From(*ip)).unwrap());
        std::thread::scope(|scope| {
            let connection = scope
                .spawn(|| pod.run(|| TcpStream::connect_timeout(&SocketAddr::from((to, PORT)), PATIENCE)));
            let lost = self.node.run(|| trace.lost(PATIENCE).unwrap());
            assert_eq!(connection.join().unwrap().is_err(), lost.is_some(), "{lost:?}");
            lost
        })
    }

    fn sh(&self, script: &str) {
        let output = self.node.run(|| Command::new("sh").args(["-ec", script]).output().unwrap());
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// `family table chain, hook, policy or rule`, or the kind of loser.
fn text(lost: Option<Lost>) -> String {
    match lost {
        None => "nothing".to_owned(),
        Some(Lost { hook, by: Loser::Chain(chain) }) => {
            let by = if chain.by_policy { "policy" } else { "rule" };
            assert!(chain.siblings.contains(&chain.chain), "{chain:?}");
            format!("{} {} {}, {hook}, {by}", chain.family, chain.table, chain.chain)
        }
        Some(Lost { hook, by }) => format!("{hook} {by:?}"),
    }
}

#[test]
fn whoever_loses_packets_is_named() {
    let host = Host::new();
    let (other, nobody) = (host.pods[1].1, Ipv4Addr::new(10, 244, 7, 200));
    let check = |script: &str, undo: &str, to: Ipv4Addr, expected: &str| {
        host.sh(script);
        assert_eq!(text(host.lost(to)), expected, "{script}");
        host.sh(undo);
        assert_eq!(text(host.lost(other)), "nothing", "{undo}");
    };
    let base = |hook: &str, policy: &str| {
        format!(
            "nft 'add table inet f; add chain inet f c {{ type filter hook {hook} priority 0; policy {policy}; }}'"
        )
    };
    let gone = "nft delete table inet f";
    check(":", ":", NODE, "nothing");
    check(&base("forward", "drop"), gone, other, "inet f c, forward, policy");
    check(&base("input", "drop"), gone, NODE, "inet f c, input, policy");
    // The request arrives, its answer does not leave.
    check(&base("output", "drop"), gone, NODE, "inet f c, output, policy");
    let jump = "nft 'add chain inet f inner; add rule inet f c jump inner; add rule inet f inner reject'";
    check(&format!("{}; {jump}", base("forward", "accept")), gone, other, "inet f inner, forward, rule");
    let tables = "iptables-nft -P FORWARD DROP";
    check(tables, "nft delete table ip filter", other, "ip filter FORWARD, forward, policy");
    check("iptables-legacy -P FORWARD DROP", "iptables-legacy -P FORWARD ACCEPT", other, "forward Silent");
    check("iptables-legacy -P INPUT DROP", "iptables-legacy -P INPUT ACCEPT", NODE, "input Silent");
    let forwarding = |on: u8| format!("echo {on} > /proc/sys/net/ipv4/ip_forward");
    check(&forwarding(0), &forwarding(1), other, "prerouting Routing");
    check(":", ":", nobody, "prerouting Routing");
}

#[test]
fn a_trace_ends_with_its_holder() {
    let host = Host::new();
    let rules = || {
        let output = host.node.run(|| Command::new("nft").args(["list", "ruleset"]).output().unwrap());
        String::from_utf8(output.stdout).unwrap()
    };
    for flow in [Flow::From(NODE), Flow::To(Protocol::Tcp, NODE, PORT), Flow::To(Protocol::Udp, NODE, PORT)] {
        let trace = host.node.run(|| Trace::start(flow).unwrap());
        // Who looks meanwhile sees rules that the program understands.
        let seen = rules();
        assert!(seen.contains("nftrace set 1") && !seen.contains("invalid"), "{flow:?}: {seen}");
        drop(trace);
        assert_eq!(rules(), "");
    }
}
