//! Packet filters of other programs that cut pods off: `skiff up` and `skiff status` name the chain, and what they tell users
//! to do helps. And what commands do when nobody reads them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Output};

/// A packet filter of somebody else.
struct Filter {
    set_up: &'static str,
    take_away: &'static str,
    /// What the diagnosis must name.
    names: &'static [&'static str],
}

const FORWARD: Filter = Filter {
    set_up: "nft 'add table inet filter; add chain inet filter forward { type filter hook forward priority 0; policy drop; }'",
    take_away: "nft delete table inet filter",
    names: &["pod → pod", "policy of chain forward in table inet filter"],
};

/// As a careful administrator writes it, and much as ufw does.
const INPUT: Filter = Filter {
    set_up: "nft 'add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; };
        add rule inet filter input ct state established,related accept; add rule inet filter input iif lo accept'",
    take_away: "nft delete table inet filter",
    names: &["pod → API", "policy of chain input in table inet filter"],
};

const LATER: [Filter; 4] = [
    Filter {
        set_up: "nft 'add table ip f; add chain ip f c { type filter hook forward priority 10; }; add chain ip f inner;
            add rule ip f c jump inner; add rule ip f inner reject with icmp type admin-prohibited'",
        take_away: "nft delete table ip f",
        names: &["pod → DNS", "a rule of chain inner in table ip f"],
    },
    Filter {
        set_up: "iptables-nft -P FORWARD DROP",
        take_away: "iptables-nft -P FORWARD ACCEPT; nft delete table ip filter",
        names: &["policy of chain FORWARD in table ip filter (iptables)"],
    },
    Filter {
        set_up: "iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -P FORWARD DROP",
        take_away: "nft delete table ip filter",
        names: &["policy of chain FORWARD in table ip filter (Docker)", "iptables -I DOCKER-USER"],
    },
    Filter {
        set_up: "iptables-legacy -P FORWARD DROP",
        take_away: "iptables-legacy -F FORWARD; iptables-legacy -P FORWARD ACCEPT",
        names: &["chain FORWARD of iptables-legacy"],
    },
];

/// The commands that a diagnosis ends with.
fn remedies(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.split_once("to let it through: "))
        .map(|(_, commands)| commands)
        .collect()
}

fn assert_names(text: &str, names: &[&str]) {
    for name in names {
        assert!(text.contains(name), "{name:?} is missing in: {text}");
    }
}

fn status(cluster: &Cluster, code: i32) -> Output {
    let status = cluster.skiff(["status"]);
    assert_eq!(status.code, Some(code), "{status}");
    status
}

#[test]
fn status_names_what_cuts_pods_off_and_a_remedy_that_helps() {
    let cluster = Cluster::empty();
    status(&cluster, 0);
    for filter in [FORWARD, INPUT].iter().chain(&LATER) {
        cluster.sh(filter.set_up).ok();
        let told = status(&cluster, 1).stdout;
        assert_names(&told, filter.names);
        let remedies = remedies(&told);
        assert!(!remedies.is_empty(), "{told}");
        for commands in remedies {
            cluster.sh(commands).ok();
        }
        status(&cluster, 0);
        cluster.sh(filter.take_away).ok();
    }
    commands_end_quietly_without_a_reader(&cluster);
    assert_eq!(cluster.sh("nft list tables; ip -o link | grep skiff-0af400ff").stdout, "table ip skiff\n");
    cluster.skiff(["down"]).ok();
    status(&cluster, 3);
}

/// A reader that has gone before the first byte.
fn commands_end_quietly_without_a_reader(cluster: &Cluster) {
    let skiff = cluster.skiff_command().get_program().to_owned();
    assert_eq!(skiff, "nsenter", "commands run on the test's host");
    let program = skiff_tests::program("SKIFF_TEST_BINARY");
    for command in [
        "status",
        "image list",
        "kubectl get pods -A -o name",
        "kubectl get pods -A",
        "kubectl get pods -A -o yaml",
    ] {
        let piped =
            cluster.sh(&format!("exec 3> >(exec true); wait $!; {} {command} >&3", program.display()));
        assert_eq!((piped.code, piped.stderr.as_str()), (Some(141), ""), "{piped}");
    }
}

#[test]
fn a_start_that_a_packet_filter_prevents_fails_with_the_cause() {
    let cluster = Cluster::stopped();
    for filter in [INPUT, FORWARD] {
        cluster.sh(filter.set_up).ok();
        let failed = cluster.skiff(["up", "--node-name", "node-1"]).fails();
        assert_names(&failed, filter.names);
        assert!(!remedies(&failed).is_empty(), "{failed}");
        // Users could look while it was tried, and nothing of it runs on.
        assert!(std::fs::read_to_string(cluster.kubeconfig()).unwrap().contains("current-context: skiff"));
        status(&cluster, 3);
        for commands in remedies(&failed) {
            cluster.sh(commands).ok();
        }
        cluster.start();
        cluster.skiff(["down"]).ok();
        cluster.sh(filter.take_away).ok();
    }
}

#[test]
fn a_start_whose_dns_does_not_come_says_why() {
    let cluster = Cluster::empty();
    let nowhere = r#"{"spec":{"template":{"spec":{"nodeSelector":{"no":"node"}}}}}"#;
    cluster.k(&format!("patch rc kube-dns -n kube-system --type merge -p {nowhere}"));
    cluster.k("delete pod -n kube-system -l k8s-app=kube-dns");
    cluster.skiff(["down"]).ok();
    let failed = cluster.skiff(["up", "--node-name", "node-1"]).fails();
    assert_names(
        &failed,
        &[
            "the DNS pod is not ready",
            "pod kube-dns-",
            "Pending",
            "PodScheduled",
            "event Warning FailedScheduling",
        ],
    );
}
