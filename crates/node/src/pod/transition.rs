//! How steps and reports change what is known of a pod. No I/O: [`Observed::issue`] notes that a step was begun (so that
//! it is not begun twice), [`Observed::apply`] takes in what came of it or what the runtime reported.

use super::local::{LocalPod, Role};
use super::observed::{
    ContainerState, Ending, Finished, Hook, Observed, RESTARTING_ALL, Report, Run, Running, Stage,
    StartError, StartFailure, Stop, StopCause,
};
use super::sizes::Sizes;
use super::step::Step;
use crate::ids::ContainerName;
use crate::time::after;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A start that failed for its configuration is tried again after this time, or when something it refers to changes.
const CONFIG_RETRY: Duration = Duration::from_secs(10);

/// What is said of a container that ended for, or before, a start of all containers anew.
pub(crate) const RESTARTING_ALL_MESSAGE: &str =
    "The container is removed because RestartAllContainers in place";

impl Observed {
    fn state(&mut self, name: &ContainerName) -> &mut ContainerState {
        self.containers.entry(name.clone()).or_default()
    }

    /// Notes that `step` begins at `now`.
    pub(crate) fn issue(&mut self, step: &Step, pod: &LocalPod, now: Timestamp) {
        match step {
            Step::End(cause) => self.ending = Some(Ending { cause: *cause, since: now }),
            Step::MountVolumes => self.volumes.begin(),
            Step::StartSandbox => {
                self.sandbox.begin();
                self.resizing.group = Some(Arc::new(Sizes::of(pod)));
            }
            Step::RestartAll => self.restart_all(pod),
            Step::Resize => self.resizing.work.begin(),
            Step::StopSandbox => self.sandbox = Stage::Working { failures: 0 },
            Step::UnmountVolumes => self.volumes = Stage::Working { failures: 0 },
            Step::DeleteObject => self.object.begin(),
            Step::RemoveFiles => self.files.begin(),
            Step::NoteCrashBackOff { container } => self.state(container).backoff_noted = true,
            Step::NoteImageBackOff { container } => {
                if let Some(failure) = &mut self.state(container).failure {
                    failure.announced = true;
                }
            }
            Step::Start { container, .. } => {
                let local = pod.container(container);
                self.initialized |= local.is_some_and(|c| c.role == Role::Main);
                let spec_image = local.and_then(|c| c.spec.image.clone());
                let sizes = local.map(|c| c.spec.resources.clone().unwrap_or_default());
                let state = self.state(container);
                if let (Run::Exited, Some(end)) = (&state.run, state.ends.last())
                    && end.reason != RESTARTING_ALL
                {
                    state.crash_backoff.record(end.finished_at);
                }
                state.run = Run::Starting;
                state.restart_ordered = false;
                state.spec_image = spec_image;
                state.sizes = sizes;
            }
            Step::PostStart { container } => {
                if let Some(running) = self.state(container).running_mut() {
                    running.post_start = Hook::Running;
                }
            }
            Step::BeginStop { container, cause } => self.begin_stop(container, cause, pod, now),
            Step::PreStop { container, .. } => {
                self.with_stop(container, |stop| stop.pre_stop = Hook::Running)
            }
            Step::Terminate { container } => self.with_stop(container, |stop| {
                stop.pre_stop = Hook::Done;
                stop.term_at = Some(now);
            }),
            Step::Kill { container } => self.with_stop(container, |stop| stop.killed = true),
        }
    }

    fn begin_stop(&mut self, container: &ContainerName, cause: &StopCause, pod: &LocalPod, now: Timestamp) {
        let has_hook = *cause != StopCause::AllRestart
            && pod
                .container(container)
                .and_then(|c| c.spec.lifecycle.as_ref())
                .is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
        let state = self.state(container);
        state.restart_ordered = matches!(cause, StopCause::DefinitionChanged | StopCause::Resized);
        if let Some(running) = state.running_mut() {
            let pre_stop = if has_hook { Hook::Pending } else { Hook::Done };
            running.stop =
                Some(Stop { cause: cause.clone(), since: now, pre_stop, term_at: None, killed: false });
        }
    }

    /// Whatever has run runs again, whatever its policy says. Those whose ends asked for it do so ever later.
    fn restart_all(&mut self, pod: &LocalPod) {
        self.restarting_all = false;
        self.initialized = false;
        for container in pod.containers.iter().filter(|c| c.role != Role::Ephemeral) {
            let state = self.state(&container.name);
            let (Run::Exited, Some(end)) = (&state.run, state.ends.last_mut()) else { continue };
            if container.restarts_all_after(end.exit_code) {
                state.crash_backoff.record(end.finished_at);
            }
            end.exit_code = 137;
            end.reason = RESTARTING_ALL.into();
            end.message = RESTARTING_ALL_MESSAGE.into();
            state.backoff_noted = false;
        }
    }

    /// Notes that `container` ended with `exit_code`, for the rules of its own.
    fn consult_rules(&mut self, container: &ContainerName, exit_code: i32, pod: &LocalPod) {
        let asks = pod.container(container).is_some_and(|c| c.restarts_all_after(exit_code));
        self.restarting_all |= asks && self.ending.is_none();
    }

    fn with_stop(&mut self, container: &ContainerName, change: impl FnOnce(&mut Stop)) {
        if let Some(stop) = self.state(container).running_mut().and_then(|running| running.stop.as_mut()) {
            change(stop);
        }
    }

    /// Takes in `report`, which arrived at `now`.
    pub(crate) fn apply(&mut self, report: Report, pod: &LocalPod, now: Timestamp) {
        match report {
            Report::Volumes(Ok(())) => self.volumes = Stage::Ready(()),
            Report::Volumes(Err(_)) => self.volumes.failed(now),
            Report::VolumesGone => self.volumes = Stage::Gone,
            Report::Sandbox(Ok(addresses)) => self.sandbox = Stage::Ready(addresses),
            Report::Sandbox(Err(_)) => self.sandbox.failed(now),
            Report::SandboxGone => self.sandbox = Stage::Gone,
            Report::SandboxLost => self.lose_sandbox(pod, now),
            Report::Resized { to, containers } => {
                for (name, id) in containers {
                    let state = self.state(&name);
                    if state.running_as(&id).is_some() {
                        state.sizes = to.containers.get(name.as_str()).cloned();
                    }
                }
                self.resizing.work = Stage::Absent;
                self.resizing.group = Some(to);
            }
            Report::ResizeFailed { message } => {
                self.resizing.work.failed(now);
                if let Some(granted) = &mut self.resizing.granted {
                    granted.error = Some(message);
                }
            }
            Report::TakesTooMuch { message } => self.eviction = Some(message),
            Report::ObjectDeleted(true) => self.object = Stage::Gone,
            Report::ObjectDeleted(false) => self.object.failed(now),
            Report::Removed => self.removed = true,
            Report::FilesRemoved => self.files = Stage::Gone,
            Report::Retry => self.retry_now(now),
            Report::Resolved { container, image, volumes } => {
                let state = self.state(&container);
                state.image = Some(image);
                state.volume_images = volumes;
                state.image_backoff.reset();
            }
            Report::Started { container, attempt, id, at, user } => {
                self.state(&container).user = Some(user);
                self.started(&container, attempt, id, at, pod);
            }
            Report::StartFailed { container, reason, message, image } => {
                self.state(&container).fail(reason, message, image, now)
            }
            Report::RunFailed { container, attempt, message } => {
                let state = self.state(&container);
                state.attempts = attempt + 1;
                state.failure = None;
                state.replaced_at = None;
                let reason = "StartError".into();
                state.push_end(Finished {
                    id: String::new(),
                    exit_code: 128,
                    reason,
                    message,
                    started_at: None,
                    finished_at: now,
                });
                self.consult_rules(&container, 128, pod);
            }
            Report::PostStart { container, ok } => {
                if let Some(running) = self.state(&container).running_mut() {
                    running.post_start = Hook::Done;
                    if !ok {
                        running.doomed = Some(StopCause::PostStartFailed);
                    }
                }
            }
            Report::PreStopDone { container } => {
                self.with_stop(&container, |stop| stop.pre_stop = Hook::Done)
            }
            Report::Exited { container, end } => {
                let state = self.state(&container);
                // A stray repetition of an end that is known already changes nothing.
                if state.running_as(&end.id).is_some()
                    || (state.run == Run::Starting && !state.knows_end(&end.id))
                {
                    let exit_code = end.exit_code;
                    state.push_end(end);
                    state.replaced_at = state.restart_ordered.then_some(now);
                    self.consult_rules(&container, exit_code, pod);
                }
            }
            Report::Startup { container, id, ok } => {
                if let Some(running) = self.state(&container).running_as(&id) {
                    running.startup = Some(ok);
                    if !ok {
                        running.doomed = Some(StopCause::StartupFailed);
                    }
                }
            }
            Report::Readiness { container, id, ok } => {
                if let Some(running) = self.state(&container).running_as(&id) {
                    running.readiness = Some(ok);
                }
            }
            Report::LivenessFailed { container, id } => {
                if let Some(running) = self.state(&container).running_as(&id) {
                    running.doomed = Some(StopCause::LivenessFailed);
                }
            }
        }
    }

    fn started(
        &mut self,
        container: &ContainerName,
        attempt: u32,
        id: String,
        at: Timestamp,
        pod: &LocalPod,
    ) {
        let has_hook = pod
            .container(container)
            .and_then(|c| c.spec.lifecycle.as_ref())
            .is_some_and(|lifecycle| lifecycle.post_start.is_some());
        let state = self.state(container);
        state.attempts = attempt + 1;
        state.failure = None;
        state.replaced_at = None;
        // The end may have been reported before the start was.
        if state.knows_end(&id) {
            return;
        }
        state.run = Run::Running(Running {
            id,
            started_at: at,
            post_start: if has_hook { Hook::Pending } else { Hook::Done },
            startup: None,
            readiness: None,
            doomed: None,
            stop: None,
        });
    }

    /// Everything in the sandbox was killed with it; init containers will have to run again.
    fn lose_sandbox(&mut self, pod: &LocalPod, now: Timestamp) {
        self.initialized = false;
        self.resizing.work = Stage::Absent;
        self.resizing.group = None;
        self.sandbox = if self.ending.is_some() { Stage::Gone } else { Stage::Absent };
        for (name, state) in &mut self.containers {
            if state.run == Run::Exited && pod.container(name).is_some_and(|c| c.role == Role::Init) {
                state.run = Run::Waiting;
            } else if let Some(running) = state.running() {
                let end = Finished {
                    id: running.id.clone(),
                    exit_code: 137,
                    reason: "Error".into(),
                    message: String::new(),
                    started_at: Some(running.started_at),
                    finished_at: now,
                };
                state.push_end(end);
            } else if state.run == Run::Starting {
                state.run = Run::Waiting;
            }
        }
    }

    fn retry_now(&mut self, now: Timestamp) {
        if let Stage::Failed { retry_at, .. } = &mut self.volumes {
            *retry_at = now;
        }
        for failure in self.containers.values_mut().filter_map(|state| state.failure.as_mut()) {
            if failure.reason == StartError::CreateContainerConfigError {
                failure.retry_at = now;
            }
        }
    }
}

impl<T> Stage<T> {
    fn begin(&mut self) {
        let failures = if let Self::Failed { failures, .. } = self { *failures } else { 0 };
        *self = Self::Working { failures };
    }

    /// Waits 1, 2, 4 … 64 seconds before the next try.
    fn failed(&mut self, now: Timestamp) {
        let failures = if let Self::Working { failures } = self { *failures } else { 0 };
        let delay = Duration::from_secs(1 << failures.min(6));
        *self = Self::Failed { failures: failures + 1, retry_at: after(now, delay) };
    }
}

impl ContainerState {
    fn running_mut(&mut self) -> Option<&mut Running> {
        if let Run::Running(running) = &mut self.run { Some(running) } else { None }
    }

    /// The running state, if it is of the container `id`: a late report about a former attempt is void.
    fn running_as(&mut self, id: &str) -> Option<&mut Running> {
        self.running_mut().filter(|running| running.id == id)
    }

    fn push_end(&mut self, end: Finished) {
        self.ends.push(end);
        if self.ends.len() > 2 {
            self.ends.remove(0);
        }
        self.run = Run::Exited;
        self.backoff_noted = false;
    }

    fn fail(&mut self, reason: StartError, message: String, image: Option<String>, now: Timestamp) {
        self.run = Run::Waiting;
        self.replaced_at = None;
        let retry_at = match reason {
            StartError::ErrImagePull | StartError::ErrImageNeverPull | StartError::InvalidImageName => {
                self.image_backoff.record(now);
                self.image_backoff.ready_at(now)
            }
            // What hung may hang again, and the kernel may still hold what the last try left.
            StartError::RunContainerError => {
                self.crash_backoff.record(now);
                self.crash_backoff.ready_at(now)
            }
            StartError::CreateContainerConfigError | StartError::CreateContainerError => {
                after(now, CONFIG_RETRY)
            }
        };
        self.failure = Some(StartFailure { reason, message, image, at: now, retry_at, announced: false });
    }

    fn knows_end(&self, id: &str) -> bool {
        self.ends.iter().any(|end| end.id == id && !id.is_empty())
    }
}
