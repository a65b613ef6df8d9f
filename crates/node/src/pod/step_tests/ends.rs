//! How containers end and start again, and how pods end.

use super::{ONE, Story};
use crate::pod::observed::Report;
use crate::pod::status::{phase, status};
use crate::pod::testing::{at, pod};

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
