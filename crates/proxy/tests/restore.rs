//! What other programs do to the table is heard of, told apart from our own changes, and found. Needs root.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;

use std::{collections::BTreeSet, process::Command, time::Duration};

use cluster::{Cluster, VIP, named, namespace::Namespace, ranges, service};
use skiff_proxy::{
    kernel::{Kernel, State, TableWatch, Touched, examine, inspect},
    ledger::Difference,
    model::{Endpoint, NodePort, Protocol, TargetPort},
    objects::Service,
};

/// Bounds waits for what must come, and is what must not come waited for.
const PATIENCE: Duration = Duration::from_secs(10);

fn nft(node: &Namespace, commands: &str) {
    node.run(|| {
        let output = Command::new("nft").arg(commands).output().unwrap();
        assert!(output.status.success(), "nft {commands}: {}", String::from_utf8_lossy(&output.stderr));
    });
}

fn chains(node: &Namespace) -> BTreeSet<String> {
    let text = node.run(|| Command::new("nft").args(["list", "chains", "ip"]).output().unwrap());
    let text = String::from_utf8(text.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("chain ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

fn sticky(seconds: u32) -> Service {
    let mut service = service(VIP, Protocol::Tcp, 80);
    service.sticky = Some(seconds);
    service
}

#[test]
fn chains_that_no_service_needs_any_more_go() {
    let mut cluster = Cluster::new(3);
    cluster.set("web", service(VIP, Protocol::Tcp, 80), &[(0, 80)]);
    let fixed = chains(&cluster.node);
    assert!(fixed.contains("n1") && fixed.contains("refuse"), "{fixed:?}");
    for seconds in 100..150 {
        cluster.set("web", sticky(seconds), &[(0, 80), (1, 80)]);
    }
    assert!(chains(&cluster.node).contains("n2-101"), "not at once: it may be needed again");
    cluster.tidy();
    let now = chains(&cluster.node);
    assert!(now.contains("n2-149") && !now.contains("n2-148") && !now.contains("n1"), "{now:?}");
    let mut split = sticky(7);
    (split.external_local, split.ports[0].node_port) = (true, NodePort::of(30080));
    cluster.set("web", split, &[(0, 80), (1, 80), (2, 80)]);
    assert!(chains(&cluster.node).contains("split.n3-7.o3-7"));
    // A restart knows what is needed, too.
    cluster.restart_proxy();
    cluster.tidy();
    assert!(chains(&cluster.node).contains("split.n3-7.o3-7"));
    cluster.set("web", service(VIP, Protocol::Tcp, 80), &[(0, 80)]);
    cluster.tidy();
    assert_eq!(chains(&cluster.node), fixed);
    cluster.remove("web");
    cluster.tidy();
    assert_eq!(chains(&cluster.node).len(), fixed.len() - 1);
    assert_eq!(cluster.node.run(|| examine().unwrap()), (State::Complete, 0));
}

#[test]
fn every_kind_of_damage_is_found_and_undone() {
    let mut cluster = Cluster::new(2);
    cluster.set("web", sticky(60), &[(0, 80), (1, 80)]);
    let whole = cluster.node.run(|| inspect().unwrap());
    assert_eq!(cluster.node.run(|| examine().unwrap()), (State::Complete, 1));
    let damages = [
        "flush ruleset",
        "delete table ip skiff",
        "flush table ip skiff",
        "flush chain ip skiff prerouting",
        "flush chain ip skiff n2",
        "insert rule ip skiff output accept",
        "add chain ip skiff mine",
        "add chain ip skiff output { policy drop; }",
        "add table ip skiff { flags dormant; }",
        "flush set ip skiff hairpin",
        "add set ip skiff mine { type ipv4_addr; }",
    ];
    for damage in damages {
        nft(&cluster.node, damage);
        let (state, _) = cluster.node.run(|| examine().unwrap());
        assert_ne!(state, State::Complete, "{damage}");
        cluster.reread();
        cluster.apply(&[named("web")], true);
        assert_eq!(cluster.node.run(|| examine().unwrap()), (State::Complete, 1), "{damage}");
        assert_eq!(cluster.node.run(|| inspect().unwrap()), whole, "{damage}");
    }
    for damage in
        ["flush map ip skiff endpoints", "flush map ip skiff services", "flush set ip skiff addresses"]
    {
        nft(&cluster.node, damage);
        let lost = cluster.reread();
        assert!(lost.missing > 0 && lost.foreign == 0, "{damage}: {lost:?}");
        cluster.apply(&[named("web")], true);
        assert_eq!(cluster.node.run(|| inspect().unwrap()), whole, "{damage}");
    }
    nft(&cluster.node, "add element ip skiff addresses { 10.96.55.55 }");
    assert_eq!(cluster.reread(), Difference { missing: 0, foreign: 1 });
    cluster.apply(&[named("web")], true);
    assert_eq!(cluster.node.run(|| inspect().unwrap()), whole);
}

#[test]
fn only_changes_of_others_to_our_table_are_heard() {
    let node = Namespace::new();
    node.block_on(|| async {
        let (mut kernel, _) = Kernel::open(ranges()).unwrap();
        let mut watch = TableWatch::open(kernel.port().unwrap()).unwrap();
        let mut heard = async || {
            let touched = tokio::time::timeout(PATIENCE, watch.touched()).await;
            touched.expect("is heard of").unwrap()
        };
        // Ours: far more notifications than the socket could queue, were they meant for it.
        let endpoint =
            |n: u32| Endpoint { address: (0x0af4_0000 + n).into(), port: TargetPort::of(80).unwrap() };
        let frontend = skiff_proxy::model::Frontend { address: VIP, port: 80, protocol: Protocol::Tcp };
        let add =
            |n| skiff_proxy::plan::Op::Add(skiff_proxy::model::Element::Endpoint(frontend, n, endpoint(n)));
        kernel.apply(&(0..40_000).map(add).collect::<Vec<_>>()).unwrap();
        // Others', elsewhere.
        nft(&node, "add table ip other; add table inet skiff; add chain ip other c");
        // Others', to ours: the first that is heard of.
        nft(&node, "add chain ip skiff mine");
        let by = heard().await.by.unwrap();
        assert!(by.starts_with("nft (process "), "{by}");
        nft(&node, "flush ruleset");
        assert!(heard().await.by.is_some());
    });
}

#[test]
fn a_notification_that_was_lost_counts_as_one() {
    let node = Namespace::new();
    node.block_on(|| async {
        let (mut kernel, _) = Kernel::open(ranges()).unwrap();
        let mut watch = TableWatch::open(kernel.port().unwrap()).unwrap();
        kernel.apply(&[]).unwrap();
        // Nobody listens while another program makes more noise than the socket can queue.
        let elements: Vec<String> =
            (0..40_000_u32).map(|n| std::net::Ipv4Addr::from(n).to_string()).collect();
        nft(&node, "add table ip other; add set ip other s { type ipv4_addr; }");
        for some in elements.chunks(10_000) {
            let path = std::env::temp_dir().join(format!("skiff-proxy-noise-{}", std::process::id()));
            std::fs::write(&path, format!("add element ip other s {{ {} }}", some.join(", "))).unwrap();
            let done = node.run(|| Command::new("nft").arg("-f").arg(&path).status().unwrap());
            std::fs::remove_file(&path).unwrap();
            assert!(done.success());
        }
        let touched = tokio::time::timeout(PATIENCE, watch.touched()).await.expect("is heard of").unwrap();
        assert_eq!(touched, Touched { by: None });
    });
}
