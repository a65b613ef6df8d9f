//! What a container may use, see and do, tried from inside on this machine's kernel, as root.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Machine, code, exited, log_text};
use skiff_runtime::{ContainerStatus, ExecSpec, PodHandle, Resources, ServiceClass, UserSpec};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Starts a machine or leaves the test with a printed reason.
macro_rules! machine {
    () => {
        match Machine::new().await {
            Some(machine) => machine,
            None => return,
        }
    };
}

/// Whether the machine has v2 only.
fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A file of a group, by its names on v2 and v1.
fn group_file(group: &str, v2: &str, controller: &str, v1: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if unified() { root.join(group).join(v2) } else { root.join(controller).join(group).join(v1) }
}

fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// Whether we have `CAP_SYS_RESOURCE`.
fn may_lower_scores() -> bool {
    let status = read(Path::new("/proc/self/status"));
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    u64::from_str_radix(effective, 16).unwrap() >> 24 & 1 == 1
}

fn limits(memory: i64) -> Resources {
    Resources { cpu_shares: Some(512), memory_limit: Some(memory), pids: Some(100), ..Resources::default() }
}

#[tokio::test]
async fn a_container_cannot_raise_its_limits() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("raise");
    (sandbox.class, sandbox.resources) = (ServiceClass::Burstable, Some(limits(96 << 20)));
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let mut spec = machine.shell(&pod, "c", TRY_TO_RAISE).await;
    spec.resources = limits(64 << 20);
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    exited(&pod, &id).await;
    let log = log_text(&log);
    assert!(log.contains("stdout limit 67108864"), "the container sees its own limit: {log}");
    assert!(!log.contains("raised") && !log.contains("made"), "{log}");
    assert!(log.contains("Read-only file system"), "{log}");
    assert!(log.contains("stdout groups:  /\n"), "its group is the root of what it sees: {log}");

    let pod_group = format!("{}/burstable/uid-raise", machine.cgroup);
    let bytes = read(&group_file(&pod_group, "memory.max", "memory", "memory.limit_in_bytes"));
    assert_eq!(bytes, (96 << 20).to_string(), "the pod's own group is limited");
    assert_eq!(read(&group_file(&pod_group, "pids.max", "pids", "pids.max")), "100");
    machine.finish().await;
}

/// Prints what limits it has and tries every way to have others.
const TRY_TO_RAISE: &str = "cd /sys/fs/cgroup; \
    for f in memory.max memory/memory.limit_in_bytes; do [ -e $f ] && echo limit $(cat $f) && echo 1073741824 > $f && echo raised; done; \
    for d in . memory cpu pids unified systemd; do mkdir $d/mine && echo made $d; done; \
    for p in $(ls */cgroup.procs cgroup.procs); do echo $$ > $p && echo raised; done; \
    mount -o remount,rw /sys/fs/cgroup && echo raised; \
    mount -t cgroup2 none /tmp && echo raised; \
    echo groups: ' '$(while IFS=: read n c path; do echo $path; done < /proc/self/cgroup | while read p; do [ $p = / ] || echo $p; done)/; \
    true 2>&1";

#[tokio::test]
async fn a_childs_oom_kill_ends_the_container() {
    let machine = machine!();
    let pod = machine.pod("oom").await;
    let mut spec = machine.shell(&pod, "c", "tail /dev/zero; sleep 60").await;
    spec.resources = limits(32 << 20);
    let id = pod.start_container(spec).await.unwrap();
    let state = exited(&pod, &id).await;
    assert!(matches!(state.status, ContainerStatus::Exited { oom_killed: true, code: 137, .. }), "{state:?}");
    // A container beside it is left alone.
    let (code, log) = machine.run(&pod, "d", "echo fine").await;
    assert_eq!((code, log.as_str()), (0, "stdout fine\n"));
    machine.finish().await;
}

#[tokio::test]
async fn classes_share_the_processors_by_what_their_pods_ask_for() {
    let machine = machine!();
    let weight = |group: &str| read(&group_file(group, "cpu.weight", "cpu", "cpu.shares"));
    let shares = |v1: &str, v2: &str| if unified() { v2.to_owned() } else { v1.to_owned() };
    let start = async |name: &str, class: ServiceClass, cpu_shares: u64| {
        let mut sandbox = machine.sandbox(name);
        sandbox.class = class;
        sandbox.resources = Some(Resources { cpu_shares: Some(cpu_shares), ..Resources::default() });
        machine.runtime.start_pod(sandbox).await.unwrap()
    };
    let first = start("first", ServiceClass::Burstable, 512).await;
    let second = start("second", ServiceClass::Burstable, 512).await;
    start("third", ServiceClass::BestEffort, 2).await;
    let burstable = format!("{}/burstable", machine.cgroup);
    assert_eq!(weight(&burstable), shares("1024", "100"));
    assert_eq!(weight(&format!("{burstable}/uid-first")), shares("512", "59"));
    assert_eq!(weight(&format!("{}/besteffort", machine.cgroup)), shares("2", "1"));
    first.stop().await.unwrap();
    assert_eq!(weight(&burstable), shares("512", "59"));
    // An agent after this one counts the pods that run.
    drop(second);
    let next = machine.restarted();
    for uid in next.existing().await.unwrap() {
        next.adopt(&uid).await.unwrap();
    }
    assert_eq!(weight(&burstable), shares("512", "59"));
    machine.finish().await;
}

#[tokio::test]
async fn a_pod_can_have_one_process_namespace() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("share");
    sandbox.share_pids = true;
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    // Leaves a process behind that must not outlive it.
    let a = machine.shell(&pod, "a", "sleep 777 & exec sleep 888").await;
    let a = pod.start_container(a).await.unwrap();
    let look = "cat /proc/1/comm; ps -o args | grep sleep; ls /proc/1/root/ /proc/1/cwd/ /proc/1/fd/ 2>&1; grep -E 'Uid|CapEff|CapPrm' /proc/1/status";
    let mut b = machine.shell(&pod, "b", look).await;
    // Whoever may look through other processes still finds nothing behind the first one.
    b.capabilities.push("CAP_SYS_PTRACE".into());
    let log = b.log_path.clone();
    let id = pod.start_container(b).await.unwrap();
    exited(&pod, &id).await;
    let log = log_text(&log);
    assert!(log.starts_with("stdout pause\n"), "{log}");
    assert!(log.contains("sleep 888") && log.contains("sleep 777"), "{log}");
    assert!(log.contains("Uid:\t65535") && log.contains("CapPrm:\t0000000000000000"), "{log}");
    assert!(!log.contains("etc") && !log.contains("stdout 0\n"), "nothing of the host is to be seen: {log}");

    // What a sidecar does that reloads the main container.
    let signal = "kill $(ps -o pid,args | grep '[s]leep 888' | while read pid rest; do echo $pid; done)";
    assert_eq!(machine.run(&pod, "c", signal).await, (0, String::new()));
    exited(&pod, &a).await;
    let (_, rest) = machine.run(&pod, "d", "ps -o args").await;
    assert!(!rest.contains("sleep"), "the rest of a container ends with its first process: {rest}");
    machine.finish().await;
}

#[tokio::test]
async fn a_debugger_sees_its_target() {
    let machine = machine!();
    let pod = machine.pod("debug").await;
    let target = pod.start_container(machine.shell(&pod, "main", "exec sleep 999").await).await.unwrap();
    let debugger = async |pod: &PodHandle| {
        let mut spec = machine.shell(pod, "debugger", "ps -o pid,args; sleep 555 & exit 3").await;
        spec.target = Some(target.clone());
        let log = spec.log_path.clone();
        let id = pod.start_container(spec).await?;
        let state = exited(pod, &id).await;
        Ok::<_, skiff_runtime::RuntimeError>((code(&state), log_text(&log)))
    };
    let (code, log) = debugger(&pod).await.unwrap();
    assert_eq!(code, 3);
    assert!(log.contains("    1 sleep 999"), "{log}");
    pod.stop_container(&target, "SIGKILL", Duration::ZERO).await.unwrap();
    let refused = debugger(&pod).await.unwrap_err().to_string();
    assert!(refused.contains("is not running"), "{refused}");
    machine.finish().await;
}

#[tokio::test]
async fn commands_die_before_the_supervisor_when_memory_runs_out() {
    let machine = machine!();
    let pod = machine.pod("score").await;
    let mut spec = machine.shell(&pod, "c", "cat /proc/self/oom_score_adj; exec sleep 100").await;
    spec.oom_score_adj = Some(321);
    spec.user = UserSpec { uid: 1000, gid: 3000, groups: vec![3000, 7] };
    let id = pod.start_container(spec).await.unwrap();
    let args = ["sh", "-c", "cat /proc/self/oom_score_adj; id"].map(String::from).to_vec();
    let spec = ExecSpec { args, ..ExecSpec::default() };
    let captured = pod.exec_captured(&id, spec.args, common::PATIENCE, 4096).await.unwrap();
    let text = String::from_utf8(captured.output).unwrap();
    assert!(text.starts_with("321\n"), "{text}");
    assert!(text.contains("gid=3000 groups=7,3000"), "{text}");
    assert_eq!(pod.state().await.container(&id).unwrap().user.groups, [3000, 7]);
    if may_lower_scores() {
        let supervisor = common::supervisors_of(machine.directory.path())[0];
        assert_eq!(read(Path::new(&format!("/proc/{supervisor}/oom_score_adj"))), "-999");
    }
    machine.finish().await;
}
