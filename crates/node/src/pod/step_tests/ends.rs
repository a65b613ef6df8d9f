//! How containers end and start again, and how pods end.

use super::{ONE, Story};
use crate::pod::observed::Report;
use crate::pod::status::status;
use crate::pod::testing::at;

#[test]
fn a_pod_starts_and_is_ready_at_once() {
    let mut story = Story::new(ONE);
    assert_eq!((story.phase(), story.brief("c").as_str()), ("Pending", "ContainerCreating/-/0"));
    story.set_up();
    story.check("Start(c#0)");
    assert_eq!(story.condition("PodReadyToStartContainers"), "True");
    assert_eq!(story.condition("Ready"), "False ContainersNotReady");
    story.started("c", 0).check("");
    assert_eq!((story.phase(), story.brief("c").as_str()), ("Running", "running/-/0+"));
    assert_eq!(story.condition("Ready"), "True");
    assert_eq!(story.wake, None, "a running pod needs no attention");
}

#[test]
fn a_crashing_container_is_restarted_at_once_then_ever_later() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).wait(1).exited("c", 0, 1).check("Start(c#1)");
    assert_eq!(story.brief("c"), "Error:1/-/0");
    story.started("c", 1).check("");
    assert_eq!(story.brief("c"), "running/Error:1/1+");
    story.wait(1).exited("c", 1, 1).check("NoteCrashBackOff(c)");
    assert_eq!((story.phase(), story.brief("c").as_str()), ("Running", "CrashLoopBackOff/Error:1/1"));
    assert_eq!(story.wake, Some(at(12)));
    let message = story.container("c").state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "back-off 10s restarting failed container=c pod=p_ns(u)");
    story.wait(9).check("");
    story.wait(1).check("Start(c#2)");
    story.started("c", 2).exited("c", 2, 0).check("NoteCrashBackOff(c)");
    assert_eq!(story.wake, Some(at(32)));
    // A long run is forgiven.
    story.wait(20).check("Start(c#3)");
    story.started("c", 3).wait(700).exited("c", 3, 1).check("Start(c#4)");
    assert_eq!(story.container("c").restart_count, 3);
}

#[test]
fn policies_decide_how_a_pod_ends() {
    let check = |policy: &str, exit_code: i32, steps: &str, phase: &str| {
        let mut story =
            Story::new(&format!(r#"{{"restartPolicy": "{policy}", "containers": [{{"name": "c"}}]}}"#));
        story.set_up();
        story.check("Start(c#0)");
        story.started("c", 0).exited("c", 0, exit_code).check(steps);
        assert_eq!(story.phase(), phase, "{policy} {exit_code}");
        story
    };
    check("Always", 0, "Start(c#1)", "Running");
    check("OnFailure", 1, "Start(c#1)", "Running");
    check("OnFailure", 0, "End(Completed), StopSandbox", "Succeeded");
    check("Never", 1, "End(Completed), StopSandbox", "Failed");
    let mut story = check("Never", 0, "End(Completed), StopSandbox", "Succeeded");
    assert_eq!(story.condition("Ready"), "False PodCompleted");
    assert_eq!(story.condition("Initialized"), "True PodCompleted");
    story.hear(Report::SandboxGone).check("UnmountVolumes");
    story.hear(Report::VolumesGone).check("");
    story.delete(0).check("DeleteObject");
}

/// A rule by which `c` has all containers started anew; the others never run again by their policy.
const ALL_ANEW: &str = r#"{"restartPolicy": "Never", "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
    "containers": [{"name": "c", "restartPolicy": "Never", "restartPolicyRules": [
        {"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}},
        {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}]},
      {"name": "d", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]}"#;

/// Until everything of [`ALL_ANEW`] runs, in its `attempt`.
fn all_started(story: &mut Story, attempt: u32) {
    story.started("i", attempt).exited("i", attempt, 0).check(&format!("Start(s#{attempt})"));
    story.started("s", attempt).check(&format!("Start(c#{attempt})"));
    story.started("c", attempt).check(&format!("Start(d#{attempt})"));
    story.started("d", attempt).check("");
}

#[test]
fn a_rule_may_have_all_containers_started_anew() {
    let mut story = Story::new(ALL_ANEW);
    story.set_up();
    assert_eq!(story.condition("AllContainersRestarting"), "False");
    story.check("Start(i#0)");
    all_started(&mut story, 0);
    let kills = "BeginStop(s: AllRestart), BeginStop(d: AllRestart), Kill(s), Kill(d)";
    story.wait(1).exited("c", 0, 42).check(kills);
    assert_eq!(story.condition("AllContainersRestarting"), "True RestartAllContainersStarted");
    story.exited("s", 0, 137).check("");
    story.exited("d", 0, 137).check("RestartAll, Start(i#1)");
    assert_eq!((story.phase(), story.condition("Initialized").as_str()), ("Running", "True"));
    assert_eq!(story.condition("AllContainersRestarting"), "False");
    for name in ["i", "s", "c", "d"] {
        let all = "RestartingAllContainers/RestartingAllContainers:137/0";
        assert_eq!(story.brief(name), all, "{name}");
    }
    all_started(&mut story, 1);
    assert_eq!(story.brief("c"), "running/RestartingAllContainers:137/1+");
    // The first rule that names the code counts.
    story.wait(1).exited("c", 1, 1).check("NoteCrashBackOff(c)");
    assert_eq!(story.wake, Some(at(12)));
    story.wait(10).check("Start(c#2)");
    // The others are ended at once, and all wait together.
    story.started("c", 2).exited("c", 2, 3).check(kills);
    story.exited("s", 1, 137).exited("d", 1, 137).check("");
    assert_eq!(story.wake, Some(at(32)));
    story.wait(20).check("RestartAll, Start(i#2)");
    story.started("i", 2).exited("i", 2, 1).check("End(Completed), StopSandbox");
    assert_eq!(story.brief("c"), "RestartingAllContainers:137/Error:1/2");
    assert_eq!(
        (story.phase(), story.condition("AllContainersRestarting").as_str()),
        ("Failed", "False PodFailed")
    );
}

#[test]
fn deletion_stops_gracefully_and_removes_everything() {
    let mut story = Story::new(
        r#"{"containers": [{"name": "c", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}, {"name": "d"}]}"#,
    );
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("Start(d#0)");
    story.started("d", 0).check("");
    story
        .delete(30)
        .check("End(Deleted), BeginStop(c: PodEnds), BeginStop(d: PodEnds), PreStop(c), Terminate(d)");
    story.wait(3).hear(Report::PreStopDone { container: "c".into() }).check("Terminate(c)");
    assert_eq!(story.wake, Some(at(30)));
    story.exited("d", 0, 143).check("");
    // Somebody is less patient.
    story.delete(4).wait(1).check("Kill(c)");
    story.exited("c", 0, 137).check("StopSandbox");
    story.hear(Report::SandboxGone).check("UnmountVolumes");
    story.hear(Report::VolumesGone).check("DeleteObject");
    story.hear(Report::ObjectDeleted(false)).check("");
    story.wait(1).check("DeleteObject");
    story.hear(Report::ObjectDeleted(true)).check("RemoveFiles");
    story.hear(Report::FilesRemoved).check("");
    assert!(!story.done, "the API still shows the pod");
    story.hear(Report::Removed).check("");
    assert!(story.done);
}

#[test]
fn a_hook_that_takes_all_the_time_leaves_two_seconds() {
    let mut story = Story::new(
        r#"{"containers": [{"name": "c", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]}"#,
    );
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).delete(5).check("End(Deleted), BeginStop(c: PodEnds), PreStop(c)");
    story.wait(5).check("Terminate(c)");
    story.wait(1).check("");
    story.wait(1).check("Kill(c)");
}

#[test]
fn a_pod_that_vanishes_is_stopped() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).hear(Report::Removed).check("End(Deleted), BeginStop(c: PodEnds), Terminate(c)");
    story.exited("c", 0, 143).check("StopSandbox");
    story.hear(Report::SandboxGone).check("UnmountVolumes");
    story.hear(Report::VolumesGone).check("RemoveFiles");
    story.hear(Report::FilesRemoved).check("");
    assert!(story.done);
}

#[test]
fn the_active_deadline_ends_a_pod() {
    let mut story = Story::new(r#"{"activeDeadlineSeconds": 60, "containers": [{"name": "c"}]}"#);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    assert_eq!(story.wake, Some(at(60)));
    story.wait(60).check("End(DeadlineExceeded), BeginStop(c: PodEnds), Terminate(c)");
    story.exited("c", 0, 0).check("StopSandbox");
    let status = status(&story.pod, &story.observed, &[], at(story.now));
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[test]
fn a_pod_that_takes_too_much_is_evicted() {
    let mut story = Story::new(r#"{"terminationGracePeriodSeconds": 30, "containers": [{"name": "c"}]}"#);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    let message = "Container c exceeded its local ephemeral storage limit \"1Mi\". ".to_owned();
    story.hear(Report::TakesTooMuch { message: message.clone() });
    story.check("End(Evicted), BeginStop(c: PodEnds), Terminate(c)");
    story.wait(1).check("Kill(c)");
    story.exited("c", 0, 137).check("StopSandbox");
    let status = status(&story.pod, &story.observed, &[], at(story.now));
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref(), status.message),
        (Some("Failed"), Some("Evicted"), Some(message))
    );
}

#[test]
fn probes_stop_containers_and_decide_readiness() {
    let mut story = Story::new(
        r#"{"terminationGracePeriodSeconds": 30, "containers": [{"name": "c",
            "startupProbe": {"tcpSocket": {"port": 1}}, "readinessProbe": {"tcpSocket": {"port": 1}},
            "livenessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3}}]}"#,
    );
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    assert_eq!((story.brief("c").as_str(), story.container("c").started), ("running/-/0", Some(false)));
    let report = |ok| Report::Readiness { container: "c".into(), id: "c0".into(), ok };
    story.hear(Report::Startup { container: "c".into(), id: "c0".into(), ok: true }).check("");
    assert_eq!((story.brief("c").as_str(), story.container("c").started), ("running/-/0", Some(true)));
    story.hear(report(true)).check("");
    assert_eq!(story.brief("c"), "running/-/0+");
    story.hear(report(false)).check("");
    assert_eq!(story.condition("Ready"), "False ContainersNotReady");
    let failed = |id: &str| Report::LivenessFailed { container: "c".into(), id: id.into() };
    story.hear(failed("c-old")).check("");
    story.hear(failed("c0")).check("BeginStop(c: LivenessFailed), Terminate(c)");
    story.wait(3).check("Kill(c)");
    story.exited("c", 0, 137).check("Start(c#1)");
}

#[test]
fn a_failed_start_hook_stops_its_container() {
    let mut story = Story::new(
        r#"{"containers": [{"name": "c", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}, {"name": "d"}]}"#,
    );
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("PostStart(c)");
    assert_eq!(story.brief("c"), "running/-/0");
    story
        .hear(Report::PostStart { container: "c".into(), ok: false })
        .check("BeginStop(c: PostStartFailed), Start(d#0), Terminate(c)");
}
