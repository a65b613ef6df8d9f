//! The pod without a workload, against the real kernel. Needs root.
#![allow(clippy::unwrap_used, reason = "tests")]

mod namespace;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use namespace::Namespace;
use skiff_podnet::{NodeNetwork, PodNetwork};

fn config() -> NodeNetwork {
    NodeNetwork {
        pod_cidr: "10.244.7.0/24".parse().unwrap(),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
        node_ip: Ipv4Addr::new(10, 244, 7, 1),
    }
}

#[test]
fn it_reaches_the_node_as_a_pod_and_leaves_nothing() {
    let (node, run_dir) = (Namespace::new(), tempfile::tempdir().unwrap());
    node.ip("link set lo up");
    node.block_on(|| async {
        PodNetwork::setup(config(), run_dir.path()).await.unwrap();
        let before = node.ip("-o link");
        let network = PodNetwork::open(config(), run_dir.path()).await.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap();
        // The second replaces the first, as after a process that was killed.
        let first = network.trial_pod().await.unwrap();
        let pod = network.trial_pod().await.unwrap();
        drop(first);
        let node_address = SocketAddr::from((config().gateway(), 8080));
        let connection = pod.inside(|| TcpStream::connect(node_address)).unwrap();
        assert_eq!(listener.accept().unwrap().1, connection.local_addr().unwrap());
        assert_eq!(connection.local_addr().unwrap().ip(), Ipv4Addr::new(10, 244, 7, 255));
        network.remove_trial_pod(pod).await.unwrap();
        assert_eq!(node.ip("-o link"), before);
    });
}
