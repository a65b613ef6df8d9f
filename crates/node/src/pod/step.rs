//! Decides what to do next for a pod: `(LocalPod, Observed, now) → Plan`, a pure function.
//!
//! The order is the kubelet's: volumes, sandbox, init containers one after the other (a sidecar only has to
//! have started), main containers in order, then restarts as the policy says. A pod that ends has its
//! containers stopped (sidecars last), then its sandbox, its volumes, and, when it was deleted, the API object.

use super::local::{LocalContainer, LocalPod, Role};
use super::observed::{EndCause, Ending, Hook, Observed, Run, Running, Stage, StartError, StopCause};
use super::resize;
use crate::ids::ContainerName;
use crate::time::{after, seconds};
use jiff::Timestamp;
use std::time::Duration;

/// One thing to do. The worker performs it and reports back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Begin to end the pod.
    End(EndCause),
    MountVolumes,
    StartSandbox,
    /// Resolve the image, compute the configuration, create and start the container.
    Start {
        container: ContainerName,
        attempt: u32,
    },
    PostStart {
        container: ContainerName,
    },
    /// Announce that a container is to be stopped.
    BeginStop {
        container: ContainerName,
        cause: StopCause,
    },
    /// Run the hook, which must end by `deadline`.
    PreStop {
        container: ContainerName,
        deadline: Timestamp,
    },
    /// Send the stop signal.
    Terminate {
        container: ContainerName,
    },
    Kill {
        container: ContainerName,
    },
    NoteCrashBackOff {
        container: ContainerName,
    },
    NoteImageBackOff {
        container: ContainerName,
    },
    /// Everything has ended: have all containers started anew, init containers first.
    RestartAll,
    /// Give the pod's groups what it was granted.
    Resize,
    StopSandbox,
    UnmountVolumes,
    /// Delete the API object, after its last status was written.
    DeleteObject,
    RemoveFiles,
}

/// What to do now and when to look again if nothing happens before.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) wake: Option<Timestamp>,
    /// Nothing of the pod is left; its worker may go.
    pub(crate) done: bool,
}

/// How long `ErrImagePull` is shown before it becomes `ImagePullBackOff`.
pub(crate) const PULL_ERROR_SHOWN: Duration = Duration::from_secs(2);
/// The least time between the stop signal and the kill.
const LEAST_STOP_TIME: Duration = Duration::from_secs(2);
/// The least grace of a pod's end.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// The steps that may begin at `now`.
pub(crate) fn plan(pod: &LocalPod, observed: &Observed, now: Timestamp) -> Plan {
    let mut planner = Planner { pod, observed, now, plan: Plan::default() };
    if observed.rejection.is_none() {
        match &observed.ending {
            None => planner.live(),
            Some(ending) => planner.wind_down(ending),
        }
    }
    if observed.ended() {
        planner.tear_down();
    }
    planner.plan
}

struct Planner<'a> {
    pod: &'a LocalPod,
    observed: &'a Observed,
    now: Timestamp,
    plan: Plan,
}

/// How far a container has come, as far as the containers after it are concerned.
#[derive(PartialEq)]
enum Progress {
    /// Whatever waits for it may go on.
    Passed,
    Underway,
    /// Ended and will not be started again.
    Over {
        ok: bool,
    },
}

impl Planner<'_> {
    fn step(&mut self, step: Step) {
        self.plan.steps.push(step);
    }

    fn wake_at(&mut self, at: Timestamp) {
        if self.plan.wake.is_none_or(|wake| at < wake) {
            self.plan.wake = Some(at);
        }
    }

    /// Whether `at` has come; if not, arranges to look again then.
    fn due(&mut self, at: Timestamp) -> bool {
        if self.now >= at {
            return true;
        }
        self.wake_at(at);
        false
    }

    fn live(&mut self) {
        if self.observed.removed || self.pod.deleting() {
            return self.step(Step::End(EndCause::Deleted));
        }
        if self.observed.eviction.is_some() {
            return self.step(Step::End(EndCause::Evicted));
        }
        if let Some(deadline) = self.pod.active_deadline(self.observed.started)
            && self.due(deadline)
        {
            return self.step(Step::End(EndCause::DeadlineExceeded));
        }
        if !self.ready(&self.observed.volumes.clone(), Step::MountVolumes) {
            return;
        }
        if !self.ready(&self.observed.sandbox.clone(), Step::StartSandbox) {
            return;
        }
        self.resize();
        if self.observed.restarting_all {
            return self.restart_all();
        }
        match self.initialize() {
            Progress::Passed => self.run_main(),
            Progress::Underway => {}
            Progress::Over { .. } => self.step(Step::End(EndCause::Completed)),
        }
    }

    /// Whether `stage` is set up; if not, begins `setup` unless it is under way or waits to be retried.
    fn ready<T>(&mut self, stage: &Stage<T>, setup: Step) -> bool {
        match stage {
            Stage::Ready(_) => return true,
            Stage::Working { .. } => {}
            Stage::Absent | Stage::Gone => self.step(setup),
            Stage::Failed { retry_at, .. } => {
                if self.due(*retry_at) {
                    self.step(setup);
                }
            }
        }
        false
    }

    /// Brings the groups to what the pod was granted.
    fn resize(&mut self) {
        if resize::changes(self.pod, self.observed).is_empty() {
            return;
        }
        let due = match self.observed.resizing.work {
            Stage::Working { .. } => false,
            Stage::Failed { retry_at, .. } => self.due(retry_at),
            Stage::Absent | Stage::Ready(()) | Stage::Gone => true,
        };
        if due {
            self.step(Step::Resize);
        }
    }

    /// Whether the groups are being changed; a container that grows needs the room that its pod is getting.
    fn resizes(&self) -> bool {
        matches!(self.observed.resizing.work, Stage::Working { .. })
            || self.plan.steps.contains(&Step::Resize)
    }

    /// Kills what runs, without hooks and without grace, and has all containers started anew once the one whose end asked
    /// for it may be.
    fn restart_all(&mut self) {
        let (pod, observed) = (self.pod, self.observed);
        let concerned = || pod.containers.iter().filter(|c| c.role != Role::Ephemeral);
        for container in concerned() {
            let Some(running) = observed.container(&container.name).running() else { continue };
            let container = container.name.clone();
            match &running.stop {
                None => self.step(Step::BeginStop { container, cause: StopCause::AllRestart }),
                Some(stop) if !stop.killed => self.step(Step::Kill { container }),
                Some(_) => {}
            }
        }
        if concerned().any(|c| observed.container(&c.name).is_up()) {
            return;
        }
        let ready_at = |container: &LocalContainer| {
            let state = observed.container(&container.name);
            let end = state.newest_end().filter(|end| container.restarts_all_after(end.exit_code))?;
            Some(state.crash_backoff.ready_at(end.finished_at))
        };
        if concerned().filter_map(ready_at).max().is_none_or(|at| self.due(at)) {
            self.step(Step::RestartAll);
        }
    }

    /// Runs the init containers in order.
    fn initialize(&mut self) -> Progress {
        let pod = self.pod;
        let initialized = self.observed.initialized;
        for container in pod.containers.iter().filter(|c| matches!(c.role, Role::Init | Role::Sidecar)) {
            if container.role == Role::Init && initialized {
                continue;
            }
            match (container.role, self.drive(container)) {
                (Role::Sidecar, Progress::Passed) | (Role::Init, Progress::Over { ok: true }) => {}
                (Role::Sidecar, _) if initialized => {}
                // It runs, and must end before others start.
                (_, Progress::Passed) => return Progress::Underway,
                (_, other) => return other,
            }
        }
        Progress::Passed
    }

    /// Runs main containers and ephemeral ones; ends the pod when the main ones are through.
    fn run_main(&mut self) {
        let pod = self.pod;
        let mut all_over = true;
        for container in pod.with_role(Role::Main) {
            let progress = self.drive(container);
            all_over &= matches!(progress, Progress::Over { .. });
            // The next one waits while this one is being started, not while it waits for a retry.
            let state = self.observed.container(&container.name);
            let starting = state.run == Run::Starting
                || self.plan.steps.iter().any(|step| matches!(step, Step::Start { .. }))
                || state
                    .running()
                    .is_some_and(|running| running.post_start != Hook::Done && running.stop.is_none());
            if starting {
                return;
            }
        }
        for container in pod.with_role(Role::Ephemeral) {
            self.drive(container);
        }
        if all_over {
            self.step(Step::End(EndCause::Completed));
        }
    }

    /// Moves one container on and says how far it has come.
    fn drive(&mut self, container: &LocalContainer) -> Progress {
        let state = self.observed.container(&container.name);
        match &state.run {
            Run::Starting => Progress::Underway,
            Run::Running(running) => self.drive_running(container, running),
            Run::Waiting => {
                self.drive_waiting(container);
                Progress::Underway
            }
            Run::Exited => self.drive_exited(container),
        }
    }

    fn drive_waiting(&mut self, container: &LocalContainer) {
        let state = self.observed.container(&container.name);
        if let Some(failure) = &state.failure {
            if failure.reason == StartError::ErrImagePull
                && !failure.announced
                && self.due(after(failure.at, PULL_ERROR_SHOWN))
            {
                self.step(Step::NoteImageBackOff { container: container.name.clone() });
            }
            let changed = state.spec_image != container.spec.image;
            if !changed && !self.due(failure.retry_at) {
                return;
            }
        }
        self.start(container);
    }

    fn drive_exited(&mut self, container: &LocalContainer) -> Progress {
        let state = self.observed.container(&container.name);
        let Some(end) = state.newest_end() else {
            self.start(container);
            return Progress::Underway;
        };
        let ordered = state.restart_ordered || state.awaits_restart_of_all();
        if !ordered && !container.restarts_after(self.pod, end.exit_code) {
            return Progress::Over { ok: end.exit_code == 0 };
        }
        if ordered || self.due(state.crash_backoff.ready_at(end.finished_at)) {
            self.start(container);
        } else if !state.backoff_noted {
            self.step(Step::NoteCrashBackOff { container: container.name.clone() });
        }
        Progress::Underway
    }

    fn start(&mut self, container: &LocalContainer) {
        if self.resizes() {
            return;
        }
        let attempt = self.observed.container(&container.name).attempts;
        self.step(Step::Start { container: container.name.clone(), attempt });
    }

    fn drive_running(&mut self, container: &LocalContainer, running: &Running) -> Progress {
        let name = container.name.clone();
        if running.stop.is_some() {
            let grace = self.own_grace(container, running);
            self.stop(&name, running, None, grace);
            return Progress::Underway;
        }
        let changed = self.observed.container(&name).spec_image.as_ref().is_some_and(|image| {
            container.role != Role::Init
                && container.spec.image.as_ref().is_some_and(|wanted| wanted != image)
        });
        let resized = container.role != Role::Init && resize::needs_restart(container, self.observed);
        let cause = running.doomed.clone().or(changed.then_some(StopCause::DefinitionChanged));
        if let Some(cause) = cause.or(resized.then_some(StopCause::Resized)) {
            self.step(Step::BeginStop { container: name, cause });
            return Progress::Underway;
        }
        if running.post_start == Hook::Pending {
            self.step(Step::PostStart { container: name });
        }
        let started = running.post_start == Hook::Done
            && (container.spec.startup_probe.is_none() || running.startup == Some(true));
        if started { Progress::Passed } else { Progress::Underway }
    }

    /// The grace of a container that is stopped alone: the failed probe's own, else the pod's.
    fn own_grace(&self, container: &LocalContainer, running: &Running) -> Duration {
        let probe = match running.stop.as_ref().map(|stop| &stop.cause) {
            Some(StopCause::LivenessFailed) => container.spec.liveness_probe.as_ref(),
            Some(StopCause::StartupFailed) => container.spec.startup_probe.as_ref(),
            _ => None,
        };
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds).map(seconds);
        own.unwrap_or_else(|| self.pod.grace()).max(LEAST_GRACE)
    }

    /// Stops a container step by step: hook, signal, kill. `deadline` is the pod's, if the pod ends.
    fn stop(
        &mut self,
        name: &ContainerName,
        running: &Running,
        deadline: Option<Timestamp>,
        grace: Duration,
    ) {
        let container = name.clone();
        let Some(stop) = &running.stop else {
            return self.step(Step::BeginStop { container, cause: StopCause::PodEnds });
        };
        let deadline = deadline.unwrap_or_else(|| after(stop.since, grace));
        let Some(term_at) = stop.term_at else {
            match stop.pre_stop {
                Hook::Pending => self.step(Step::PreStop { container, deadline }),
                Hook::Running => {
                    if self.due(deadline) {
                        self.step(Step::Terminate { container });
                    }
                }
                Hook::Done => self.step(Step::Terminate { container }),
            }
            return;
        };
        // The hook may have used up the whole grace.
        let kill_at = if deadline <= term_at { after(term_at, LEAST_STOP_TIME) } else { deadline };
        if !stop.killed && self.due(kill_at) {
            self.step(Step::Kill { container });
        }
    }

    /// Stops everything that runs: sidecars after the others, the last one first.
    fn wind_down(&mut self, ending: &Ending) {
        let pod = self.pod;
        let observed = self.observed;
        let grace =
            if ending.cause == EndCause::Evicted { LEAST_GRACE } else { pod.grace().max(LEAST_GRACE) };
        let deadline = after(ending.since, grace);
        let (sidecars, others): (Vec<_>, Vec<_>) =
            pod.containers.iter().partition(|c| c.role == Role::Sidecar);
        let others_up = others.iter().any(|c| observed.container(&c.name).is_up());
        for container in &others {
            if let Some(running) = observed.container(&container.name).running() {
                self.stop(&container.name, running, Some(deadline), grace);
            }
        }
        if others_up {
            return;
        }
        let last_up = sidecars.iter().rev().find(|c| observed.container(&c.name).is_up());
        if let Some(container) = last_up
            && let Some(running) = observed.container(&container.name).running()
        {
            self.stop(&container.name, running, Some(deadline), grace);
        }
    }

    /// Takes down what an ended pod leaves.
    fn tear_down(&mut self) {
        let observed = self.observed;
        match &observed.sandbox {
            Stage::Working { .. } => return,
            Stage::Ready(_) | Stage::Failed { .. } => return self.step(Step::StopSandbox),
            Stage::Absent | Stage::Gone => {}
        }
        match &observed.volumes {
            Stage::Working { .. } => return,
            Stage::Ready(()) | Stage::Failed { .. } => return self.step(Step::UnmountVolumes),
            Stage::Absent | Stage::Gone => {}
        }
        if !self.pod.deleting() && !observed.removed {
            return;
        }
        if !observed.removed && !matches!(observed.object, Stage::Gone) {
            return match &observed.object {
                Stage::Failed { retry_at, .. } if !self.due(*retry_at) => {}
                Stage::Working { .. } => {}
                _ => self.step(Step::DeleteObject),
            };
        }
        match &observed.files {
            Stage::Working { .. } => {}
            Stage::Gone => self.plan.done = observed.removed,
            _ => self.step(Step::RemoveFiles),
        }
    }
}
