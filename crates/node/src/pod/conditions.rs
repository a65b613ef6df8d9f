//! The conditions of a pod that the node owns.

use super::local::{LocalContainer, LocalPod, Role};
use super::observed::{Observed, Resizing, Stage};
use super::status::Phase;
use crate::time::api_time;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};

/// The node has no room yet for the resources that the pod asks for now.
pub(crate) const RESIZE_PENDING: &str = "PodResizePending";
/// The pod is being given the resources that it was granted.
pub(crate) const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";

/// All containers are being ended, to be started anew.
pub(crate) const ALL_RESTARTING: &str = "AllContainersRestarting";

/// One computed condition, before it is compared with the one that was reported last.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes(kind: &'static str) -> Self {
        Self { kind, holds: true, reason: None, message: None }
    }

    fn no(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self { kind, holds: false, reason: Some(reason), message }
    }
}

/// The node's conditions, then everybody else's as they are in the API.
pub(crate) fn conditions(
    pod: &LocalPod,
    observed: &Observed,
    phase: Phase,
    inits: &Option<Vec<ContainerStatus>>,
    mains: &Option<Vec<ContainerStatus>>,
    now: Timestamp,
) -> Vec<PodCondition> {
    let initialized = initialized(pod, phase, inits, mains);
    let containers_ready = containers_ready(pod, phase, inits, mains);
    let ready = ready(pod, &containers_ready);
    let has_sandbox = matches!(observed.sandbox, Stage::Ready(_));
    let sandboxed =
        Verdict { kind: "PodReadyToStartContainers", holds: has_sandbox, reason: None, message: None };
    let own = [sandboxed, initialized, ready, containers_ready].into_iter();
    let own: Vec<Verdict> = own.chain(restarting_all(pod, observed, phase)).collect();
    let before: Vec<&PodCondition> = pod.status.conditions.iter().flatten().collect();
    let mut list: Vec<PodCondition> = Vec::with_capacity(before.len() + own.len());
    for verdict in &own {
        let old = before.iter().find(|condition| condition.type_ == verdict.kind);
        list.push(condition(verdict, old.copied(), pod, now));
    }
    let scheduled = PodCondition {
        type_: "PodScheduled".into(),
        status: "True".into(),
        last_transition_time: Some(api_time(observed.started)),
        ..PodCondition::default()
    };
    if !phase.is_final() {
        list.extend(resize(observed, &before, now));
    }
    let is_own = |kind: &str| {
        [RESIZE_PENDING, RESIZE_IN_PROGRESS].contains(&kind) || own.iter().any(|verdict| verdict.kind == kind)
    };
    let others = before.iter().filter(|condition| !is_own(&condition.type_));
    list.extend(others.map(|condition| (*condition).clone()));
    if !list.iter().any(|condition| condition.type_ == "PodScheduled") {
        list.push(scheduled);
    }
    for condition in list.iter_mut().filter(|condition| condition.type_ == "PodScheduled") {
        condition.observed_generation = pod.meta.generation;
    }
    list
}

/// AllContainersRestarting: of pods that a rule of a container may start anew as a whole.
fn restarting_all(pod: &LocalPod, observed: &Observed, phase: Phase) -> Option<Verdict> {
    if !pod.containers.iter().any(LocalContainer::may_restart_all) {
        return None;
    }
    let no = |reason| Verdict { kind: ALL_RESTARTING, holds: false, reason, message: None };
    Some(match phase {
        Phase::Succeeded => no(Some("PodCompleted")),
        Phase::Failed => no(Some("PodFailed")),
        Phase::Pending | Phase::Running if observed.restarting_all => Verdict {
            reason: Some("RestartAllContainersStarted"),
            message: Some("container exited with restart policy rule".into()),
            ..Verdict::yes(ALL_RESTARTING)
        },
        Phase::Pending | Phase::Running => no(None),
    })
}

/// How far a change of the pod's resources has come. The time of a transition is that of the reason.
fn resize(observed: &Observed, before: &[&PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let condition = |kind: &str, generation: i64, reason: Option<&str>, message: Option<&String>| {
        let old = before.iter().find(|old| old.type_ == kind && old.reason.as_deref() == reason);
        PodCondition {
            type_: kind.into(),
            status: "True".into(),
            reason: reason.map(Into::into),
            message: message.cloned(),
            last_transition_time: old
                .and_then(|old| old.last_transition_time.clone())
                .or_else(|| Some(api_time(now))),
            last_probe_time: None,
            observed_generation: Some(generation),
        }
    };
    let Resizing { deferred, granted, .. } = &observed.resizing;
    let deferred = deferred.iter().map(|deferred| {
        condition(RESIZE_PENDING, deferred.generation, Some("Deferred"), Some(&deferred.message))
    });
    let granted = granted.iter().map(|granted| {
        let error = granted.error.as_ref();
        condition(RESIZE_IN_PROGRESS, granted.generation, error.map(|_| "Error"), error)
    });
    deferred.chain(granted).collect()
}

/// The API form of `verdict`; the transition time moves only when the status changes.
fn condition(verdict: &Verdict, old: Option<&PodCondition>, pod: &LocalPod, now: Timestamp) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let unchanged = old.filter(|old| old.status == status);
    PodCondition {
        type_: verdict.kind.into(),
        status: status.into(),
        reason: verdict.reason.map(Into::into),
        message: verdict.message.clone(),
        last_transition_time: unchanged
            .and_then(|old| old.last_transition_time.clone())
            .or_else(|| Some(api_time(now))),
        last_probe_time: None,
        observed_generation: pod.meta.generation,
    }
}

/// Whether the name is that of a sidecar.
fn is_sidecar(pod: &LocalPod, name: &str) -> bool {
    pod.with_role(Role::Sidecar).any(|container| container.name.as_str() == name)
}

/// Initialized: init containers have ended well, and sidecars have started.
fn initialized(
    pod: &LocalPod,
    phase: Phase,
    inits: &Option<Vec<ContainerStatus>>,
    mains: &Option<Vec<ContainerStatus>>,
) -> Verdict {
    if phase == Phase::Succeeded {
        return Verdict { reason: Some("PodCompleted"), ..Verdict::yes("Initialized") };
    }
    let mains_ran = mains.iter().flatten().any(|status| {
        let state = status.state.as_ref();
        state.is_some_and(|state| state.running.is_some()) || status.container_id.is_some()
    });
    let incomplete: Vec<&str> = inits
        .iter()
        .flatten()
        .filter(|status| {
            let ended_well = status
                .state
                .as_ref()
                .and_then(|state| state.terminated.as_ref())
                .is_some_and(|terminated| terminated.exit_code == 0);
            !(ended_well || is_sidecar(pod, &status.name) && status.started == Some(true))
        })
        .map(|status| status.name.as_str())
        .collect();
    if incomplete.is_empty() || mains_ran {
        return Verdict::yes("Initialized");
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Verdict::no("Initialized", "ContainersNotInitialized", Some(message))
}

fn containers_ready(
    pod: &LocalPod,
    phase: Phase,
    inits: &Option<Vec<ContainerStatus>>,
    mains: &Option<Vec<ContainerStatus>>,
) -> Verdict {
    match phase {
        Phase::Succeeded => return Verdict::no("ContainersReady", "PodCompleted", None),
        Phase::Failed => return Verdict::no("ContainersReady", "PodFailed", None),
        Phase::Pending | Phase::Running => {}
    }
    let unready_inits =
        inits.iter().flatten().filter(|status| !status.ready && is_sidecar(pod, &status.name));
    let unready_mains = mains.iter().flatten().filter(|status| !status.ready);
    let unready: Vec<&str> = unready_inits.chain(unready_mains).map(|status| status.name.as_str()).collect();
    if unready.is_empty() {
        return Verdict::yes("ContainersReady");
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::no("ContainersReady", "ContainersNotReady", Some(message))
}

/// Ready: all containers are, and every readiness gate holds.
fn ready(pod: &LocalPod, containers: &Verdict) -> Verdict {
    if !containers.holds {
        return Verdict::no(
            "Ready",
            containers.reason.unwrap_or("ContainersNotReady"),
            containers.message.clone(),
        );
    }
    let closed: Vec<String> = pod
        .spec
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            let condition = pod.status.conditions.iter().flatten().find(|c| c.type_ == gate.condition_type);
            match condition {
                None => Some(format!(
                    "corresponding condition of pod readiness gate \"{}\" does not exist.",
                    gate.condition_type
                )),
                Some(condition) if condition.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                    gate.condition_type, condition.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    if closed.is_empty() {
        Verdict::yes("Ready")
    } else {
        Verdict::no("Ready", "ReadinessGatesNotReady", Some(closed.join(", ")))
    }
}
