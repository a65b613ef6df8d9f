//! What the agent knows of a pod on this node.
//!
//! The worker owns one [`Observed`] per pod UID; steps and reports change it (module `transition`). After a restart of the
//! agent it is rebuilt from the runtime's state and the API object (module `adopt`).

use super::sizes::Sizes;
use crate::backoff::Backoff;
use crate::ids::ContainerName;
use crate::time::after;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceRequirements;
use skiff_runtime::UserSpec;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

/// How long a container that is replaced may be away before its pod says so.
const MOMENT: Duration = Duration::from_secs(1);

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
    /// A container's rule asked for all of them to be started anew: what runs is being killed.
    pub(crate) restarting_all: bool,
    pub(crate) resizing: Resizing,
    /// Why the pod is to be evicted.
    pub(crate) eviction: Option<String>,
}

/// How far a change of the pod's resources has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resizing {
    /// The node has no room for what is asked for.
    pub(crate) deferred: Option<Deferred>,
    /// The node granted it, and the groups do not all have it yet.
    pub(crate) granted: Option<Granted>,
    /// The writing of the groups.
    pub(crate) work: Stage<()>,
    /// What the pod's own group was made for.
    pub(crate) group: Option<Arc<Sizes>>,
}

/// Why the node cannot give a pod what it asks for now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deferred {
    /// Of the pod's specification.
    pub(crate) generation: i64,
    /// One word, as a pod would be refused with.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// A change of resources that the node granted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Granted {
    /// Of the pod's specification.
    pub(crate) generation: i64,
    /// Why it could not be carried out when that was tried last.
    pub(crate) error: Option<String>,
}

/// Why the node refused a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rejection {
    /// Also the reason of the event that says so.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Something that is set up once, may fail and is retried, and is taken down once.
/// For the API object: `Ready` while it exists, `Gone` once deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Stage<T> {
    #[default]
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
    /// It takes more of the node than it may.
    Evicted,
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
    /// The images that its volumes show, by volume.
    pub(crate) volume_images: BTreeMap<String, String>,
    /// Whom the first process of the newest attempt started as.
    pub(crate) user: Option<UserSpec>,
    /// The image the specification named when the container was last started.
    pub(crate) spec_image: Option<String>,
    /// The resources that the newest attempt has, or was started with.
    pub(crate) sizes: Option<ResourceRequirements>,
    /// The back-off before the next restart was announced.
    pub(crate) backoff_noted: bool,
    /// The last stop was ordered because the specification changed: start again whatever the policy.
    pub(crate) restart_ordered: bool,
    /// When it ended because of that, until another runs in its place or cannot be started.
    pub(crate) replaced_at: Option<Timestamp>,
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
    /// It was granted resources that its policy wants it started anew for.
    Resized,
    /// All containers of its pod are started anew; it is killed without more ado.
    AllRestart,
}

/// Progress of a lifecycle hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Pending,
    Running,
    /// Ran, or there is none.
    Done,
}

/// The reason that containers show which ended, or ended long ago, when all of their pod were started anew.
pub(crate) const RESTARTING_ALL: &str = "RestartingAllContainers";

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finished {
    pub(crate) id: String,
    pub(crate) exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, [`RESTARTING_ALL`].
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
    /// The image that cannot be had, when it is one that a volume shows.
    pub(crate) image: Option<String>,
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
    /// The start hung and was given up.
    RunContainerError,
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
        /// What the volumes that show images show, by volume.
        volumes: BTreeMap<String, String>,
    },
    Started {
        container: ContainerName,
        attempt: u32,
        id: String,
        at: Timestamp,
        user: UserSpec,
    },
    StartFailed {
        container: ContainerName,
        reason: StartError,
        message: String,
        /// The image that cannot be had, when it is one that a volume shows.
        image: Option<String>,
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
    /// The groups have these resources: the pod's own, and those of the containers by name and ID.
    Resized {
        to: Arc<Sizes>,
        containers: Vec<(ContainerName, String)>,
    },
    ResizeFailed {
        message: String,
    },
    /// The pod takes more of the node's disk than it may.
    TakesTooMuch {
        message: String,
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
            Self::RunContainerError => "RunContainerError",
        }
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

    /// Whether a process lives or is about to.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.run, Run::Starting | Run::Running(_))
    }

    /// Whether it ended for, or before, a start of all containers anew, and has not been started since.
    pub(crate) fn awaits_restart_of_all(&self) -> bool {
        !matches!(self.run, Run::Running(_))
            && self.newest_end().is_some_and(|end| end.reason == RESTARTING_ALL)
    }

    /// How the newest ended attempt ended.
    pub(crate) fn newest_end(&self) -> Option<&Finished> {
        self.ends.last()
    }
}

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
            restarting_all: false,
            resizing: Resizing::default(),
            eviction: None,
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
            volume_images: BTreeMap::new(),
            user: None,
            spec_image: None,
            sizes: None,
            backoff_noted: false,
            restart_ordered: false,
            replaced_at: None,
        };
        self.containers.get(name).unwrap_or(&NOTHING)
    }

    /// Whether any container has a process or is about to get one.
    pub(crate) fn any_up(&self) -> bool {
        self.containers.values().any(ContainerState::is_up)
    }

    /// Until when nothing is said of the pod: a container that is replaced is not missed for the moment that this takes. The kubelet,
    /// which looks at containers once a second, does not see it.
    pub(crate) fn quiet_until(&self) -> Option<Timestamp> {
        let replaced = self.containers.values().filter_map(|state| state.replaced_at).max();
        replaced.filter(|_| self.ending.is_none()).map(|at| after(at, MOMENT))
    }

    /// Whether the pod has ended and no process of it is left.
    pub(crate) fn ended(&self) -> bool {
        self.rejection.is_some() || (self.ending.is_some() && !self.any_up())
    }
}
