//! Computes the status of a pod: `(LocalPod, Observed, node addresses, now) → PodStatus`, a pure function.

use super::conditions::conditions;
use super::local::{LocalContainer, LocalPod, Role};
use super::observed::{
    ContainerState, EndCause, Finished, Hook, Observed, RESTARTING_ALL, Run, Running, Stage, StartError,
};
use super::resources;
use crate::time::{api_time, go_duration};
use crate::volumes::mounts::is_recursive;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, ContainerUser, HostIP, ImageVolumeStatus, LinuxContainerUser, PodIP, PodStatus,
    VolumeMountStatus, VolumeStatus,
};
use skiff_runtime::UserSpec;
use std::net::IpAddr;

/// The scheme of container IDs in statuses.
pub(crate) const ID_SCHEME: &str = "skiff://";

/// The phase of a pod's life as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    /// The name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }

    /// Whether the pod will not run again.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The status to report at `now`; `host_ips` are the node's addresses, primary first.
pub(crate) fn status(pod: &LocalPod, observed: &Observed, host_ips: &[IpAddr], now: Timestamp) -> PodStatus {
    if let Some(rejection) = &observed.rejection {
        return PodStatus {
            phase: Some(Phase::Failed.as_str().into()),
            reason: Some(rejection.reason.into()),
            message: Some(rejection.message.clone()),
            start_time: Some(api_time(observed.started)),
            conditions: pod.status.conditions.clone(),
            qos_class: pod.status.qos_class.clone(),
            observed_generation: pod.meta.generation,
            ..PodStatus::default()
        };
    }
    let of_roles = |roles: &[Role]| {
        let chosen = pod.containers.iter().filter(|c| roles.contains(&c.role));
        let list: Vec<_> = chosen.map(|c| container_status(pod, c, observed)).collect();
        (!list.is_empty()).then_some(list)
    };
    let inits = of_roles(&[Role::Init, Role::Sidecar]);
    let mains = of_roles(&[Role::Main]);
    let ephemerals = of_roles(&[Role::Ephemeral]);
    let phase = phase(pod, observed);
    let ips = pod_ips(pod, observed, host_ips);
    let (reason, message) = cut_short(observed).unzip();
    PodStatus {
        phase: Some(phase.as_str().into()),
        reason: reason.map(Into::into),
        message: message.map(Into::into),
        conditions: Some(conditions(pod, observed, phase, &inits, &mains, now)),
        container_statuses: mains,
        init_container_statuses: inits,
        ephemeral_container_statuses: ephemerals,
        host_ip: host_ips.first().map(ToString::to_string),
        host_ips: Some(host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        start_time: Some(api_time(observed.started)),
        qos_class: pod.status.qos_class.clone(),
        observed_generation: pod.meta.generation,
        resources: Some(resources::in_force(pod, observed)),
        allocated_resources: Some(resources::allocated(pod)).filter(|amounts| !amounts.is_empty()),
        ..PodStatus::default()
    }
}

/// Reason and message of a pod that the node ended before its time.
fn cut_short(observed: &Observed) -> Option<(&'static str, &str)> {
    match observed.ending.as_ref()?.cause {
        EndCause::DeadlineExceeded => {
            Some(("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"))
        }
        EndCause::Evicted => Some(("Evicted", observed.eviction.as_deref().unwrap_or_default())),
        EndCause::Deleted | EndCause::Completed => None,
    }
}

/// The pod's addresses; a pod that has ended keeps those it had.
fn pod_ips(pod: &LocalPod, observed: &Observed, host_ips: &[IpAddr]) -> Vec<String> {
    match &observed.sandbox {
        Stage::Ready(_) if pod.host_network() => host_ips.iter().map(ToString::to_string).collect(),
        Stage::Ready(ips) => ips.iter().map(ToString::to_string).collect(),
        _ if observed.ending.is_some() => {
            let known = pod.status.pod_ips.iter().flatten().map(|ip| ip.ip.clone());
            known.collect()
        }
        _ => Vec::new(),
    }
}

/// The pod's phase, from what its containers do.
pub(crate) fn phase(pod: &LocalPod, observed: &Observed) -> Phase {
    if let Some(known) = pod.status.phase.as_deref().and_then(Phase::parse).filter(|phase| phase.is_final()) {
        return known;
    }
    let over = observed.ended();
    if over && cut_short(observed).is_some() {
        return Phase::Failed;
    }
    if over {
        let succeeded = |c: &LocalContainer| {
            let state = observed.container(&c.name);
            state.run == Run::Exited && state.newest_end().is_some_and(|end| end.exit_code == 0)
        };
        let all = pod.containers.iter().filter(|c| matches!(c.role, Role::Init | Role::Main)).all(succeeded);
        return if all { Phase::Succeeded } else { Phase::Failed };
    }
    let initialized =
        pod.containers.iter().filter(|c| matches!(c.role, Role::Init | Role::Sidecar)).all(|c| {
            let state = observed.container(&c.name);
            match c.role {
                Role::Init => {
                    state.newest_end().is_some_and(|end| end.exit_code == 0) && state.run == Run::Exited
                }
                _ => state.attempts > 0,
            }
        });
    // A container that ran before counts, even while it waits to be started again.
    let any_never_ran = pod.with_role(Role::Main).any(|c| {
        let state = observed.container(&c.name);
        state.ends.is_empty() && state.running().is_none()
    });
    let any_ran = pod.with_role(Role::Main).any(|c| observed.container(&c.name).attempts > 0);
    if (initialized || any_ran) && !any_never_ran { Phase::Running } else { Phase::Pending }
}

/// The status of one container.
pub(crate) fn container_status(
    pod: &LocalPod,
    container: &LocalContainer,
    observed: &Observed,
) -> ContainerStatus {
    let state = observed.container(&container.name);
    let (current, last) = states(pod, container, state, observed);
    let ready = is_ready(container, state);
    let requests = container.spec.resources.as_ref().and_then(|resources| resources.requests.clone());
    let allocated_resources = requests.filter(|_| current.running.is_some());
    let id = match &state.run {
        Run::Running(running) => Some(running.id.as_str()),
        _ => state.newest_end().map(|end| end.id.as_str()),
    };
    ContainerStatus {
        name: container.name.to_string(),
        image: match &state.image {
            Some(image) => image.name.clone(),
            None => container.spec.image.clone().unwrap_or_default(),
        },
        image_id: state.image.as_ref().map(|image| image.id.clone()).unwrap_or_default(),
        container_id: id.filter(|id| !id.is_empty()).map(|id| format!("{ID_SCHEME}{id}")),
        ready,
        started: (container.role != Role::Ephemeral).then(|| has_started(container, state)),
        restart_count: i32::try_from(state.attempts.saturating_sub(1)).unwrap_or(i32::MAX),
        state: Some(current),
        last_state: Some(last.map_or_else(ApiState::default, terminated)),
        resources: match &state.run {
            Run::Running(_) => state.sizes.clone().or_else(|| container.spec.resources.clone()),
            _ => container.spec.resources.clone(),
        },
        allocated_resources,
        volume_mounts: volume_mounts(container, state),
        user: state.user.as_ref().map(user),
        ..ContainerStatus::default()
    }
}

fn user(user: &UserSpec) -> ContainerUser {
    let groups: Vec<i64> = user.groups.iter().copied().map(i64::from).collect();
    ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: user.uid.into(),
            gid: user.gid.into(),
            supplemental_groups: (!groups.is_empty()).then_some(groups),
        }),
    }
}

fn volume_mounts(container: &LocalContainer, state: &ContainerState) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.spec.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = mounts.iter().map(|mount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true))
            .then(|| if is_recursive(mount) { "Enabled" } else { "Disabled" }.into()),
        volume_status: state
            .volume_images
            .get(&mount.name)
            .map(|image| VolumeStatus { image: Some(ImageVolumeStatus { image_ref: image.clone() }) }),
    });
    Some(status.collect())
}

/// Whether the container runs, its start hook is through and its startup probe passed.
pub(crate) fn has_started(container: &LocalContainer, state: &ContainerState) -> bool {
    state.running().is_some_and(|running| running_started(container, running))
}

fn running_started(container: &LocalContainer, running: &Running) -> bool {
    running.post_start == Hook::Done
        && (container.spec.startup_probe.is_none() || running.startup == Some(true))
}

/// Whether the container counts as ready.
pub(crate) fn is_ready(container: &LocalContainer, state: &ContainerState) -> bool {
    match (container.role, &state.run) {
        (Role::Init, Run::Exited) => state.newest_end().is_some_and(|end| end.exit_code == 0),
        (Role::Main | Role::Sidecar, Run::Running(running)) => {
            running_started(container, running)
                && (container.spec.readiness_probe.is_none() || running.readiness == Some(true))
        }
        _ => false,
    }
}

/// The current state and how the attempt before it ended.
fn states<'a>(
    pod: &LocalPod,
    container: &LocalContainer,
    state: &'a ContainerState,
    observed: &Observed,
) -> (ApiState, Option<&'a Finished>) {
    let newest = state.newest_end();
    let older = state.ends.len().checked_sub(2).and_then(|index| state.ends.get(index));
    if let Run::Running(running) = &state.run {
        let started_at = Some(api_time(running.started_at));
        return (
            ApiState { running: Some(ContainerStateRunning { started_at }), ..ApiState::default() },
            newest,
        );
    }
    if observed.ended() && state.run == Run::Waiting {
        return match newest {
            Some(end) => (terminated(end), older),
            None if was_due(pod, container, observed) => (never_located(), None),
            None => (not_begun(pod), None),
        };
    }
    if state.awaits_restart_of_all() && !observed.ended() {
        return (waiting(RESTARTING_ALL, newest.map(|end| end.message.clone())), newest);
    }
    if let Some(failure) = state.failure.as_ref().filter(|_| state.run == Run::Waiting) {
        let image = failure.image.as_deref().or(container.spec.image.as_deref()).unwrap_or_default();
        let back_off = failure.announced && failure.reason == StartError::ErrImagePull;
        return if back_off {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", failure.message);
            (waiting("ImagePullBackOff", Some(message)), newest)
        } else {
            (waiting(failure.shown_reason(), Some(failure.message.clone())), newest)
        };
    }
    match (&state.run, newest) {
        (Run::Exited, Some(end)) if state.backoff_noted && observed.ending.is_none() => {
            let delay = go_duration(state.crash_backoff.delay(end.finished_at));
            let message = format!(
                "back-off {delay} restarting failed container={} pod={}",
                container.name,
                pod.full_name()
            );
            (waiting("CrashLoopBackOff", Some(message)), newest)
        }
        (Run::Exited | Run::Starting, Some(end)) => (terminated(end), older),
        _ => (not_begun(pod), newest),
    }
}

/// The state of a container before anything was done for it.
fn not_begun(pod: &LocalPod) -> ApiState {
    waiting(reason_not_begun(pod), None)
}

/// Why a container waits before anything was done for it.
pub(crate) fn reason_not_begun(pod: &LocalPod) -> &'static str {
    if init_containers(pod).next().is_some() { "PodInitializing" } else { "ContainerCreating" }
}

fn init_containers(pod: &LocalPod) -> impl DoubleEndedIterator<Item = &LocalContainer> {
    pod.containers.iter().filter(|c| matches!(c.role, Role::Init | Role::Sidecar))
}

/// Whether it had been a container's turn to run when its pod ended, by the rules of the kubelet: a main container's
/// once the pod was initialized, an init container's when it is the first or a later one has run.
fn was_due(pod: &LocalPod, container: &LocalContainer, observed: &Observed) -> bool {
    let has_run = |c: &LocalContainer| {
        let state = observed.container(&c.name);
        state.run != Run::Waiting || state.newest_end().is_some()
    };
    if !matches!(container.role, Role::Init | Role::Sidecar) {
        let last_done = init_containers(pod).next_back().is_none_or(|last| {
            let state = observed.container(&last.name);
            has_started(last, state) || state.newest_end().is_some_and(|end| end.exit_code == 0)
        });
        return observed.initialized || last_done || pod.with_role(Role::Main).any(has_run);
    }
    let from_here = init_containers(pod).skip_while(|c| c.name != container.name).any(has_run);
    from_here || init_containers(pod).next().is_some_and(|first| first.name == container.name)
}

fn waiting(reason: &str, message: Option<String>) -> ApiState {
    ApiState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }),
        ..ApiState::default()
    }
}

fn terminated(end: &Finished) -> ApiState {
    ApiState {
        terminated: Some(ContainerStateTerminated {
            container_id: (!end.id.is_empty()).then(|| format!("{ID_SCHEME}{}", end.id)),
            exit_code: end.exit_code,
            reason: Some(end.reason.clone()),
            message: (!end.message.is_empty()).then(|| end.message.clone()),
            started_at: Some(api_time(end.started_at.unwrap_or(Timestamp::UNIX_EPOCH))),
            finished_at: Some(api_time(end.finished_at)),
            signal: None,
        }),
        ..ApiState::default()
    }
}

/// The state of a container that never ran in a pod that has ended.
fn never_located() -> ApiState {
    ApiState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            ..ContainerStateTerminated::default()
        }),
        ..ApiState::default()
    }
}
