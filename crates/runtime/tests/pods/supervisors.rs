//! Agents that come back, and supervisors that end or hang.

use rustix::process::Signal;
use skiff_runtime::{AttachSpec, ContainerStatus, ExecSpec};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

use super::common::{self, Machine, PATIENCE, code, exited, log_text, until};
use super::{kill, read_until};

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
async fn a_dead_supervisor_is_no_obstacle_to_removal() {
    let machine = machine!();
    let pod = machine.pod("dead").await;
    pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    drop(pod);
    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    kill(supervisor, Signal::KILL).unwrap();
    machine.finish().await;
}
