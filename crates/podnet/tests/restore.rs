//! What other programs remove comes back, against the real kernel, in network namespaces of each test's own. Needs root.
#![allow(clippy::unwrap_used, reason = "tests")]

mod namespace;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use namespace::Namespace;
use skiff_podnet::{Missing, NodeNetwork, PodNetwork, Restored};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Bounds waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

fn config() -> NodeNetwork {
    NodeNetwork {
        pod_cidr: "10.244.7.0/24".parse().unwrap(),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
        node_ip: Ipv4Addr::new(192, 0, 2, 1),
    }
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn missing(run_dir: &Path) -> Vec<String> {
    let missing = PodNetwork::examine(&config(), run_dir).await.unwrap();
    missing.iter().map(Missing::to_string).collect()
}

/// Runs `work` beside the keeper of a network with the pods `a` (10.244.7.2) and `b` (10.244.7.3); `work` gets what the
/// keeper reports.
fn beside_keeper(
    work: impl AsyncFnOnce(&PodNetwork, mpsc::Receiver<Restored>, &Path) + Send,
) -> (Namespace, [Namespace; 2]) {
    let (node, pods) = (Namespace::new(), [Namespace::new(), Namespace::new()]);
    let run_dir = tempfile::tempdir().unwrap();
    node.ip("link set lo up");
    node.block_on(|| async {
        let network = PodNetwork::setup(config(), run_dir.path()).await.unwrap();
        for (uid, pod) in ["a", "b"].iter().zip(&pods) {
            network.attach(uid, &pod.path()).await.unwrap();
        }
        let (reports, reported) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let report = |restored| reports.try_send(restored).unwrap();
        let work = async {
            work(&network, reported, run_dir.path()).await;
            shutdown.cancel();
        };
        let (kept, ()) = tokio::join!(network.keep(shutdown.clone(), report), work);
        kept.unwrap();
    });
    (node, pods)
}

async fn next(reported: &mut mpsc::Receiver<Restored>) -> String {
    tokio::time::timeout(PATIENCE, reported.recv()).await.expect("it is restored").unwrap().to_string()
}

/// Waits until nothing is missing; what comes in several pieces is reported in several.
async fn whole(reported: &mut mpsc::Receiver<Restored>, run_dir: &Path) -> String {
    let mut told = next(reported).await;
    while !missing(run_dir).await.is_empty() {
        told = format!("{told}; {}", next(reported).await);
    }
    told
}

#[test]
fn what_is_removed_comes_back_and_is_reported() {
    let (node, pods) = beside_keeper(async |_, mut reported, run_dir| {
        let damages = [
            ("ip route flush table main", "route to 10.96.0.0/12"),
            ("ip route del 10.244.7.2", "route to 10.244.7.2/32"),
            ("ip route replace 10.96.0.0/12 dev lo", "route to 10.96.0.0/12"),
            ("ip addr del 10.244.7.1/32 dev skiff0", "address 10.244.7.1 of skiff0"),
            ("ip link del skiff0", "interface skiff0"),
            ("ip link set skiff0 down", "interface skiff0"),
            ("ip link set skiff-0af40702 down", "interface skiff-0af40702"),
            ("ip link del skiff-0af40703", "interface skiff-0af40703"),
            ("echo 0 > /proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            (
                "echo 0 > /proc/sys/net/ipv4/conf/skiff-0af40702/forwarding",
                "net.ipv4.conf.skiff-0af40702.forwarding",
            ),
        ];
        for (damage, expected) in damages {
            sh(damage);
            let told = whole(&mut reported, run_dir).await;
            assert!(told.contains(expected), "{damage}: {told}");
        }
    });
    // And all of it works.
    let listener = pods[1].run(|| TcpListener::bind("0.0.0.0:80").unwrap());
    let to: SocketAddr = "10.244.7.3:80".parse().unwrap();
    for place in [&pods[0], &node] {
        place.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(3)).unwrap());
        drop(listener.accept().unwrap());
    }
}

#[test]
fn a_pod_that_serves_loopback_does_so_after_a_loss() {
    beside_keeper(async |network, mut reported, run_dir| {
        let setting = |pod: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/skiff-{pod}/route_localnet");
            std::fs::read_to_string(path).unwrap().trim().to_owned()
        };
        network.serve_loopback("a").await.unwrap();
        assert_eq!((setting("0af40702").as_str(), setting("0af40703").as_str()), ("1", "0"));
        sh("ip link del skiff-0af40702");
        whole(&mut reported, run_dir).await;
        assert_eq!(setting("0af40702"), "1");
    });
}

#[test]
fn a_loop_of_removals_is_bounded_and_delays_nobody_else() {
    beside_keeper(async |_, mut reported, run_dir| {
        // Pod a's interface goes whenever it is there.
        for _ in 0..3 {
            sh("ip link del skiff-0af40702");
            assert!(whole(&mut reported, run_dir).await.contains("skiff-0af40702"));
        }
        sh("ip link del skiff-0af40702");
        sh("ip route del 10.244.7.3");
        let told = next(&mut reported).await;
        assert!(told.contains("10.244.7.3/32") && !told.contains("skiff-0af40702"), "{told}");
        assert!(!missing(run_dir).await.is_empty(), "it waits");
    });
}

#[test]
fn what_went_while_nobody_watched_comes_back() {
    let (node, pod) = (Namespace::new(), Namespace::new());
    let run_dir = tempfile::tempdir().unwrap();
    node.block_on(|| async {
        let before = PodNetwork::setup(config(), run_dir.path()).await.unwrap();
        before.attach("a", &pod.path()).await.unwrap();
        drop(before);
        sh("ip link del skiff-0af40702; echo 0 > /proc/sys/net/ipv4/ip_forward");
        assert_eq!(
            missing(run_dir.path()).await,
            ["net.ipv4.ip_forward", "interface skiff-0af40702", "route to 10.244.7.2/32"]
        );
        let network = PodNetwork::setup(config(), run_dir.path()).await.unwrap();
        let (reports, mut reported) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let work = async {
            network.adopt("a", &pod.path()).unwrap();
            network.adopt("unknown", &pod.path()).unwrap();
            whole(&mut reported, run_dir.path()).await;
            shutdown.cancel();
        };
        let report = |restored| reports.try_send(restored).unwrap();
        let (kept, ()) = tokio::join!(network.keep(shutdown.clone(), report), work);
        kept.unwrap();
    });
    assert!(pod.ip("-4 address show eth0").contains("10.244.7.2/32"));
}

#[test]
fn our_own_changes_are_nobodys_loss() {
    let (_node, pods) = beside_keeper(async |network, mut reported, run_dir| {
        for number in 0..20 {
            let pod = Namespace::new();
            network.attach(&format!("more-{number}"), &pod.path()).await.unwrap();
        }
        for number in 0..20 {
            network.detach(&format!("more-{number}")).await.unwrap();
        }
        network.detach("b").await.unwrap();
        // The last thing that is heard of is the only one that is reported.
        sh("ip route del 10.96.0.0/12");
        let told = whole(&mut reported, run_dir).await;
        assert_eq!(told, "Restored what another program had removed: route to 10.96.0.0/12");
    });
    assert!(!pods[1].ip("-o link").contains("eth0"));
}
