//! Real pods on this machine's kernel, as root.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Machine, PATIENCE, code, exited, log_text, until};
use rustix::process::Signal;
use skiff_runtime::{
    AttachSpec, Change, ContainerId, ContainerStatus, ExecSpec, Mount, MountKind, PodHandle, Propagation,
    Resize, Resized, Resources, RuntimeError, TerminalSize,
};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn kill(process: i32, signal: Signal) -> rustix::io::Result<()> {
    rustix::process::kill_process(rustix::process::Pid::from_raw(process).unwrap(), signal)
}

/// Starts a machine or leaves the test with a printed reason.
macro_rules! machine {
    () => {
        match Machine::new().await {
            Some(machine) => machine,
            None => return,
        }
    };
}

#[tokio::test]
async fn runs_a_command_and_keeps_its_log_and_code() {
    let machine = machine!();
    let pod = machine.pod("run").await;
    let script = "echo hello; echo oops >&2; echo $FROM_IMAGE $HOSTNAME $HOME; pwd; printf end; exit 3";
    let (code, log) = machine.run(&pod, "c", script).await;
    assert_eq!(code, 3);
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr oops", "stdout /work", "stdout end", "stdout hello", "stdout yes run /root"]);
    machine.finish().await;
}

#[tokio::test]
async fn the_sandbox_is_shared_and_confined() {
    let machine = machine!();
    let pod = machine.pod("box").await;
    let (_, log) =
        machine.run(&pod, "a", "hostname; ip -o addr; ls -l /dev/null; echo shared > /dev/shm/f").await;
    assert!(log.contains("stdout box"), "{log}");
    assert!(log.contains("127.0.0.1") && !log.contains("eth0"), "{log}");
    let script = "cat /dev/shm/f; grep -c . /proc/timer_list; mount -t tmpfs x /mnt 2>&1; echo $$; \
                  touch /proc/sys/kernel/hostname 2>&1 || true; grep Seccomp: /proc/self/status; grep CapEff /proc/self/status; \
                  ls /sys/fs/cgroup; unshare -m true 2>&1";
    let (_, log) = machine.run(&pod, "b", script).await;
    for expected in [
        "stdout shared",
        "stdout 0",
        "ermission denied",
        "stdout 1",
        "Read-only",
        "Seccomp:\t2",
        "00000000a80425fb",
        "not permitted",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    machine.finish().await;
}

#[tokio::test]
async fn kernel_parameters_are_the_pods_own() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("sysctl");
    sandbox.sysctls.insert("net.ipv4.ip_local_port_range".into(), "2000\t3000".into());
    let pod = machine.runtime.start_pod(sandbox.clone()).await.unwrap();
    let (_, log) = machine.run(&pod, "c", "cat /proc/sys/net/ipv4/ip_local_port_range").await;
    assert_eq!(log, "stdout 2000\t3000\n");
    pod.stop().await.unwrap();
    sandbox.host_network = true;
    let refused = machine.runtime.start_pod(sandbox.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("is not the pod's own"), "{refused}");
    sandbox.host_network = false;
    sandbox.sysctls.insert("kernel.panic".into(), "1".into());
    assert!(machine.runtime.start_pod(sandbox).await.is_err());
    machine.finish().await;
}

#[tokio::test]
async fn output_is_whole_and_in_order_however_much() {
    let machine = machine!();
    let pod = machine.pod("much").await;
    let (code, log) =
        machine.run(&pod, "c", "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo $n; done").await;
    assert_eq!(code, 0);
    let expected: String = (1..=20_000).map(|n| format!("stdout {n}\n")).collect();
    assert!(log == expected, "{} of {} bytes", log.len(), expected.len());
    machine.finish().await;
}

#[tokio::test]
async fn failures_to_start_say_why_and_leave_nothing() {
    let machine = machine!();
    let pod = machine.pod("bad").await;
    let mut spec = machine.shell(&pod, "c", "").await;
    spec.args = vec!["nope".into()];
    match pod.start_container(spec).await.unwrap_err() {
        RuntimeError::Start { reason, .. } => {
            assert_eq!(reason, "exec: \"nope\": executable file not found in $PATH");
        }
        other => panic!("{other:?}"),
    }
    let mut spec = machine.shell(&pod, "c", "").await;
    spec.mounts.push(bind("/does/not/exist", "/x"));
    match pod.start_container(spec).await.unwrap_err() {
        RuntimeError::Create { reason, container, .. } => {
            println!("{reason}");
            assert!(reason.contains("No such file") && container == "c", "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(pod.state().await.containers.is_empty());
    machine.finish().await;
}

fn bind(source: &str, destination: &str) -> Mount {
    Mount {
        kind: MountKind::bind(source),
        destination: destination.into(),
        readonly: true,
        recursive: false,
        propagation: Propagation::Private,
    }
}

#[tokio::test]
async fn users_mounts_and_privilege_flags_apply() {
    let machine = machine!();
    let pod = machine.pod("user").await;
    let mut spec = machine.shell(&pod, "c", "id; cat /etc/secret; echo to-name > /dev/stdout; cat /vol/f; touch /vol/g; grep NoNewPrivs /proc/self/status; touch /t").await;
    spec.user = machine.runtime.images().user(&spec.image, "web").await.unwrap();
    let volume = machine.directory.path().join("vol");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("f"), "from the host\n").unwrap();
    spec.mounts.push(bind(volume.to_str().unwrap(), "/vol"));
    spec.no_new_privileges = true;
    spec.rootfs_readonly = true;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 1);
    let log = log_text(&log);
    for expected in [
        "uid=101(web) gid=102(web) groups=33(www)",
        "/etc/secret': Permission denied",
        "stdout to-name",
        "stdout from the host",
        "/vol/g: Read-only file system",
        "NoNewPrivs:\t1",
        "/t: Read-only file system",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    machine.finish().await;
}

#[tokio::test]
async fn exec_passes_streams_and_codes() {
    let machine = machine!();
    let pod = machine.pod("exec").await;
    let id = pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    let args = |script: &str| ["sh", "-c", script].map(String::from).to_vec();
    let spec = ExecSpec { args: args("cat; echo err >&2; exit 7"), stdin: true, ..ExecSpec::default() };
    let mut session = pod.exec(&id, spec).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"through\n").await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    session.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("through\n", "err\n"));
    assert_eq!(session.process.wait().await.unwrap().code, 7);

    let confined =
        "grep -E 'Seccomp:|CapEff' /proc/self/status; echo $FROM_IMAGE; pwd; hostname; ps | head -2";
    let got = pod.exec_captured(&id, args(confined), PATIENCE, 4096).await.unwrap();
    let text = String::from_utf8(got.output).unwrap();
    for expected in ["Seccomp:\t2", "00000000a80425fb", "yes", "/work", "exec", "sleep 1000"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let got = pod.exec_captured(&id, args("yes"), Duration::from_millis(300), 10).await;
    assert!(matches!(got, Err(RuntimeError::Timeout { .. })), "{got:?}");
    let missing = pod.exec_captured(&id, vec!["nope".into()], PATIENCE, 10).await.unwrap_err();
    assert!(missing.to_string().ends_with("exec: \"nope\": executable file not found in $PATH"), "{missing}");
    machine.finish().await;
}

#[tokio::test]
async fn dropping_an_exec_kills_it() {
    let machine = machine!();
    let pod = machine.pod("drop").await;
    let id = pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    let args = ["sh", "-c", "echo up; sleep 77 & sleep 78"].map(String::from).to_vec();
    let mut session = pod.exec(&id, ExecSpec { args, ..ExecSpec::default() }).await.unwrap();
    let mut out = session.stdout.take().unwrap();
    let mut line = [0; 3];
    out.read_exact(&mut line).await.unwrap();
    drop(session);
    // The pipe ends once every process that holds it is gone.
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, out.read_to_end(&mut rest)).await.expect("killed in time").unwrap();
    machine.finish().await;
}

#[tokio::test]
async fn exec_with_a_terminal_has_a_size_and_can_be_resized() {
    let machine = machine!();
    let pod = machine.pod("tty").await;
    let id = pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    let script = "tty; echo $TERM; stty size; read x; stty size; echo got $x";
    let spec = ExecSpec {
        args: ["sh", "-c", script].map(String::from).to_vec(),
        env: vec!["TERM=dumb".into()],
        tty: true,
        stdin: true,
        size: Some(TerminalSize { width: 101, height: 33 }),
    };
    let mut session = pod.exec(&id, spec).await.unwrap();
    let mut out = session.stdout.take().unwrap();
    let mut text = read_until(&mut out, "33 101").await;
    assert!(text.contains("/dev/pts/") && text.contains("dumb"), "{text}");
    session.terminal.as_ref().unwrap().resize(TerminalSize { width: 80, height: 25 }).unwrap();
    session.stdin.as_mut().unwrap().write_all(b"line\n").await.unwrap();
    text = read_until(&mut out, "got line").await;
    assert!(text.contains("25 80"), "{text}");
    assert_eq!(session.process.wait().await.unwrap().code, 0);
    machine.finish().await;
}

async fn read_until(from: &mut skiff_runtime::SessionOutput, wanted: &str) -> String {
    let mut text = String::new();
    let read = async {
        let mut buffer = [0; 1024];
        while !text.contains(wanted) {
            let read = from.read(&mut buffer).await.unwrap();
            assert!(read > 0, "ended after {text:?}");
            text += &String::from_utf8_lossy(&buffer[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{wanted:?} in time"));
    text
}

#[tokio::test]
async fn attach_reaches_streams_and_ends_input_once() {
    let machine = machine!();
    let pod = machine.pod("attach").await;
    let mut spec = machine.shell(&pod, "c", "while read x; do echo got $x; done; echo done").await;
    (spec.stdin, spec.stdin_once) = (true, true);
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    let mut session = pod.attach(&id, AttachSpec { stdin: true, stdout: true, stderr: true }).await.unwrap();
    let (mut stdin, mut stdout) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
    stdin.write_all(b"one\n").await.unwrap();
    read_until(&mut stdout, "got one\n").await;
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "done\n");
    assert_eq!(code(&exited(&pod, &id).await), 0);
    assert_eq!(log_text(&log), "stdout got one\nstdout done\n");
    machine.finish().await;
}

#[tokio::test]
async fn attach_to_a_terminal() {
    let machine = machine!();
    let pod = machine.pod("atty").await;
    let mut spec = machine.shell(&pod, "c", "read x; stty size; echo got $x; tty; echo $TERM").await;
    (spec.stdin, spec.tty) = (true, true);
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    let mut session = pod.attach(&id, AttachSpec { stdin: true, stdout: true, stderr: true }).await.unwrap();
    assert!(session.stderr.is_none());
    session.terminal.as_ref().unwrap().resize(TerminalSize { width: 120, height: 40 }).unwrap();
    session.stdin.as_mut().unwrap().write_all(b"abc\n").await.unwrap();
    let text = read_until(session.stdout.as_mut().unwrap(), "xterm").await;
    assert!(text.contains("40 120") && text.contains("got abc"), "{text}");
    assert_eq!(code(&exited(&pod, &id).await), 0);
    assert!(log_text(&log).contains("got abc"));
    machine.finish().await;
}

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

#[tokio::test]
async fn stopping_asks_first_and_then_kills() {
    let machine = machine!();
    let pod = machine.pod("stop").await;
    let kind = "trap 'echo bye; exit 5' TERM; echo ready; while true; do sleep 0.01; done";
    let stubborn = "trap '' TERM; echo ready; while true; do sleep 0.01; done";
    for (name, script, expected) in [("kind", kind, 5), ("stubborn", stubborn, 137)] {
        let id = pod.start_container(machine.shell(&pod, name, script).await).await.unwrap();
        let mut session =
            pod.attach(&id, AttachSpec { stdout: true, ..AttachSpec::default() }).await.unwrap();
        // Whether the line comes before or after the attachment, the trap is set once a signal is survived.
        drop(session.stdout.take());
        tokio::time::sleep(Duration::from_millis(300)).await;
        pod.stop_container(&id, "SIGTERM", Duration::from_millis(500)).await.unwrap();
        assert_eq!(code(&exited(&pod, &id).await), expected, "{name}");
        pod.remove_container(&id).await.unwrap();
    }
    assert!(pod.state().await.containers.is_empty());
    machine.finish().await;
}

#[tokio::test]
async fn an_agent_restart_changes_nothing_for_pods() {
    let machine = machine!();
    let pod = machine.pod("adopt").await;
    let script = "n=0; while true; do n=$((n+1)); echo $n; sleep 0.02; done";
    let id = pod.start_container(machine.shell(&pod, "c", script).await).await.unwrap();
    let before = pod.state().await;
    drop(pod);
    let runtime = machine.restarted();
    let [uid] = &runtime.existing().await.unwrap()[..] else { panic!("one pod") };
    let pod = runtime.adopt(uid).await.unwrap();
    assert_eq!(pod.state().await, before);
    assert_eq!(pod.sandbox(), &machine.sandbox("adopt"));
    pod.signal(&id, "KILL").await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 137);
    pod.clone().stop().await.unwrap();
    pod.stop().await.unwrap();
    machine.finish().await;
}

#[tokio::test]
async fn a_killed_supervisor_has_a_successor() {
    let machine = machine!();
    let pod = machine.pod("revive").await;
    let script = "trap 'echo last; exit 9' TERM; n=0; while true; do n=$((n+1)); echo $n; sleep 0.01; done";
    let spec = machine.shell(&pod, "c", script).await;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    let before = pod.state().await;
    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    let mut watch = pod.watch();
    kill(supervisor, Signal::KILL).unwrap();
    tokio::time::timeout(PATIENCE, watch.wait_for(|s| !s.supervised)).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, watch.wait_for(|s| s.supervised)).await.unwrap().unwrap();
    assert_eq!(pod.state().await, before, "the container runs on, with the same process");
    let got = pod.exec_captured(&id, vec!["hostname".into()], PATIENCE, 100).await.unwrap();
    assert_eq!(got.output, b"revive\n");
    pod.signal(&id, "TERM").await.unwrap();
    let ended = until(&pod, &id, |s| matches!(s, ContainerStatus::Exited { .. })).await;
    println!("exit code after adoption: {}", code(&ended));
    assert!([9, 137].contains(&code(&ended)), "the kernel may not tell the code of a process of others");
    let text = log_text(&log);
    let numbers: Vec<u32> = text.lines().filter_map(|l| l.strip_prefix("stdout ")?.parse().ok()).collect();
    assert!(numbers.iter().enumerate().all(|(n, got)| *got as usize == n + 1), "no line is lost: {text}");
    assert!(text.ends_with("stdout last\n"));
    machine.finish().await;
}

#[tokio::test]
async fn a_supervisor_that_hangs_is_replaced_and_holds_up_no_other_pod() {
    let machine = machine!();
    let script = "echo begun; while true; do sleep 0.02; done";
    let mut before = Vec::new();
    for name in ["hangs", "other"] {
        let pod = machine.pod(name).await;
        let id = pod.start_container(machine.shell(&pod, "c", script).await).await.unwrap();
        before.push((pod.uid().clone(), id, pod.state().await));
        if name == "hangs" {
            let [supervisor] = common::supervisors_of(machine.directory.path())[..] else {
                panic!("one supervisor")
            };
            let stop = Signal::STOP;
            kill(supervisor, stop).unwrap();
        }
    }
    let runtime = machine.restarted();
    let [(hangs, id, state), (other, _, others)] = &before[..] else { panic!("two pods") };
    let adopting = runtime.adopt(hangs);
    let mut adopting = std::pin::pin!(adopting);
    tokio::select! {
        biased;
        _ = &mut adopting => panic!("it cannot be spoken to yet"),
        adopted = runtime.adopt(other) => assert_eq!(&adopted.unwrap().state().await, others),
    }
    let pod = tokio::time::timeout(PATIENCE * 2, adopting).await.unwrap().unwrap();
    assert_eq!(&pod.state().await, state, "the container runs on");
    let got = pod.exec_captured(id, vec!["hostname".into()], PATIENCE, 100).await.unwrap();
    assert_eq!(got.output, b"hangs\n");
    machine.finish().await;
}

/// Stops the supervisor of the only pod, as a process can be stopped, and not ended.
fn hang_supervisor(machine: &Machine) {
    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    let stop = Signal::STOP;
    kill(supervisor, stop).unwrap();
}

/// Ignores what asks it to end.
const STUBBORN: &str = "trap '' TERM; while true; do sleep 0.02; done";

#[tokio::test]
async fn a_pod_that_hangs_while_it_stops_ends_after_its_grace_and_holds_up_no_other() {
    let machine = machine!();
    let hangs = machine.pod("hangs").await;
    let id = hangs.start_container(machine.shell(&hangs, "c", STUBBORN).await).await.unwrap();
    let deaf = ["sh", "-c", "until grep -q 'SigIgn:.*[4567cdef]...$' /proc/1/status; do sleep 0.01; done"];
    let waited = hangs.exec_captured(&id, deaf.map(String::from).to_vec(), PATIENCE, 100).await.unwrap();
    assert_eq!(waited.status.code, 0);
    hang_supervisor(&machine);

    let stopping = hangs.stop_container(&id, "SIGTERM", Duration::from_millis(500));
    let mut stopping = std::pin::pin!(stopping);
    let others = async {
        let pod = machine.pod("other").await;
        let id = pod.start_container(machine.shell(&pod, "c", "exec sleep 1000").await).await.unwrap();
        pod.stop_container(&id, "SIGKILL", PATIENCE).await.unwrap();
        pod.stop().await.unwrap();
    };
    tokio::select! {
        biased;
        _ = &mut stopping => panic!("its supervisor does not answer yet"),
        () = others => {}
    }
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
    assert_eq!(code(&exited(&hangs, &id).await), 137, "it was killed");
    tokio::time::timeout(PATIENCE, hangs.clone().stop()).await.unwrap().unwrap();
    machine.finish().await;
}

#[tokio::test]
async fn two_who_end_a_container_of_a_supervisor_that_hangs_both_have_their_way() {
    let machine = machine!();
    let pod = machine.pod("twice").await;
    let id = pod.start_container(machine.shell(&pod, "c", STUBBORN).await).await.unwrap();
    hang_supervisor(&machine);
    let kill = async || tokio::time::timeout(PATIENCE, pod.signal(&id, "KILL")).await.unwrap();
    let (first, second) = tokio::join!(kill(), kill());
    first.and(second).unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 137);
    machine.finish().await;
}

#[tokio::test]
async fn a_pod_is_removed_though_its_supervisor_hangs() {
    let machine = machine!();
    let pod = machine.pod("stuck").await;
    let id = pod.start_container(machine.shell(&pod, "c", STUBBORN).await).await.unwrap();
    let state = until(&pod, &id, |status| matches!(status, ContainerStatus::Running { .. })).await;
    let ContainerStatus::Running { pid, .. } = state.status else { panic!("{state:?}") };
    hang_supervisor(&machine);
    tokio::time::timeout(PATIENCE * 2, pod.stop()).await.unwrap().unwrap();
    // Whoever collects it may not have done so yet; a process that has ended has no command.
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(command.is_empty(), "{}", command.escape_ascii());
    machine.finish().await;
}

/// Stops the supervisors of all pods.
fn hang_supervisors(machine: &Machine) {
    for supervisor in common::supervisors_of(machine.directory.path()) {
        let stop = Signal::STOP;
        kill(supervisor, stop).unwrap();
    }
}

#[tokio::test]
async fn nothing_that_is_asked_of_a_supervisor_that_hangs_waits_for_ever() {
    let machine = machine!();
    let mut pods = Vec::new();
    for name in ["told", "attached", "removed", "commanded", "started"] {
        let pod = machine.pod(name).await;
        let mut spec = machine.shell(&pod, "c", "read x; echo got $x; exec sleep 1000").await;
        spec.stdin = true;
        let id = pod.start_container(spec).await.unwrap();
        let before = pod.state().await;
        pods.push((pod, id, before));
    }
    let [told, attached, removed, commanded, started] = &pods[..] else { panic!("five pods") };
    let next = machine.shell(&started.0, "d", "exec sleep 1000").await;
    hang_supervisors(&machine);

    let streams = AttachSpec { stdin: true, stdout: true, stderr: false };
    let hostname = || ExecSpec { args: vec!["hostname".into()], ..ExecSpec::default() };
    let answers = async {
        tokio::join!(
            told.0.state(),
            attached.0.attach(&attached.1, streams),
            removed.0.remove_container(&removed.1),
            commanded.0.exec(&commanded.1, hostname()),
            started.0.start_container(next),
        )
    };
    let (state, session, gone, command, id) = tokio::time::timeout(PATIENCE * 2, answers).await.unwrap();
    assert_eq!(state, told.2, "the container runs on");
    let mut session = session.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"it\n").await.unwrap();
    read_until(session.stdout.as_mut().unwrap(), "got it").await;
    gone.unwrap();
    assert!(removed.0.state().await.containers.is_empty());
    assert!(matches!(started.0.state().await.container(&id.unwrap()), Some(started) if started.name == "d"));
    assert_eq!(
        command.unwrap_err().to_string(),
        "supervisor of pod uid-commanded did not answer within 10s; another takes its place, try again"
    );
    let again = commanded.0.exec_captured(&commanded.1, hostname().args, PATIENCE, 100).await.unwrap();
    assert_eq!(again.output, b"commanded\n");
    machine.finish().await;
}

#[tokio::test]
async fn a_supervisor_that_never_serves_is_given_up() {
    use std::os::unix::fs::PermissionsExt;
    let machine = machine!();
    let program = machine.directory.path().join("sleeps");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let runtime = machine.with_executable(program);
    // While nothing else happens, time passes at once.
    tokio::time::pause();
    let started = runtime.start_pod(machine.sandbox("never"));
    let started = tokio::time::timeout(Duration::from_secs(3600), started).await.expect("in an hour");
    let reason = started.unwrap_err().to_string();
    assert!(reason.ends_with("the supervisor did not begin to serve within 60s"), "{reason}");
    tokio::time::resume();
    machine.finish().await;
}

#[tokio::test]
async fn a_terminal_survives_its_supervisor() {
    let machine = machine!();
    let pod = machine.pod("ttykeep").await;
    let mut spec = machine.shell(&pod, "c", "read x; echo got $x").await;
    (spec.stdin, spec.tty) = (true, true);
    let id = pod.start_container(spec).await.unwrap();
    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    let mut watch = pod.watch();
    kill(supervisor, Signal::KILL).unwrap();
    tokio::time::timeout(PATIENCE, watch.wait_for(|s| !s.supervised)).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, watch.wait_for(|s| s.supervised)).await.unwrap().unwrap();
    let mut session = pod.attach(&id, AttachSpec { stdin: true, stdout: true, stderr: false }).await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"still\n").await.unwrap();
    read_until(session.stdout.as_mut().unwrap(), "got still").await;
    assert!([0, 137].contains(&code(&exited(&pod, &id).await)));
    machine.finish().await;
}

#[tokio::test]
async fn the_executable_cannot_be_written_from_inside() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("seal");
    sandbox.host_pid = true;
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    let mut spec = machine.shell(&pod, "c", &format!("touch /proc/{supervisor}/exe")).await;
    spec.privileged = true;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_ne!(code(&exited(&pod, &id).await), 0);
    let log = log_text(&log);
    assert!(log.contains("Read-only file system"), "{log}");
    machine.finish().await;
}

#[tokio::test]
async fn devices_are_given_one_by_one() {
    let machine = machine!();
    let pod = machine.pod("dev").await;
    let Ok(found) = std::fs::metadata("/dev/loop-control") else {
        return println!("skipped: no /dev/loop-control to give");
    };
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    let script =
        format!("test -c /dev/mine; given=$?; mknod /made c {major} {minor} && exec 3< /made && exit $given");
    let mut spec = machine.shell(&pod, "c", &script).await;
    let device = skiff_runtime::Device {
        host_path: "/dev/loop-control".into(),
        container_path: "/dev/mine".into(),
        permissions: "rw".into(),
    };
    spec.devices.push(device);
    let id = pod.start_container(spec.clone()).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0);
    (spec.name, spec.attempt, spec.devices) = ("d".into(), 1, Vec::new());
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_ne!(code(&exited(&pod, &id).await), 0);
    assert!(log_text(&log).contains("/made: Operation not permitted"), "{}", log_text(&log));
    machine.finish().await;
}

#[tokio::test]
async fn a_dead_supervisor_is_no_obstacle_to_removal() {
    let machine = machine!();
    let pod = machine.pod("dead").await;
    pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    drop(pod);
    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    kill(supervisor, Signal::KILL).unwrap();
    machine.finish().await;
}

#[tokio::test]
async fn host_namespaces_are_the_hosts() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("host");
    (sandbox.host_network, sandbox.host_pid, sandbox.host_ipc) = (true, true, true);
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let script = "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done; sleep 1000 & exit 0";
    let (code, log) = machine.run(&pod, "c", script).await;
    assert_eq!(code, 0);
    for name in ["net", "pid", "ipc", "uts"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(log.contains(ours.to_str().unwrap()), "{name}: {log}");
    }
    machine.finish().await;
}
