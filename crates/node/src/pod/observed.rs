//! What the agent knows of a pod on this node, and how each step and each report changes it.
//!
//! The worker owns one [`Observed`] per pod UID. Nothing here does I/O: [`Observed::issue`] notes that a step
//! was begun (so that it is not begun twice), [`Observed::apply`] takes in what came of it or what the runtime
//! reported. After a restart of the agent it is rebuilt from the runtime's state and the API object.

use super::local::{LocalPod, Role};
use super::step::Step;
use crate::backoff::Backoff;
use crate::ids::ContainerName;
use crate::time::after;
use jiff::Timestamp;
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// Everything known of one pod on this node.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// When the agent first accepted the pod (`status.startTime`).
    pub(crate) started: Timestamp,
    /// Set when the node refused the pod; nothing of it ever runs.
    pub(crate) rejection: Option<Rejection>,
    pub(crate) volumes: Stage<()>,
    /// The sandbox with the pod's addresses, primary first.
    pub(crate) sandbox: Stage<Vec<IpAddr>>,
    pub(crate) containers: BTreeMap<ContainerName, ContainerState>,
    /// Set once the pod is to end; never cleared.
    pub(crate) ending: Option<Ending>,
    pub(crate) object: Stage<()>,
    /// The API object is gone.
    pub(crate) removed: bool,
    /// The pod's directory: `Ready` until it is removed.
    pub(crate) files: Stage<()>,
    /// The init containers of this sandbox are through.
    pub(crate) initialized: bool,
}

/// Why the node refused a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rejection {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Something that is set up once, may fail and is retried, and is taken down once.
/// For the API object: `Ready` while it exists, `Gone` once deleted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage<T> {
    Absent,
    /// Being set up or taken down, after so many failures.
    Working {
        failures: u32,
    },
    Ready(T),
    Failed {
        failures: u32,
        retry_at: Timestamp,
    },
    Gone,
}

/// Why and since when a pod is being ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ending {
    pub(crate) cause: EndCause,
    pub(crate) since: Timestamp,
}

/// Why a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// Deleted in the API, with or without grace.
    Deleted,
    /// `activeDeadlineSeconds` passed.
    DeadlineExceeded,
    /// Its containers have ended for good.
    Completed,
}

/// What is known of one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerState {
    pub(crate) run: Run,
    /// How many containers were created for this name so far.
    pub(crate) attempts: u32,
    /// Ends of the last two attempts, the newest last.
    pub(crate) ends: Vec<Finished>,
    pub(crate) crash_backoff: Backoff,
    pub(crate) image_backoff: Backoff,
    pub(crate) failure: Option<StartFailure>,
    /// The image as the runtime knows it, once resolved.
    pub(crate) image: Option<ImageRef>,
    /// The image the specification named when the container was last started.
    pub(crate) spec_image: Option<String>,
    /// The back-off before the next restart was announced.
    pub(crate) backoff_noted: bool,
    /// The last stop was ordered because the specification changed: start again whatever the policy.
    pub(crate) restart_ordered: bool,
}

/// An image as it is reported in `containerStatuses`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ImageRef {
    pub(crate) name: String,
    pub(crate) id: String,
}

/// Where a container is in its life.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Run {
    /// Never ran, or could not be started.
    #[default]
    Waiting,
    Starting,
    Running(Running),
    /// Its end is the newest of `ends`.
    Exited,
}

/// A container with a live process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    /// The container's ID as the runtime knows it, without the scheme.
    pub(crate) id: String,
    pub(crate) started_at: Timestamp,
    pub(crate) post_start: Hook,
    /// The startup probe's verdict; `None` until there is one.
    pub(crate) startup: Option<bool>,
    /// The readiness probe's verdict; `None` until there is one.
    pub(crate) readiness: Option<bool>,
    /// A reason to stop this container alone, not acted on yet.
    pub(crate) doomed: Option<StopCause>,
    pub(crate) stop: Option<Stop>,
}

/// A container being stopped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stop {
    pub(crate) cause: StopCause,
    pub(crate) since: Timestamp,
    pub(crate) pre_stop: Hook,
    pub(crate) term_at: Option<Timestamp>,
    pub(crate) killed: bool,
}

/// Why a container is stopped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StopCause {
    /// Its pod ends.
    PodEnds,
    LivenessFailed,
    StartupFailed,
    PostStartFailed,
    /// The specification names another image now.
    DefinitionChanged,
}

/// Progress of a lifecycle hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Pending,
    Running,
    /// Ran, or there is none.
    Done,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finished {
    pub(crate) id: String,
    pub(crate) exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
}

/// Why a container could not be started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StartFailure {
    pub(crate) reason: StartError,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
    pub(crate) retry_at: Timestamp,
    /// The waiting for a new pull was announced; the status reads `ImagePullBackOff` from then on.
    pub(crate) announced: bool,
}

/// The kind of a failed start; the names are the reasons users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartError {
    ErrImagePull,
    InvalidImageName,
    ErrImageNeverPull,
    CreateContainerConfigError,
    CreateContainerError,
}

/// What came of a step, or what the runtime or a probe reported.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    Volumes(Result<(), String>),
    VolumesGone,
    Sandbox(Result<Vec<IpAddr>, String>),
    SandboxGone,
    /// The sandbox vanished with everything in it.
    SandboxLost,
    Resolved {
        container: ContainerName,
        image: ImageRef,
    },
    Started {
        container: ContainerName,
        attempt: u32,
        id: String,
        at: Timestamp,
    },
    StartFailed {
        container: ContainerName,
        reason: StartError,
        message: String,
    },
    /// The container was made but its process could not be run; counts as an attempt that ended.
    RunFailed {
        container: ContainerName,
        attempt: u32,
        message: String,
    },
    PostStart {
        container: ContainerName,
        ok: bool,
    },
    PreStopDone {
        container: ContainerName,
    },
    Exited {
        container: ContainerName,
        end: Finished,
    },
    Startup {
        container: ContainerName,
        id: String,
        ok: bool,
    },
    Readiness {
        container: ContainerName,
        id: String,
        ok: bool,
    },
    LivenessFailed {
        container: ContainerName,
        id: String,
    },
    /// The API object was deleted by us, or could not be.
    ObjectDeleted(bool),
    /// The API object is gone.
    Removed,
    FilesRemoved,
    /// Something a failed start or mount may have waited for has changed.
    Retry,
}

impl StartError {
    /// The reason as the API shows it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ErrImagePull => "ErrImagePull",
            Self::InvalidImageName => "InvalidImageName",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::CreateContainerError => "CreateContainerError",
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

impl StartFailure {
    /// The reason as the API shows it now.
    pub(crate) fn shown_reason(&self) -> &'static str {
        let waits = self.announced && self.reason == StartError::ErrImagePull;
        if waits { "ImagePullBackOff" } else { self.reason.as_str() }
    }
}

impl ContainerState {
    /// The attempt before the one that counts as current: a container that waits to be started again has just
    /// become its own predecessor.
    pub(crate) fn previous_attempt(&self) -> Option<u32> {
        let newest = self.attempts.checked_sub(1)?;
        match self.run {
            Run::Waiting => Some(newest),
            Run::Exited if self.backoff_noted => Some(newest),
            Run::Running(_) | Run::Starting | Run::Exited => newest.checked_sub(1),
        }
    }

    /// The running state, when there is a live process.
    pub(crate) fn running(&self) -> Option<&Running> {
        if let Run::Running(running) = &self.run { Some(running) } else { None }
    }

    fn running_mut(&mut self) -> Option<&mut Running> {
        if let Run::Running(running) = &mut self.run { Some(running) } else { None }
    }

    /// The running state, if it is of the container `id`: a late report about a former attempt is void.
    fn running_as(&mut self, id: &str) -> Option<&mut Running> {
        self.running_mut().filter(|running| running.id == id)
    }

    /// Whether a process lives or is about to.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.run, Run::Starting | Run::Running(_))
    }

    /// How the newest ended attempt ended.
    pub(crate) fn newest_end(&self) -> Option<&Finished> {
        self.ends.last()
    }

    fn push_end(&mut self, end: Finished) {
        self.ends.push(end);
        if self.ends.len() > 2 {
            self.ends.remove(0);
        }
        self.run = Run::Exited;
        self.backoff_noted = false;
    }

    fn fail(&mut self, reason: StartError, message: String, now: Timestamp) {
        self.run = Run::Waiting;
        let image = matches!(
            reason,
            StartError::ErrImagePull | StartError::ErrImageNeverPull | StartError::InvalidImageName
        );
        let retry_at = if image {
            self.image_backoff.record(now);
            self.image_backoff.ready_at(now)
        } else {
            after(now, CONFIG_RETRY)
        };
        self.failure = Some(StartFailure { reason, message, at: now, retry_at, announced: false });
    }
}

/// A start that failed for its configuration is tried again after this time, or when something it refers to changes.
const CONFIG_RETRY: Duration = Duration::from_secs(10);

impl Observed {
    /// A pod the agent sees for the first time.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self {
            started,
            rejection: None,
            volumes: Stage::Absent,
            sandbox: Stage::Absent,
            containers: BTreeMap::new(),
            ending: None,
            object: Stage::Ready(()),
            removed: false,
            files: Stage::Ready(()),
            initialized: false,
        }
    }

    /// The state of `name`; the default state when nothing happened to it yet.
    pub(crate) fn container(&self, name: &ContainerName) -> &ContainerState {
        static NOTHING: ContainerState = ContainerState {
            run: Run::Waiting,
            attempts: 0,
            ends: Vec::new(),
            crash_backoff: Backoff::NONE,
            image_backoff: Backoff::NONE,
            failure: None,
            image: None,
            spec_image: None,
            backoff_noted: false,
            restart_ordered: false,
        };
        self.containers.get(name).unwrap_or(&NOTHING)
    }

    /// Whether any container has a process or is about to get one.
    pub(crate) fn any_up(&self) -> bool {
        self.containers.values().any(ContainerState::is_up)
    }

    /// Whether the pod has ended and no process of it is left.
    pub(crate) fn ended(&self) -> bool {
        self.rejection.is_some() || (self.ending.is_some() && !self.any_up())
    }

    fn state(&mut self, name: &ContainerName) -> &mut ContainerState {
        self.containers.entry(name.clone()).or_default()
    }

    /// Notes that `step` begins at `now`.
    pub(crate) fn issue(&mut self, step: &Step, pod: &LocalPod, now: Timestamp) {
        match step {
            Step::End(cause) => self.ending = Some(Ending { cause: *cause, since: now }),
            Step::MountVolumes => self.volumes.begin(),
            Step::StartSandbox => self.sandbox.begin(),
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
                let state = self.state(container);
                if let (Run::Exited, Some(end)) = (&state.run, state.ends.last()) {
                    state.crash_backoff.record(end.finished_at);
                }
                state.run = Run::Starting;
                state.restart_ordered = false;
                state.spec_image = spec_image;
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
        let has_hook = pod
            .container(container)
            .and_then(|c| c.spec.lifecycle.as_ref())
            .is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
        let state = self.state(container);
        state.restart_ordered = *cause == StopCause::DefinitionChanged;
        if let Some(running) = state.running_mut() {
            let pre_stop = if has_hook { Hook::Pending } else { Hook::Done };
            running.stop =
                Some(Stop { cause: cause.clone(), since: now, pre_stop, term_at: None, killed: false });
        }
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
            Report::ObjectDeleted(true) => self.object = Stage::Gone,
            Report::ObjectDeleted(false) => self.object.failed(now),
            Report::Removed => self.removed = true,
            Report::FilesRemoved => self.files = Stage::Gone,
            Report::Retry => self.retry_now(now),
            Report::Resolved { container, image } => {
                let state = self.state(&container);
                state.image = Some(image);
                state.image_backoff.reset();
            }
            Report::Started { container, attempt, id, at } => self.started(&container, attempt, id, at, pod),
            Report::StartFailed { container, reason, message } => {
                self.state(&container).fail(reason, message, now)
            }
            Report::RunFailed { container, attempt, message } => {
                let state = self.state(&container);
                state.attempts = attempt + 1;
                state.failure = None;
                let reason = "StartError".into();
                state.push_end(Finished {
                    id: String::new(),
                    exit_code: 128,
                    reason,
                    message,
                    started_at: None,
                    finished_at: now,
                });
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
                    state.push_end(end);
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

impl ContainerState {
    fn knows_end(&self, id: &str) -> bool {
        self.ends.iter().any(|end| end.id == id && !id.is_empty())
    }
}
