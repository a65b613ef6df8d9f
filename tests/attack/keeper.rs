//! A server that ends by itself comes back, commands that start and stop a cluster do not meet, and a log that cannot
//! be written stops nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Child, Stdio};

use skiff_tests::{Cluster, Output};

const SERVER: &str = "skiff server";
const KEEPER: &str = "skiff keeper";

/// Process ids of this host whose command line contains `mark`.
fn pids(cluster: &Cluster, mark: &str) -> Vec<String> {
    let processes = cluster.host().processes();
    let pid = |line: &String| line.split_whitespace().next().map(str::to_owned);
    processes.iter().filter(|line| line.contains(mark)).filter_map(pid).collect()
}

fn kill(cluster: &Cluster, mark: &str) -> String {
    let [pid] = &pids(cluster, mark)[..] else {
        panic!("one process {mark}: {:#?}", cluster.host().processes())
    };
    cluster.sh(&format!("kill -9 {pid}")).ok();
    gone(cluster, pid);
    pid.clone()
}

/// Waits until a process has ended.
fn gone(cluster: &Cluster, pid: &str) {
    cluster
        .sh(&format!("for i in {{1..3000}}; do [ -e /proc/{pid} ] || exit 0; sleep 0.01; done; exit 1"))
        .ok();
}

/// Waits until the API is ready, which nobody but the keeper brings about.
fn comes_back(cluster: &Cluster) {
    let answers = "for i in {1..600}; do [ \"$(curl -sk https://127.0.0.1:6443/readyz)\" = ok ] && exit 0; sleep 0.1; done; exit 1";
    cluster.sh(answers).ok();
}

#[test]
fn a_killed_server_comes_back_by_itself() {
    let cluster = Cluster::empty();
    cluster.k("create configmap kept");
    for round in 1..=2 {
        let killed = kill(&cluster, SERVER);
        comes_back(&cluster);
        assert_ne!(pids(&cluster, SERVER), [killed]);
        assert!(cluster.k("get configmap kept -o name").contains("kept"));
        let status = cluster.skiff(["status"]).stdout;
        assert!(
            status.contains(&format!("restarts of the server: {round},")) && status.contains("SIGKILL"),
            "{status}"
        );
    }

    // Without its keeper the server goes on; who asks is told, and `up` makes it kept again.
    kill(&cluster, KEEPER);
    let status = cluster.skiff(["status"]);
    assert_ne!(status.code, Some(0), "{status}");
    assert!(status.stdout.contains("nobody restarts the server"), "{status}");
    let server = pids(&cluster, SERVER);
    let up = cluster.skiff(["up"]);
    assert!(up.code == Some(0) && up.stderr.contains("a new one takes over"), "{up}");
    assert_eq!((pids(&cluster, SERVER), pids(&cluster, KEEPER).len()), (server, 1));
    kill(&cluster, SERVER);
    comes_back(&cluster);
    assert_eq!(
        cluster.k("get nodes -o name"),
        "node/node-1\n",
        "started as it was, not as the last `up` said"
    );

    // A server that is told to end, ends, and its keeper with it.
    let keeper = pids(&cluster, KEEPER)[0].clone();
    cluster.sh(&format!("kill {}", pids(&cluster, SERVER)[0])).ok();
    gone(&cluster, &keeper);
    assert_eq!(pids(&cluster, SERVER).len(), 0);
    cluster.start();
    cluster.skiff(["down"]).ok();
    assert_eq!(cluster.host().processes(), Vec::<String>::new());
    assert!(!cluster.run_dir().exists());
}

fn spawn(cluster: &Cluster, arguments: &str) -> Child {
    let mut command = cluster.skiff_command();
    command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    Output {
        command: String::new(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Two commands at the same moment: one does its work, the other says who is at work, or comes after it.
#[test]
fn commands_at_once_leave_a_cluster_whole() {
    const UP: &str = "up --node-name node-1";
    let cluster = Cluster::stopped();
    let pairs = [[UP, UP], [UP, "down"], ["down", UP], [UP, UP], ["down", "down"]];
    for (round, pair) in pairs.into_iter().cycle().take(15).enumerate() {
        let both = pair.map(|command| spawn(&cluster, command)).map(end);
        let wins = both.iter().filter(|output| output.code == Some(0)).count();
        assert!(wins >= 1, "round {round}: {both:#?}");
        for output in both.iter().filter(|output| output.code != Some(0)) {
            assert!(output.stderr.contains("is at work on this cluster"), "round {round}: {output}");
        }
        // What runs is what the record says: never a server without it, or a record without a server.
        let servers = pids(&cluster, SERVER).len();
        let status = cluster.skiff(["status"]);
        let running = !status.stdout.contains("not running");
        assert_eq!(
            servers,
            usize::from(running),
            "round {round}: {status}\n{:#?}",
            cluster.host().processes()
        );
        assert_eq!(pids(&cluster, KEEPER).len(), servers, "round {round}");
        if running {
            assert_eq!(cluster.k("get node node-1 -o name"), "node/node-1\n");
        }
    }
    cluster.skiff(["down"]).ok();
    assert_eq!(cluster.host().processes(), Vec::<String>::new());
}

/// No line of its log can be written from the first one on, and the server does all of its work.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let cluster = Cluster::stopped();
    for stderr in ["2>/dev/full", "2>&-"] {
        let binary = skiff_tests::program("SKIFF_TEST_BINARY");
        let script = format!("RUST_LOG=debug exec {} server --node-name node-1 {stderr}", binary.display());
        let mut server = cluster.shell(&script).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        comes_back(&cluster);
        cluster.k("wait -n kube-system rc/kube-dns --for=create --timeout=60s");
        cluster.k("wait -n kube-system rc --all --timeout=60s --for=jsonpath={.status.readyReplicas}=1");
        assert_eq!(server.try_wait().unwrap(), None, "{stderr}");
        cluster.skiff(["down"]).ok();
        assert!(server.wait().unwrap().success(), "{stderr}");
    }
}

/// The log of a server that says all it can is begun anew while it runs, and no line of it is long.
#[test]
fn the_log_is_bounded() {
    const MAX_FILE: u64 = (4 << 20) + 2048;
    let cluster = Cluster::stopped();
    let up = cluster
        .skiff_command()
        .args(["up", "--node-name", "node-1"])
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    assert!(up.status.success());
    let log = cluster.data_dir().join("server.log");
    let old = log.with_extension("log.1");
    let value = "x".repeat(100_000);
    for round in 0..500 {
        cluster.apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: long}}\ndata: {{a: '{round} {value}'}}\n"
        ));
        if old.exists() {
            break;
        }
    }
    assert!(old.exists(), "the log was begun anew");
    for file in std::fs::read_dir(cluster.data_dir()).unwrap().map(|entry| entry.unwrap().path()) {
        if !file.to_string_lossy().contains("server.log") {
            continue;
        }
        let text = std::fs::read(&file).unwrap();
        assert!(text.len() as u64 <= MAX_FILE, "{} has {} bytes", file.display(), text.len());
        let longest = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
        assert!(longest <= 1024, "a line of {longest} bytes in {}", file.display());
    }
    assert_eq!(pids(&cluster, SERVER).len(), 1);
}

/// A machine that is run by systemd, as far as `skiff up --service` sees it: the directory that says so, a place for
/// units, and a `systemctl` that starts and stops what a unit says.
fn pretend_systemd(cluster: &Cluster) {
    let systemctl = r#"#!/bin/bash
        unit=/etc/systemd/system/${@: -1}
        pid=/run/systemd/pid
        case $1 in
        daemon-reload) ;;
        enable)
            while IFS= read -r line; do export "$line"; done < <(sed -n 's/^Environment=//p' "$unit")
            setsid $(sed -n 's/^ExecStart=//p' "$unit") </dev/null >/dev/null 2>/run/systemd/journal &
            echo $! >$pid
            for i in {1..600}; do [ "$(curl -sk https://127.0.0.1:6443/readyz)" = ok ] && break; sleep 0.1; done
            flock --timeout 60 "$SKIFF_RUN_DIR/starting.json" true ;;
        disable) [ -e $pid ] && kill "$(cat $pid)"; for i in {1..300}; do kill -0 "$(cat $pid)" || break; sleep 0.1; done; rm -f $pid ;;
        show) echo ActiveState=active ;;
        esac"#;
    let directory = cluster.host().directory();
    std::fs::write(directory.join("systemctl"), systemctl).unwrap();
    let script = "over() { mkdir -p $2-upper $2-work \
            && mount -t overlay -o lowerdir=$1,upperdir=$PWD/$2-upper,workdir=$PWD/$2-work overlay $1; }
        mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system \
        && over /etc etc && mkdir -p /etc/systemd/system \
        && over /usr/local/bin bin && install -m 755 systemctl /usr/local/bin/";
    cluster.sh(script).ok();
}

#[test]
fn systemd_starts_a_cluster_that_is_its_service() {
    let cluster = Cluster::stopped();
    let refused = cluster.skiff(["up", "--service", "--node-name", "node-1"]);
    if !std::path::Path::new("/run/systemd/system").exists() {
        assert!(refused.fails().contains("not run by systemd"));
    }
    pretend_systemd(&cluster);
    let skiff = |arguments: &str| cluster.skiff(arguments.split(' '));
    let units = "ls /etc/systemd/system | grep skiff";
    skiff("up --service --node-name node-1").ok();
    assert_eq!(cluster.k("get node node-1 -o name"), "node/node-1\n");
    assert!(pids(&cluster, KEEPER).is_empty(), "systemd is the keeper");
    let status = skiff("status").ok();
    assert!(status.contains("systemd, skiff"), "{status}");
    assert!(skiff("up").ok().is_empty(), "a second time changes nothing");

    let down = skiff("down");
    assert!(down.stderr.contains("skiff is down") && down.code == Some(0), "{down}");
    assert_eq!(cluster.host().processes(), Vec::<String>::new());
    cluster.sh(units).ok();
    skiff("up --node-name node-1").ok();
    assert!(pids(&cluster, KEEPER).is_empty() && pids(&cluster, SERVER).len() == 1);
    skiff("down --purge").ok();
    assert_ne!(cluster.sh(units).code, Some(0), "the unit is removed");
}
