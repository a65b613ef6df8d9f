//! The pod network against the real kernel, in network namespaces that each test makes and that vanish with it. Needs root.

#![allow(clippy::unwrap_used, reason = "tests")]

mod namespace;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use namespace::Namespace;
use skiff_podnet::{NetworkError, NodeNetwork, PodAddress, PodNetwork, primary_address};

fn config() -> NodeNetwork {
    NodeNetwork {
        pod_cidr: "10.244.7.0/24".parse().unwrap(),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
        node_ip: Ipv4Addr::new(192, 0, 2, 1),
    }
}

/// Who `client` appears as when it says hello to `server`'s listener at `at`.
fn greet(server: &Namespace, client: &Namespace, at: SocketAddr) -> SocketAddr {
    let listener = server.run(|| TcpListener::bind(("0.0.0.0", at.port())).unwrap());
    client.run(|| {
        TcpStream::connect_timeout(&at, Duration::from_secs(2)).unwrap().write_all(b"hello").unwrap()
    });
    let (mut stream, peer) = listener.accept().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    peer
}

fn at(address: PodAddress, port: u16) -> SocketAddr {
    SocketAddr::new(address.ip, port)
}

async fn network(run_dir: &Path) -> PodNetwork {
    PodNetwork::setup(config(), run_dir).await.unwrap()
}

#[test]
fn pods_reach_each_other_and_the_node_under_their_own_addresses() {
    let (node, a, b) = (Namespace::new(), Namespace::new(), Namespace::new());
    let run_dir = tempfile::tempdir().unwrap();
    let (pod_a, pod_b) = node.block_on(|| async {
        let network = network(run_dir.path()).await;
        (network.attach("a", &a.path()).await.unwrap(), network.attach("b", &b.path()).await.unwrap())
    });
    assert_eq!(greet(&b, &a, at(pod_b, 80)).ip(), pod_a.ip);
    assert_eq!(greet(&a, &b, at(pod_a, 80)).ip(), pod_b.ip);
    assert_eq!(greet(&a, &a, at(pod_a, 81)).ip(), pod_a.ip);
    assert_eq!(greet(&b, &node, at(pod_b, 81)).ip(), pod_b.gateway);
    assert_eq!(greet(&node, &a, SocketAddr::new(pod_a.gateway, 80)).ip(), pod_a.ip);
}

#[test]
fn addresses_without_a_pod_are_unreachable_at_once() {
    let (node, a) = (Namespace::new(), Namespace::new());
    let run_dir = tempfile::tempdir().unwrap();
    node.block_on(|| async { network(run_dir.path()).await.attach("a", &a.path()).await.unwrap() });
    for place in [&node, &a] {
        let error = place.run(|| {
            TcpStream::connect_timeout(&"10.244.9.9:80".parse().unwrap(), Duration::from_secs(5)).unwrap_err()
        });
        assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable);
        // Nobody is looked for on a link first.
        assert_eq!(place.syn_retransmissions(), 0);
    }
}

#[test]
fn attach_repeats_survives_a_restart_and_repairs() {
    let (node, a) = (Namespace::new(), Namespace::new());
    let run_dir = tempfile::tempdir().unwrap();
    node.block_on(|| async {
        let first = network(run_dir.path()).await.attach("a", &a.path()).await.unwrap();
        let restarted = network(run_dir.path()).await;
        assert_eq!(restarted.existing().get("a"), Some(&first.ip));
        let index = a.ip("-o link show eth0");
        assert_eq!(restarted.attach("a", &a.path()).await.unwrap(), first);
        assert_eq!(a.ip("-o link show eth0"), index, "a whole pair is kept");
        a.ip("link delete eth0");
        assert_eq!(restarted.attach("a", &a.path()).await.unwrap(), first);
        assert!(a.ip("-4 route").contains("default via 10.244.7.1 dev eth0"));
    });
}

#[test]
fn a_record_whose_interface_belongs_to_a_dead_namespace_is_connected_anew() {
    let (node, a, b) = (Namespace::new(), Namespace::new(), Namespace::new());
    let run_dir = tempfile::tempdir().unwrap();
    node.block_on(|| async {
        let network = network(run_dir.path()).await;
        let first = network.attach("a", &a.path()).await.unwrap();
        assert_eq!(network.attach("a", &b.path()).await.unwrap(), first);
        assert!(b.ip("-4 address show eth0").contains("10.244.7.2/32"));
    });
}

#[test]
fn detach_and_teardown_leave_nothing() {
    let (node, a, b) = (Namespace::new(), Namespace::new(), Namespace::new());
    let run_dir = tempfile::tempdir().unwrap();
    node.block_on(|| async {
        let network = network(run_dir.path()).await;
        network.attach("a", &a.path()).await.unwrap();
        network.attach("b", &b.path()).await.unwrap();
        network.detach("a").await.unwrap();
        network.detach("a").await.unwrap();
        assert_eq!(network.existing().keys().collect::<Vec<_>>(), ["b"]);
        assert!(!node.ip("-o link").contains("skiff-0af40702"));
        PodNetwork::teardown(run_dir.path()).await.unwrap();
        PodNetwork::teardown(run_dir.path()).await.unwrap();
    });
    assert!(!node.ip("-o link").contains("skiff"));
    assert_eq!(node.ip("-4 route show table all"), "");
    assert!(!run_dir.path().join("network").exists());
}

#[test]
fn foreign_routes_and_addresses_are_respected() {
    let run_dir = tempfile::tempdir().unwrap();
    let attempt = |arrange: &[&str]| {
        let node = Namespace::new();
        arrange.iter().for_each(|arguments| drop(node.ip(arguments)));
        node.block_on(|| async { PodNetwork::setup(config(), run_dir.path()).await.map(drop) })
    };
    let lan = ["link add lan type bridge", "link set lan up", "address add 10.100.0.7/24 dev lan"];
    assert!(matches!(attempt(&lan), Err(NetworkError::Overlap { what: "service CIDR", .. })));
    let vpn = ["link add vpn type bridge", "link set vpn up", "route add 10.244.0.0/16 dev vpn"];
    assert!(matches!(attempt(&vpn), Err(NetworkError::RouteTaken { .. })));
}

#[test]
fn the_primary_address_is_the_uplinks() {
    let run_dir = tempfile::tempdir().unwrap();
    let node = Namespace::new();
    let primary = || node.block_on(|| async { primary_address().await.unwrap().map(|ip| ip.to_string()) });
    node.block_on(|| async { drop(network(run_dir.path()).await) });
    assert_eq!(primary(), None);
    for arguments in
        ["link add lan type bridge", "link set lan up", "address add 192.0.2.9/24 dev lan"].iter().chain(&[
            "link add wan type bridge",
            "link set wan up mtu 1400",
            "address add 198.51.100.9/24 dev wan",
        ])
    {
        node.ip(arguments);
    }
    assert_eq!(primary().as_deref(), Some("192.0.2.9"));
    node.ip("route add default via 198.51.100.1 dev wan");
    assert_eq!(primary().as_deref(), Some("198.51.100.9"));
    let pod = Namespace::new();
    let address =
        node.block_on(|| async { network(run_dir.path()).await.attach("a", &pod.path()).await.unwrap() });
    assert_eq!(address.mtu, 1400);
}

#[test]
fn thirty_pods_have_thirty_addresses_and_routes() {
    let node = Namespace::new();
    let pods: Vec<_> = (0..30).map(|_| Namespace::new()).collect();
    let run_dir = tempfile::tempdir().unwrap();
    let addresses = node.block_on(|| async {
        let (network, mut addresses) = (network(run_dir.path()).await, BTreeSet::new());
        for (number, pod) in pods.iter().enumerate() {
            addresses.insert(network.attach(&format!("pod-{number}"), &pod.path()).await.unwrap().ip);
        }
        addresses
    });
    assert_eq!(addresses.len(), 30);
    let routes = node.ip("route show");
    for address in addresses {
        assert_eq!(routes.matches(&format!("{address} dev skiff-")).count(), 1, "{routes}");
    }
}
