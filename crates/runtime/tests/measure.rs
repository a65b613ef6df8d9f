//! Numbers behind the promises: time to start a container and memory of a supervisor. Prints them, and sees to it that all of
//! it works.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Machine, exited};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn starting_is_quick_and_supervisors_are_small() {
    let Some(machine) = Machine::new().await else { return };
    let (mut pods, mut sandboxes, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..8 {
        let begin = Instant::now();
        let pod = machine.pod(&format!("p{n}")).await;
        sandboxes.push(begin.elapsed());
        let spec = machine.shell(&pod, "c", "exec sleep 1000").await;
        let begin = Instant::now();
        let id = pod.start_container(spec).await.unwrap();
        starts.push(begin.elapsed());
        pods.push((pod, id));
    }
    report("sandbox", &mut sandboxes);
    report("create + start", &mut starts);
    let volume = machine.directory.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let mut mounted = Vec::new();
    for n in 0..8 {
        let mut spec = machine.shell(&pods[0].0, &format!("m{n}"), "exec sleep 1000").await;
        for m in 0..8 {
            let mount = serde_json::json!({"kind": {"bind": {"source": volume}},
                "destination": format!("/m{m}"), "readonly": false, "propagation": "private"});
            spec.mounts.push(serde_json::from_value(mount).unwrap());
        }
        let begin = Instant::now();
        pods[0].0.start_container(spec).await.unwrap();
        mounted.push(begin.elapsed());
    }
    report("create + start with 8 volumes", &mut mounted);
    let mut execs = Vec::new();
    for _ in 0..8 {
        let (pod, id) = &pods[0];
        let begin = Instant::now();
        pod.exec_captured(id, vec!["true".into()], common::PATIENCE, 10).await.unwrap();
        execs.push(begin.elapsed());
    }
    report("exec", &mut execs);
    for pid in common::supervisors_of(machine.directory.path()).into_iter().take(2) {
        let (private, total) = memory(pid);
        println!("supervisor: {private} KiB private, {total} KiB PSS");
    }
    let begin = Instant::now();
    let specs = futures::future::join_all((0..16).map(|n| {
        let machine = &machine;
        async move {
            let pod = machine.pod(&format!("q{n}")).await;
            let spec = machine.shell(&pod, "c", "true").await;
            let id = pod.start_container(spec).await.unwrap();
            exited(&pod, &id).await
        }
    }));
    assert_eq!(specs.await.len(), 16);
    println!("16 pods of one container in parallel: {:?}", begin.elapsed());
    let begin = Instant::now();
    machine.finish().await;
    println!("24 pods stopped in {:?}", begin.elapsed());
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    println!("{what}: median {:?}, slowest {:?}", times[times.len() / 2], times[times.len() - 1]);
}

/// Private and proportional memory in KiB.
fn memory(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (field("Private_Dirty:") + field("Private_Clean:"), field("Pss:"))
}
