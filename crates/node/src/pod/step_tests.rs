//! Stories of pods, told as the steps that each event leads to.

use super::local::LocalPod;
use super::observed::{Finished, Granted, Observed, Rejection, Report, StartError};
use super::resize::{changes, event_message, is_under_way};
use super::sizes::Sizes;
use super::status::{phase, status};
use super::step::{Step, plan};
use super::testing::{at, pod, pod_of};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStatus;
use std::sync::Arc;

/// A pod, what is known of it, and the time.
struct Story {
    pod: LocalPod,
    observed: Observed,
    now: i64,
    wake: Option<Timestamp>,
    done: bool,
}

impl Story {
    fn new(spec: &str) -> Self {
        Self { pod: pod_of(spec), observed: Observed::new(at(0)), now: 0, wake: None, done: false }
    }

    /// Takes every step that is due and names them.
    #[track_caller]
    fn check(&mut self, expected: &str) {
        let mut names = Vec::new();
        for _ in 0..20 {
            let plan = plan(&self.pod, &self.observed, at(self.now));
            (self.wake, self.done) = (plan.wake, plan.done);
            if plan.steps.is_empty() {
                break;
            }
            for step in plan.steps {
                names.push(name(&step));
                self.observed.issue(&step, &self.pod, at(self.now));
            }
        }
        assert_eq!(names.join(", "), expected, "at {}", self.now);
    }

    fn hear(&mut self, report: Report) -> &mut Self {
        self.observed.apply(report, &self.pod, at(self.now));
        self
    }

    fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self
    }

    /// Until containers can be started.
    fn set_up(&mut self) {
        self.check("MountVolumes");
        self.hear(Report::Volumes(Ok(()))).check("StartSandbox");
        self.hear(Report::Sandbox(Ok(vec!["10.0.0.5".parse().unwrap()])));
    }

    fn started(&mut self, container: &str, attempt: u32) -> &mut Self {
        let id = format!("{container}{attempt}");
        let now = at(self.now);
        self.hear(Report::Started {
            container: container.into(),
            attempt,
            id,
            at: now,
            user: Default::default(),
        })
    }

    fn exited(&mut self, container: &str, attempt: u32, exit_code: i32) -> &mut Self {
        let end = Finished {
            id: format!("{container}{attempt}"),
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
            message: String::new(),
            started_at: Some(at(0)),
            finished_at: at(self.now),
        };
        self.hear(Report::Exited { container: container.into(), end })
    }

    /// Asks for deletion, as the API shows it.
    fn delete(&mut self, grace: i64) -> &mut Self {
        self.pod.meta.deletion_timestamp = Some(crate::time::api_time(at(self.now + grace)));
        self.pod.meta.deletion_grace_period_seconds = Some(grace);
        self
    }

    fn phase(&self) -> &'static str {
        phase(&self.pod, &self.observed).as_str()
    }

    fn container(&self, name: &str) -> ContainerStatus {
        let status = status(&self.pod, &self.observed, &["192.168.0.1".parse().unwrap()], at(self.now));
        let lists = [status.init_container_statuses, status.container_statuses];
        lists.into_iter().flatten().flatten().find(|status| status.name == name).unwrap()
    }

    /// `state/last state/restarts` of a container, in short, and `+` if it is ready.
    fn brief(&self, name: &str) -> String {
        let status = self.container(name);
        let brief = |state: Option<k8s_openapi::api::core::v1::ContainerState>| {
            let state = state.unwrap_or_default();
            match (state.waiting, state.running, state.terminated) {
                (Some(waiting), None, None) => waiting.reason.unwrap_or_default(),
                (None, Some(_), None) => "running".into(),
                (None, None, Some(end)) => format!("{}:{}", end.reason.unwrap_or_default(), end.exit_code),
                (None, None, None) => "-".into(),
                several => panic!("{several:?}"),
            }
        };
        let ready = if status.ready { "+" } else { "" };
        format!("{}/{}/{}{ready}", brief(status.state), brief(status.last_state), status.restart_count)
    }

    /// The condition's status and reason.
    fn condition(&self, kind: &str) -> String {
        let status = status(&self.pod, &self.observed, &[], at(self.now));
        let condition = status.conditions.into_iter().flatten().find(|c| c.type_ == kind).unwrap();
        [condition.status, condition.reason.unwrap_or_default()].join(" ").trim().to_owned()
    }
}

/// `Start(c#0)` and the like.
fn name(step: &Step) -> String {
    match step {
        Step::End(cause) => format!("End({cause:?})"),
        Step::Start { container, attempt } => format!("Start({container}#{attempt})"),
        Step::PostStart { container } => format!("PostStart({container})"),
        Step::BeginStop { container, cause } => format!("BeginStop({container}: {cause:?})"),
        Step::PreStop { container, .. } => format!("PreStop({container})"),
        Step::Terminate { container } => format!("Terminate({container})"),
        Step::Kill { container } => format!("Kill({container})"),
        Step::NoteCrashBackOff { container } => format!("NoteCrashBackOff({container})"),
        Step::NoteImageBackOff { container } => format!("NoteImageBackOff({container})"),
        other => format!("{other:?}"),
    }
}

const ONE: &str = r#"{"containers": [{"name": "c", "image": "i"}]}"#;

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
fn init_containers_run_in_order() {
    let mut story = Story::new(
        r#"{"initContainers": [{"name": "a"}, {"name": "s", "restartPolicy": "Always"}, {"name": "b"}],
            "containers": [{"name": "c"}, {"name": "d"}]}"#,
    );
    story.set_up();
    story.check("Start(a#0)");
    assert_eq!(story.brief("c"), "PodInitializing/-/0");
    assert_eq!(story.condition("Initialized"), "False ContainersNotInitialized");
    story.started("a", 0).check("");
    story.exited("a", 0, 0).check("Start(s#0)");
    story.started("s", 0).check("Start(b#0)");
    story.started("b", 0).check("");
    story.wait(1).exited("b", 0, 1).check("Start(b#1)");
    assert_eq!(story.phase(), "Pending");
    story.started("b", 1).check("");
    assert_eq!(story.condition("Initialized"), "False ContainersNotInitialized");
    story.exited("b", 1, 0).check("Start(c#0)");
    assert_eq!(story.condition("Initialized"), "True");
    story.started("c", 0).check("Start(d#0)");
    story.started("d", 0).check("");
    assert_eq!(
        (story.phase(), story.brief("a").as_str(), story.brief("s").as_str()),
        ("Running", "Completed:0/-/0+", "running/-/0+")
    );
    // A sidecar is restarted whenever it ends.
    story.exited("s", 0, 0).check("Start(s#1)");
    story.started("s", 1).check("");
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let mut story = Story::new(
        r#"{"restartPolicy": "Never", "initContainers": [{"name": "a"}], "containers": [{"name": "c"}]}"#,
    );
    story.set_up();
    story.check("Start(a#0)");
    story.started("a", 0).exited("a", 0, 3).check("End(Completed), StopSandbox");
    assert_eq!((story.phase(), story.brief("a").as_str()), ("Failed", "Error:3/-/0"));
    assert_eq!(story.brief("c"), "PodInitializing/-/0");
}

#[test]
fn containers_whose_turn_never_came_wait_for_ever() {
    let end_early = |spec: &str| {
        let mut story = Story::new(spec);
        story.set_up();
        story.check("Start(a#0)");
        story.hear(Report::StartFailed {
            container: "a".into(),
            reason: StartError::ErrImagePull,
            message: "no".into(),
        });
        story.delete(0).check("End(Deleted), StopSandbox");
        story
    };
    let story =
        end_early(r#"{"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]}"#);
    assert_eq!(story.phase(), "Failed");
    assert_eq!(story.brief("a"), "ContainerStatusUnknown:137/-/0");
    assert_eq!(story.brief("b"), "PodInitializing/-/0");
    assert_eq!(story.brief("c"), "PodInitializing/-/0");
    // Without init containers it was every container's turn.
    let story = end_early(r#"{"containers": [{"name": "a"}, {"name": "b"}]}"#);
    assert_eq!(story.brief("a"), "ContainerStatusUnknown:137/-/0");
    assert_eq!(story.brief("b"), "ContainerStatusUnknown:137/-/0");
}

#[test]
fn sidecars_end_after_the_main_containers_last_first() {
    let mut story = Story::new(
        r#"{"restartPolicy": "Never", "terminationGracePeriodSeconds": 5,
            "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "t", "restartPolicy": "Always"}],
            "containers": [{"name": "c"}]}"#,
    );
    story.set_up();
    story.check("Start(s#0)");
    story.started("s", 0).check("Start(t#0)");
    story.started("t", 0).check("Start(c#0)");
    story.started("c", 0).exited("c", 0, 0).check("End(Completed), BeginStop(t: PodEnds), Terminate(t)");
    story.exited("t", 0, 143).check("BeginStop(s: PodEnds), Terminate(s)");
    story.wait(5).check("Kill(s)");
    story.exited("s", 0, 137).check("StopSandbox");
    assert_eq!(story.phase(), "Succeeded");
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

#[test]
fn images_that_cannot_be_pulled_are_waited_for() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let failed = || Report::StartFailed {
        container: "c".into(),
        reason: StartError::ErrImagePull,
        message: "no".into(),
    };
    story.hear(failed()).check("");
    assert_eq!((story.phase(), story.brief("c").as_str()), ("Pending", "ErrImagePull/-/0"));
    story.wait(2).check("NoteImageBackOff(c)");
    assert_eq!(story.brief("c"), "ImagePullBackOff/-/0");
    let message = story.container("c").state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "Back-off pulling image \"i\": ErrImagePull: no");
    assert_eq!(story.wake, Some(at(10)));
    story.wait(8).check("Start(c#0)");
    story.hear(failed()).wait(2).check("NoteImageBackOff(c)");
    assert_eq!(story.wake, Some(at(30)));
    // A corrected image is tried at once.
    story.pod.containers[0].spec.image = Some("good".into());
    story.check("Start(c#0)");
}

#[test]
fn a_command_that_cannot_be_run_counts_as_an_end() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let failed =
        |attempt| Report::RunFailed { container: "c".into(), attempt, message: "no such file".into() };
    story.hear(failed(0)).check("Start(c#1)");
    story.hear(failed(1)).check("NoteCrashBackOff(c)");
    assert_eq!(story.brief("c"), "CrashLoopBackOff/StartError:128/1");
    assert_eq!(story.phase(), "Running");
}

#[test]
fn missing_configuration_is_retried_when_it_arrives() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let reason = StartError::CreateContainerConfigError;
    story
        .hear(Report::StartFailed {
            container: "c".into(),
            reason,
            message: "configmap \"m\" not found".into(),
        })
        .check("");
    assert_eq!(story.brief("c"), "CreateContainerConfigError/-/0");
    story.hear(Report::Retry).check("Start(c#0)");
}

#[test]
fn a_start_that_hung_is_tried_again_ever_later() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let failed = || Report::StartFailed {
        container: "c".into(),
        reason: StartError::RunContainerError,
        message: "context deadline exceeded: run the program".into(),
    };
    story.hear(failed()).check("");
    assert_eq!((story.phase(), story.brief("c").as_str()), ("Pending", "RunContainerError/-/0"));
    assert_eq!(story.wake, Some(at(10)));
    story.wait(10).check("Start(c#0)");
    story.hear(failed()).check("");
    assert_eq!(story.wake, Some(at(30)));
    // What it waits for is no object of the API.
    story.hear(Report::Retry).check("");
}

#[test]
fn volumes_and_sandboxes_are_tried_again() {
    let mut story = Story::new(ONE);
    story.check("MountVolumes");
    story.hear(Report::Volumes(Err("no".into()))).check("");
    assert_eq!(story.wake, Some(at(1)));
    story.wait(1).check("MountVolumes");
    story.hear(Report::Volumes(Err("no".into()))).check("");
    assert_eq!(story.wake, Some(at(3)));
    story.hear(Report::Retry).check("MountVolumes");
    story.hear(Report::Volumes(Ok(()))).check("StartSandbox");
    story.hear(Report::Sandbox(Err("no".into()))).wait(1).check("StartSandbox");
}

#[test]
fn a_lost_sandbox_is_made_anew_with_everything_in_it() {
    let mut story = Story::new(r#"{"initContainers": [{"name": "a"}], "containers": [{"name": "c"}]}"#);
    story.set_up();
    story.check("Start(a#0)");
    story.started("a", 0).exited("a", 0, 0).check("Start(c#0)");
    story.started("c", 0).hear(Report::SandboxLost).check("StartSandbox");
    story.hear(Report::Sandbox(Ok(Vec::new()))).check("Start(a#1)");
    story.started("a", 1).exited("a", 1, 0).check("Start(c#1)");
    story.started("c", 1).check("");
    assert_eq!(story.brief("c"), "running/Error:137/1+");
}

#[test]
fn a_changed_image_replaces_the_container() {
    let mut story = Story::new(r#"{"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}"#);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    story.pod.containers[0].spec.image = Some("j".into());
    story.check("BeginStop(c: DefinitionChanged), Terminate(c)");
    story.exited("c", 0, 143).check("Start(c#1)");
}

#[test]
fn readiness_gates_hold_a_pod_back() {
    let mut story =
        Story::new(r#"{"readinessGates": [{"conditionType": "x/y"}], "containers": [{"name": "c"}]}"#);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    assert_eq!(story.condition("ContainersReady"), "True");
    assert_eq!(story.condition("Ready"), "False ReadinessGatesNotReady");
    let message = |story: &Story| {
        let status = status(&story.pod, &story.observed, &[], at(9));
        let ready = status.conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
        (ready.status, ready.message)
    };
    let absent = "corresponding condition of pod readiness gate \"x/y\" does not exist.";
    assert_eq!(message(&story), ("False".into(), Some(absent.into())));
    let set = |story: &mut Story, value: &str| {
        let gate = format!(r#"[{{"type": "x/y", "status": "{value}"}}]"#);
        story.pod.status.conditions = Some(serde_json::from_str(&gate).unwrap());
    };
    set(&mut story, "False");
    let closed = "the status of pod readiness gate \"x/y\" is not \"True\", but False";
    assert_eq!(message(&story), ("False".into(), Some(closed.into())));
    set(&mut story, "True");
    assert_eq!(message(&story), ("True".into(), None));
}

#[test]
fn a_refused_pods_status_is_of_the_generation_that_was_refused() {
    let mut pod = pod_of(r#"{"containers": [{"name": "c"}]}"#);
    pod.meta.generation = Some(2);
    let mut observed = Observed::new(at(0));
    observed.rejection = Some(Rejection { reason: "NodeAffinity", message: "Pod was rejected: no".into() });
    let status = status(&pod, &observed, &[], at(9));
    assert_eq!((status.observed_generation, status.phase.as_deref()), (Some(2), Some("Failed")));
}

#[test]
fn others_conditions_are_kept() {
    let pod = pod(
        r#"{"metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 3}, "spec": {"containers": [{"name": "c"}]},
            "status": {"qosClass": "BestEffort", "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "x/y", "status": "True"},
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-02T00:00:00Z"}]}}"#,
    );
    let status = status(&pod, &Observed::new(at(0)), &[], at(9));
    let conditions = status.conditions.unwrap();
    let kinds: Vec<&str> = conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(
        kinds,
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "x/y"]
    );
    let ready = &conditions[2];
    assert_eq!(ready.last_transition_time.as_ref().unwrap().0, "2026-01-02T00:00:00Z".parse().unwrap());
    assert_eq!((status.observed_generation, ready.observed_generation), (Some(3), Some(3)));
    let (scheduled, foreign) = (&conditions[4], &conditions[5]);
    assert_eq!((scheduled.observed_generation, foreign.observed_generation), (Some(3), None));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn a_running_container_shows_what_was_set_aside_for_it() {
    let spec = r#"{"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}"#;
    let mut story = Story::new(spec);
    let allocated =
        |story: &Story| story.container("c").allocated_resources.map(|amounts| amounts["cpu"].0.clone());
    assert_eq!(allocated(&story), None);
    story.set_up();
    story.started("c", 0);
    assert_eq!(allocated(&story).as_deref(), Some("1"));
    story.exited("c", 0, 1);
    assert_eq!(allocated(&story), None);
}

/// Gives the pod other resources, as the node has granted them.
fn grant(story: &mut Story, spec: &str) {
    let granted = Sizes::of(&pod_of(spec));
    story.pod = granted.applied(story.pod.clone());
    story.observed.resizing.granted = Some(Granted { generation: 2, error: None });
}

/// A container `c`, with its requests and limits of memory, and its policy for that.
fn of_memory(memory: &str, policy: &str) -> String {
    format!(
        r#"{{"containers": [{{"name": "c", "resizePolicy": [{{"resourceName": "memory", "restartPolicy": "{policy}"}}],
            "resources": {{"requests": {{"memory": "{memory}"}}, "limits": {{"memory": "{memory}"}}}}}}]}}"#
    )
}

/// The memory limit that the container is said to have.
fn memory(story: &Story) -> String {
    story.container("c").resources.unwrap().limits.unwrap()["memory"].0.clone()
}

#[test]
fn a_running_container_is_resized_as_it_is() {
    let mut story = Story::new(&of_memory("1Gi", "NotRequired"));
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    grant(&mut story, &of_memory("2Gi", "NotRequired"));
    story.check("Resize");
    assert_eq!(memory(&story), "1Gi", "until it has more");
    assert_eq!(story.condition("PodResizeInProgress"), "True");
    story.hear(Report::ResizeFailed { message: "no".into() }).check("");
    assert_eq!(story.condition("PodResizeInProgress"), "True Error");
    assert_eq!(story.wake, Some(at(1)));
    story.wait(1).check("Resize");
    let to = Arc::new(Sizes::of(&story.pod));
    story.hear(Report::Resized { to, containers: vec![("c".into(), "c0".into())] }).check("");
    assert_eq!((memory(&story).as_str(), story.brief("c").as_str()), ("2Gi", "running/-/0+"));
    assert!(!is_under_way(&story.pod, &story.observed));
}

#[test]
fn a_container_is_started_anew_where_its_policy_says_so() {
    let mut story = Story::new(&of_memory("1Gi", "RestartContainer"));
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    grant(&mut story, &of_memory("2Gi", "RestartContainer"));
    story.check("BeginStop(c: Resized), Terminate(c)");
    assert!(is_under_way(&story.pod, &story.observed));
    // Its pod has room for it before it begins.
    story.exited("c", 0, 0).check("Resize");
    let to = Arc::new(Sizes::of(&story.pod));
    story.hear(Report::Resized { to, containers: Vec::new() }).check("Start(c#1)");
    story.started("c", 1).check("");
    assert_eq!((memory(&story).as_str(), story.brief("c").as_str()), ("2Gi", "running/Completed:0/1+"));
}

#[test]
fn a_limit_of_the_pod_is_that_of_a_container_without_one() {
    let whole = |memory: &str| {
        format!(
            r#"{{"resources": {{"limits": {{"memory": "{memory}"}}}}, "containers": [{{"name": "c"}}, {{"name": "d"}}]}}"#
        )
    };
    let mut story = Story::new(&whole("1Gi"));
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("Start(d#0)");
    grant(&mut story, &whole("2Gi"));
    story.check("Resize");
    let changes = changes(&story.pod, &story.observed);
    let limits = |change: &skiff_runtime::Change| (change.from.memory_limit, change.to.memory_limit);
    let both = (Some(1 << 30), Some(2 << 30));
    assert_eq!(changes.pod.as_ref().map(limits), Some(both));
    let [(name, id, change)] = &changes.containers[..] else { panic!("{changes:?}") };
    assert_eq!(
        (name.as_str(), id.as_str(), limits(change)),
        ("c", "c0", both),
        "the other one is being started"
    );
    // A container that is started late begins with what there is then.
    story.exited("c", 0, 1).check("");
    story.hear(Report::Resized { to: Arc::new(Sizes::of(&story.pod)), containers: Vec::new() });
    story.check("Start(c#1)");
}

#[test]
fn events_tell_of_a_resize_as_the_kubelet_does() {
    let pod = pod_of(
        r#"{"initContainers": [{"name": "i"}], "ephemeralContainers": [{"name": "e"}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]}"#,
    );
    assert_eq!(
        event_message("Pod resize started", &pod, 3, ""),
        r#"Pod resize started: {"initContainers":[{"name":"i","resources":{}}],"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1"}}}],"generation":3}"#
    );
    let bare = pod_of(r#"{"containers": []}"#);
    assert_eq!(
        event_message("Pod resize error", &bare, 3, "no"),
        r#"Pod resize error: {"generation":3,"error":"no"}"#
    );
}
