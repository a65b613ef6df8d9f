//! What pods and containers may use.

use rustix::process::Signal;
use skiff_runtime::{Change, ContainerId, ContainerStatus, PodHandle, Resize, Resized, Resources};

use super::common::{self, PATIENCE, code, exited};
use super::kill;

#[tokio::test]
async fn limits_hold_and_oom_is_told() {
    let machine = machine!();
    let pod = machine.pod("oom").await;
    let mut spec = machine.shell(&pod, "c", "x=a; while true; do x=$x$x$x$x; done").await;
    spec.resources = Resources {
        memory_limit: Some(16 << 20),
        cpu_shares: Some(102),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        pids: Some(50),
    };
    let id = pod.start_container(spec).await.unwrap();
    let state = exited(&pod, &id).await;
    match state.status {
        ContainerStatus::Exited { code, signal, oom_killed, .. } => {
            assert_eq!((code, signal, oom_killed), (137, Some(9), true));
        }
        other => panic!("{other:?}"),
    }
    machine.finish().await;
}

/// What a file of a container's own control group says, by its name on v1 and on v2.
async fn limit_of(pod: &PodHandle, id: &ContainerId, v1: &str, v2: &str) -> String {
    let script = format!("cd /sys/fs/cgroup; cat {v1} 2>/dev/null || cat {v2}");
    let args = ["sh", "-c", &script].map(String::from).to_vec();
    let output = pod.exec_captured(id, args, PATIENCE, 100).await.unwrap().output;
    String::from_utf8(output).unwrap().trim().to_owned()
}

#[tokio::test]
async fn limits_change_while_a_pod_runs_and_outlive_its_supervisor() {
    let machine = machine!();
    let limits = |memory: i64, quota| Resources {
        memory_limit: Some(memory << 20),
        cpu_shares: Some(102),
        cpu_quota: Some(quota),
        cpu_period: Some(100_000),
        pids: None,
    };
    let mut sandbox = machine.sandbox("resize");
    sandbox.resources = Some(limits(64, 50_000));
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let mut spec = machine.shell(&pod, "c", "exec sleep 1000").await;
    spec.resources = limits(64, 50_000);
    let id = pod.start_container(spec).await.unwrap();
    let change = |from: &Resources, to: &Resources| Change { from: from.clone(), to: to.clone() };
    let both = |from: &Resources, to: &Resources| Resize {
        pod: Some(change(from, to)),
        containers: vec![Resized { id: id.clone(), name: "c".into(), change: change(from, to) }],
    };
    let memory = || limit_of(&pod, &id, "memory/memory.limit_in_bytes", "memory.max");
    let cpu = || limit_of(&pod, &id, "cpu/cpu.cfs_quota_us", "cpu.max");
    let small = limits(64, 50_000);
    let large = limits(128, 150_000);
    pod.resize(both(&small, &large)).await.unwrap();
    assert_eq!(memory().await, (128 << 20).to_string());
    assert!(["150000", "150000 100000"].contains(&cpu().await.as_str()));

    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    let mut watch = pod.watch();
    kill(supervisor, Signal::KILL).unwrap();
    tokio::time::timeout(PATIENCE, watch.wait_for(|s| !s.supervised)).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, watch.wait_for(|s| s.supervised)).await.unwrap().unwrap();
    let group = pod.stats().unwrap().group;
    let of_group = ["memory/", "unified/", ""].map(|tree| format!("/sys/fs/cgroup/{tree}{group}"));
    let read = |file: &str| {
        of_group.iter().find_map(|group| std::fs::read_to_string(format!("{group}/{file}")).ok())
    };
    let of_pod = read("memory.limit_in_bytes").or_else(|| read("memory.max")).unwrap();
    assert_eq!(of_pod.trim(), (128 << 20).to_string(), "what the pod has is what it was given last");

    pod.resize(both(&large, &small)).await.unwrap();
    assert_eq!(memory().await, (64 << 20).to_string());
    let tiny = Resources { memory_limit: Some(4096), ..small.clone() };
    let refused = pod.resize(both(&small, &tiny)).await.unwrap_err().to_string();
    assert!(
        refused
            .starts_with("cannot decrease memory limits: [attempting to set pod memory limit (4096) below"),
        "{refused}"
    );
    assert_eq!(memory().await, (64 << 20).to_string());
    machine.finish().await;
}
