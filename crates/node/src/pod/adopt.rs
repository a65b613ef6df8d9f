//! Rebuilds what is known of a pod after a restart of the agent, so that nothing of it is restarted.

use super::conditions::{ALL_RESTARTING, RESIZE_IN_PROGRESS, RESIZE_PENDING};
use super::local::{LocalContainer, LocalPod, Role};
use super::observed::{
    ContainerState, Deferred, EndCause, Ending, Finished, Granted, Hook, ImageRef, Observed, RESTARTING_ALL,
    Resizing, Run, Running, Stage,
};
use super::sizes::Sizes;
use super::status::ID_SCHEME;
use crate::backoff::Backoff;
use crate::ids::ContainerName;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus as ApiStatus, PodCondition};
use skiff_ordered::Ordered as _;
use skiff_runtime::{ContainerState as RuntimeContainer, ContainerStatus, PodState};
use std::net::IpAddr;
use std::sync::Arc;

/// A pod that runs in the runtime. `end_of` turns the state of an ended container into its end.
pub(crate) fn adopted(
    pod: &LocalPod,
    state: &PodState,
    addresses: Vec<IpAddr>,
    now: Timestamp,
    end_of: impl Fn(&RuntimeContainer) -> Option<Finished>,
) -> Observed {
    let mut observed = remembered(pod, now, true);
    observed.volumes = Stage::Ready(());
    observed.sandbox = Stage::Ready(addresses);
    observed.resizing.group = Some(Arc::new(Sizes::of(pod)));
    let mut runs: Vec<&RuntimeContainer> = state.containers.iter().collect();
    skiff_ordered::sort_by_key(&mut runs, |run| run.attempt);
    for run in runs {
        let container = observed.containers.entry(name_of(run)).or_default();
        observed.initialized |= pod.container(&name_of(run)).is_some_and(|c| c.role == Role::Main);
        container.attempts = container.attempts.max(run.attempt + 1);
        container.spec_image = Some(run.image_ref.clone());
        container.sizes = pod.container(&name_of(run)).map(|c| c.spec.resources.clone().unwrap_or_default());
        container.user = Some(run.user.clone());
        if container.image.is_none() {
            container.image = Some(ImageRef { name: run.image_ref.clone(), id: run.image.to_string() });
        }
        match &run.status {
            // Its creation died with the former agent; it is made again.
            ContainerStatus::Created => container.run = Run::Waiting,
            ContainerStatus::Running { started_at, .. } => {
                container.run = Run::Running(running(pod, run, *started_at));
            }
            ContainerStatus::Exited { .. } => {
                container.run = Run::Exited;
                if let Some(end) = end_of(run) {
                    add_end(container, end);
                }
            }
        }
        let excess = container.ends.len().saturating_sub(2);
        container.ends.drain(..excess);
    }
    // All are started anew, and it is not the main containers' turn yet.
    let awaited = pod.with_role(Role::Main).any(|c| observed.container(&c.name).awaits_restart_of_all());
    observed.initialized &= !awaited;
    observed.restarting_all = observed.ending.is_none() && restarts_all(pod, &observed);
    observed
}

/// Whether the former agent had begun to start all containers anew, or one has ended since that asks for it.
fn restarts_all(pod: &LocalPod, observed: &Observed) -> bool {
    let begun = |condition: &PodCondition| condition.type_ == ALL_RESTARTING && condition.status == "True";
    let asks = |container: &LocalContainer| {
        let state = observed.container(&container.name);
        let end = state.newest_end().filter(|end| state.run == Run::Exited && end.reason != RESTARTING_ALL);
        end.is_some_and(|end| container.restarts_all_after(end.exit_code))
    };
    pod.status.conditions.iter().flatten().any(begun) || pod.containers.iter().any(asks)
}

/// Adds an end that the API may know already. One that is news means that its pause was not announced yet.
fn add_end(container: &mut ContainerState, end: Finished) {
    if container.ends.iter().any(|known| known.id == end.id) {
        return;
    }
    let is_newest = container.ends.iter().all(|known| known.finished_at < end.finished_at);
    container.backoff_noted &= !is_newest;
    container.ends.push(end);
    skiff_ordered::sort_by_key(&mut container.ends, |end| end.finished_at);
}

fn name_of(run: &RuntimeContainer) -> ContainerName {
    ContainerName::from(run.name.as_str())
}

/// A pod of which nothing runs here: new, or left over from before a restart of the machine.
pub(crate) fn fresh(pod: &LocalPod, now: Timestamp) -> Observed {
    remembered(pod, now, pod.finished_in_api())
}

/// What the API remembers of a pod. What ended stays ended only if `keep_ends`: otherwise its sandbox is gone, and
/// it has to run again.
fn remembered(pod: &LocalPod, now: Timestamp, keep_ends: bool) -> Observed {
    let started = pod.status.start_time.as_ref().map_or(now, |time| time.0);
    let mut observed = Observed::new(started);
    if pod.finished_in_api() {
        observed.ending = Some(Ending { cause: EndCause::Completed, since: now });
    }
    observed.resizing = resizing(pod);
    let lists = [
        &pod.status.init_container_statuses,
        &pod.status.container_statuses,
        &pod.status.ephemeral_container_statuses,
    ];
    for status in lists.into_iter().flatten().flatten() {
        let container = from_api(status, keep_ends);
        observed.containers.insert(ContainerName::from(status.name.as_str()), container);
    }
    observed
}

/// What the API remembers of a change of the pod's resources.
fn resizing(pod: &LocalPod) -> Resizing {
    let condition = |kind: &str| {
        let known = pod.status.conditions.iter().flatten().find(|condition| condition.type_ == kind)?;
        Some((known.observed_generation.unwrap_or_default(), known.message.clone().unwrap_or_default()))
    };
    let granted = condition(RESIZE_IN_PROGRESS);
    let deferred = condition(RESIZE_PENDING);
    Resizing {
        granted: granted.map(|(generation, message)| Granted {
            generation,
            error: Some(message).filter(|message| !message.is_empty()),
        }),
        deferred: deferred.map(|(generation, message)| Deferred { generation, reason: "Deferred", message }),
        ..Resizing::default()
    }
}

/// What the API remembers of a container.
fn from_api(status: &ApiStatus, keep_ends: bool) -> ContainerState {
    let mut container = ContainerState::default();
    if !status.image_id.is_empty() {
        container.image = Some(ImageRef { name: status.image.clone(), id: status.image_id.clone() });
    }
    let shown = status.volume_mounts.iter().flatten().filter_map(|mount| {
        let image = mount.volume_status.as_ref()?.image.as_ref()?;
        Some((mount.name.clone(), image.image_ref.clone()))
    });
    container.volume_images = shown.one_by_one();
    let states = [&status.last_state, &status.state];
    let ends =
        states.into_iter().flatten().filter_map(|state| state.terminated.as_ref()).map(|end| Finished {
            id: end.container_id.as_deref().unwrap_or_default().trim_start_matches(ID_SCHEME).to_owned(),
            exit_code: end.exit_code,
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone().unwrap_or_default(),
            started_at: end.started_at.as_ref().map(|time| time.0),
            finished_at: end.finished_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        });
    container.ends = ends.collect();
    let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
    let restarts = u32::try_from(status.restart_count).unwrap_or(0);
    if running || !container.ends.is_empty() {
        container.attempts = restarts + 1;
    }
    if keep_ends && !running && !container.ends.is_empty() {
        container.run = Run::Exited;
    }
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let backs_off = waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    if let Some(end) = container.ends.last().filter(|_| backs_off) {
        container.crash_backoff = Backoff::after_failures(restarts, end.finished_at);
        container.backoff_noted = true;
    }
    container
}

/// A running container: its hook was run and its probes had their say as far as the API tells.
fn running(pod: &LocalPod, run: &RuntimeContainer, started_at: Timestamp) -> Running {
    let lists = [&pod.status.init_container_statuses, &pod.status.container_statuses];
    let known = lists.into_iter().flatten().flatten().find(|status| status.name == run.name);
    let same =
        known.filter(|status| status.container_id.as_deref() == Some(&format!("{ID_SCHEME}{}", run.id)));
    let container = pod.containers.iter().find(|container| container.name.as_str() == run.name);
    let has_readiness = container.is_some_and(|c| c.spec.readiness_probe.is_some() && c.role != Role::Init);
    Running {
        id: run.id.to_string(),
        started_at,
        post_start: Hook::Done,
        startup: same.and_then(|status| status.started).filter(|started| *started),
        readiness: same.map(|status| status.ready).filter(|_| has_readiness),
        doomed: None,
        stop: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::finish::finished;
    use crate::pod::step::{Step, plan};
    use crate::pod::testing::{at, pod};
    use skiff_runtime::{ContainerId, ImageId};

    fn run(attempt: u32, id: char, status: ContainerStatus) -> RuntimeContainer {
        RuntimeContainer {
            id: ContainerId::new(id.to_string().repeat(64)).unwrap(),
            name: "c".into(),
            attempt,
            image: ImageId::new(format!("sha256:{}", "a".repeat(64))).unwrap(),
            image_ref: "i".into(),
            log_path: "/dev/null".into(),
            status,
            tty: false,
            user: Default::default(),
            labels: Default::default(),
        }
    }

    #[test]
    fn a_crashing_container_keeps_its_count_and_its_pause() {
        let pod = pod(r#"{"metadata": {"name": "p", "namespace": "ns", "uid": "u"},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
                "status": {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 128, "finishedAt": "1970-01-12T13:46:40Z"}}}]}}"#);
        // The runtime still has an older attempt, which the API does not show any more.
        let older = ContainerStatus::Exited {
            code: 1,
            signal: None,
            oom_killed: false,
            started_at: at(-9),
            finished_at: at(-8),
        };
        for containers in [Vec::new(), vec![run(1, 'a', older)]] {
            let state = PodState { containers, supervised: true };
            let end_of = |run: &RuntimeContainer| finished(None, run, String::new);
            let observed = adopted(&pod, &state, Vec::new(), at(9), end_of);
            let early = plan(&pod, &observed, at(9));
            assert_eq!((early.steps, early.wake), (Vec::new(), Some(at(20))));
            let due = plan(&pod, &observed, at(20));
            assert_eq!(due.steps, [Step::Start { container: "c".into(), attempt: 3 }]);
        }
    }

    #[test]
    fn a_start_of_all_containers_anew_goes_on() {
        let rule = r#"{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}"#;
        let adopt = |status: &str, code: i32| {
            let pod = pod(&format!(
                r#"{{"metadata": {{"name": "p", "namespace": "ns", "uid": "u"}}, "status": {status},
                    "spec": {{"restartPolicy": "Never", "initContainers": [{{"name": "i"}}],
                              "containers": [{{"name": "c", "restartPolicy": "Never", "restartPolicyRules": [{rule}]}}]}}}}"#
            ));
            let ended = ContainerStatus::Exited {
                code,
                signal: None,
                oom_killed: false,
                started_at: at(0),
                finished_at: at(1),
            };
            let state = PodState { containers: vec![run(0, 'a', ended)], supervised: true };
            let end_of = |run: &RuntimeContainer| finished(None, run, String::new);
            let observed = adopted(&pod, &state, Vec::new(), at(9), end_of);
            plan(&pod, &observed, at(9)).steps
        };
        assert_eq!(adopt("{}", 42), [Step::RestartAll], "it ended while no agent looked");
        let begun = r#"{"conditions": [{"type": "AllContainersRestarting", "status": "True"}]}"#;
        assert_eq!(adopt(begun, 0), [Step::RestartAll]);
        let id = "a".repeat(64);
        let through = format!(
            r#"{{"containerStatuses": [{{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {{"waiting": {{"reason": "RestartingAllContainers"}}}},
                "lastState": {{"terminated": {{"exitCode": 137, "reason": "RestartingAllContainers", "containerID": "skiff://{id}"}}}}}}]}}"#
        );
        assert_eq!(adopt(&through, 42), [Step::Start { container: "i".into(), attempt: 0 }]);
        assert_eq!(adopt("{}", 0), [Step::End(EndCause::Completed)]);
    }

    #[test]
    fn a_running_pod_goes_on_untouched() {
        let pod = pod(r#"{"metadata": {"name": "p", "namespace": "ns", "uid": "u"},
                "spec": {"containers": [{"name": "c", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}]},
                "status": {"startTime": "2026-01-01T00:00:00Z"}}"#);
        let ended = ContainerStatus::Exited {
            code: 1,
            signal: None,
            oom_killed: false,
            started_at: at(0),
            finished_at: at(1),
        };
        let state = PodState {
            containers: vec![
                run(0, 'a', ended),
                run(1, 'b', ContainerStatus::Running { pid: 7, started_at: at(2) }),
            ],
            supervised: true,
        };
        let end_of = |run: &RuntimeContainer| finished(None, run, String::new);
        let observed = adopted(&pod, &state, vec!["10.0.0.1".parse().unwrap()], at(9), end_of);
        let plan = plan(&pod, &observed, at(9));
        assert!(plan.steps.is_empty(), "{plan:?}");
        let container = observed.container(&"c".into());
        assert_eq!((container.attempts, container.ends.len()), (2, 1));
        assert_eq!(observed.started, "2026-01-01T00:00:00Z".parse().unwrap());
    }
}
