//! The runtime of one node: where pods start, and where they are found again.

use crate::cgroup::{self, CgroupError, Cgroups, PodGroups};
use crate::cleanup::{self, Leftovers};
use crate::client::Connection;
use crate::error::{CheckError, RuntimeError};
use crate::ids::{IdRange, PodUid};
use crate::images::{ImageLimits, Images};
use crate::paths::{self, PodPaths};
use crate::pod::PodHandle;
use crate::spec::{PodSandbox, ServiceClass};
use crate::state::Usage;
use crate::supervisor;
use crate::wire::{Reply, Request, SupervisorConfig};
use skiff_errors::error_text;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;

/// Where the runtime lives and what it starts.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Images and writable layers: on a disk, kept over restarts of the machine.
    pub data_dir: PathBuf,
    /// Sockets, namespaces and mount points: gone after a restart of the machine.
    pub run_dir: PathBuf,
    /// The executable started as `<executable> pod-supervisor …` for each pod, and as `<executable> unpack-layer …` for
    /// what unpacks images.
    pub executable: PathBuf,
    /// How much an image may ask for.
    pub image_limits: ImageLimits,
    /// Control group under which all pods live, e.g. `skiff`.
    pub cgroup_parent: String,
    /// How long the start of a container or command may take before it is given up: whatever hangs in the kernel ends then.
    pub start_limit: Duration,
}

/// The usual bound of a start: the kubelet's `runtimeRequestTimeout`.
pub const START_LIMIT: Duration = Duration::from_secs(120);

/// The runtime of one node. Cheap to share behind an `Arc`; at most one per run directory.
#[derive(Debug)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// What the runtime and its handles have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    config: RuntimeConfig,
    images: Images,
    /// CPU shares of the burstable pods that run, which their common group has in sum; `None` until that group is made.
    burstable: parking_lot::Mutex<Option<BTreeMap<PodUid, u64>>>,
    /// The trees of control groups, found once: the kernel lists them among the mounts of every pod.
    cgroups: OnceLock<Cgroups>,
}

impl Runtime {
    /// Makes the directories and opens the images.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        for directory in [&config.data_dir, &config.run_dir] {
            fs::create_dir_all(directory).map_err(|error| RuntimeError::io("create", directory, error))?;
        }
        make_private(&paths::pods_dir(&config.run_dir))?;
        make_private(&config.data_dir.join("containers"))?;
        let (directory, pods) = (config.data_dir.join("images"), paths::pods_dir(&config.run_dir));
        let images = Images::open(&directory, &pods, &config.executable, config.image_limits)?;
        let (burstable, cgroups) = (parking_lot::Mutex::default(), OnceLock::new());
        Ok(Self { shared: Arc::new(Shared { config, images, burstable, cgroups }) })
    }

    /// Whether this machine can run containers: one clear sentence if not. Tries it where only a try tells, and leaves nothing
    /// behind; blocks for as long as the kernel needs to load modules.
    pub fn check(&self) -> Result<(), CheckError> {
        let uid = rustix::process::geteuid().as_raw();
        if uid != 0 {
            return Err(CheckError::NotRoot { uid });
        }
        let cgroups = Cgroups::detect().map_err(|error| CheckError::Cgroups { reason: error.to_string() })?;
        cgroups.check()?;
        crate::trial::overlay(&self.shared.config.data_dir)
    }

    /// Whether pods can have user namespaces here, which [`Runtime::check`] does not ask for. Tried in the same way; it blocks
    /// for a moment.
    pub fn check_users(&self) -> Result<(), CheckError> {
        crate::trial::users(&self.shared.config.data_dir)
    }

    /// What the whole machine uses, in pods and outside. Reads files of the kernel, which may take milliseconds.
    pub fn machine_usage(&self) -> Result<Usage, RuntimeError> {
        Ok(self.shared.cgroups()?.usage("/"))
    }

    /// The images of this node.
    pub fn images(&self) -> &Images {
        &self.shared.images
    }

    /// Starts the supervisor of a pod. Once this returns, the network namespace is at [`PodHandle::netns_path`],
    /// with only the loopback interface, and containers can be started.
    ///
    /// Fails for a pod that is already there; [`Runtime::adopt`] finds those.
    pub async fn start_pod(&self, sandbox: PodSandbox) -> Result<PodHandle, RuntimeError> {
        let uid = sandbox.uid.clone();
        let pod_paths = self.shared.pod_paths(&uid);
        let failed = |reason: String| RuntimeError::Sandbox { pod: uid.clone(), reason };
        if pod_paths.dir.exists() {
            return Err(failed("it is already there".into()));
        }
        self.shared.weigh_in(&sandbox)?;
        let prepare = || -> io::Result<()> {
            fs::create_dir_all(&sandbox.log_dir)?;
            fs::create_dir_all(&pod_paths.dir)?;
            let config = self.shared.supervisor_config(sandbox);
            fs::write(pod_paths.config(), serde_json::to_vec(&config)?)
        };
        let launched = match prepare() {
            Ok(()) => launch(&self.shared, &uid, false).await,
            Err(error) => Err(format!("prepare {}: {error}", pod_paths.dir.display())),
        };
        let started = match launched {
            // As after a restart: the supervisor may have been killed already.
            Ok(()) => adopt_one(&self.shared, &uid).await.map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match started {
            Ok(pod) => Ok(pod),
            Err(reason) => {
                let left = self.remove_pod(&uid).await.err().map(|e| format!("; {e}")).unwrap_or_default();
                Err(failed(format!("{reason}{left}")))
            }
        }
    }

    /// The pods that the run directory has, each of which is to be adopted or removed. Removes what belongs to none.
    pub async fn existing(&self) -> Result<Vec<PodUid>, RuntimeError> {
        let uids = self.shared.pods()?;
        self.shared.remove_stray_layers(&uids).await?;
        Ok(uids)
    }

    /// The IDs on the node of a pod of the run directory, if it has a user namespace. One whose configuration cannot be read
    /// is none that can be adopted.
    pub fn users(&self, uid: &PodUid) -> Option<IdRange> {
        self.shared.config_of(uid).ok()?.sandbox.users
    }

    /// Reconnects to one pod of the run directory. A supervisor that is dead gets a successor, and so does one that does not
    /// answer within seconds; the containers go on.
    pub async fn adopt(&self, uid: &PodUid) -> Result<PodHandle, RuntimeError> {
        adopt_one(&self.shared, uid).await
    }

    /// Stops and removes one pod, whether or not its supervisor lives. A pod that is not there is a success.
    pub async fn remove_pod(&self, uid: &PodUid) -> Result<(), RuntimeError> {
        remove_pod(&self.shared, uid).await
    }

    /// Stops and removes every pod of the run directory and the parent control group: nothing stays in the kernel.
    pub async fn cleanup_all(&self) -> Result<(), RuntimeError> {
        let uids = self.shared.pods()?;
        let results = futures::future::join_all(uids.iter().map(|uid| remove_pod(&self.shared, uid))).await;
        results.into_iter().collect::<Result<(), _>>()?;
        let parent = cgroup::root(&self.shared.config.cgroup_parent);
        let removed = self.shared.cgroups()?.clear_away(&parent);
        removed.map_err(|error| RuntimeError::io("remove", Path::new(&parent), error))
    }
}

impl Shared {
    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    pub(crate) fn pod_paths(&self, uid: &PodUid) -> PodPaths {
        PodPaths::new(&self.config.run_dir, &self.config.data_dir, uid)
    }

    pub(crate) fn cgroups(&self) -> Result<Cgroups, RuntimeError> {
        if let Some(found) = self.cgroups.get() {
            return Ok(found.clone());
        }
        let found = Cgroups::detect();
        let found =
            found.map_err(|error| RuntimeError::io("read", Path::new("/proc/self/mountinfo"), error))?;
        Ok(self.cgroups.get_or_init(|| found).clone())
    }

    fn supervisor_config(&self, sandbox: PodSandbox) -> SupervisorConfig {
        let cgroups = self.cgroups.get().cloned();
        let RuntimeConfig { data_dir, run_dir, cgroup_parent, start_limit, .. } = self.config.clone();
        SupervisorConfig { sandbox, run_dir, data_dir, cgroup_parent, start_limit, cgroups }
    }

    /// What the supervisor of a pod was started with.
    fn config_of(&self, uid: &PodUid) -> Result<SupervisorConfig, RuntimeError> {
        let path = self.pod_paths(uid).config();
        let read = || -> io::Result<_> { Ok(serde_json::from_slice(&fs::read(&path)?)?) };
        read().map_err(|error| RuntimeError::io("read", &path, error))
    }

    /// Counts a pod in the weight of its class, and makes the groups that pods share for the first one.
    pub(crate) fn weigh_in(&self, sandbox: &PodSandbox) -> Result<(), RuntimeError> {
        self.weigh(|pods| {
            let shares = sandbox.resources.as_ref().and_then(|r| r.cpu_shares).unwrap_or_default();
            let counts = sandbox.class == ServiceClass::Burstable;
            counts && pods.insert(sandbox.uid.clone(), shares) != Some(shares)
        })
    }

    /// Makes `change` to the shares of the burstable pods and, if it says that it did, weighs their group anew.
    fn weigh(&self, change: impl FnOnce(&mut BTreeMap<PodUid, u64>) -> bool) -> Result<(), RuntimeError> {
        let cgroups = self.cgroups()?;
        let parent = &self.config.cgroup_parent;
        let failed = |error: CgroupError| RuntimeError::Cgroups { reason: error_text(&error) };
        let mut burstable = self.burstable.lock();
        let first = burstable.is_none();
        if first {
            cgroups.prepare(parent).map_err(failed)?;
        }
        let mut pods = burstable.clone().unwrap_or_default();
        if change(&mut pods) || first {
            let sum = pods.values().fold(0u64, |sum, shares| sum.saturating_add(*shares));
            cgroups.weigh(parent, ServiceClass::Burstable, sum).map_err(failed)?;
            *burstable = Some(pods);
        }
        Ok(())
    }

    /// Takes a pod out of the weight of its class.
    fn weigh_out(&self, uid: &PodUid) -> Result<(), RuntimeError> {
        if self.burstable.lock().is_none() {
            // A runtime that only cleans up.
            return Ok(());
        }
        self.weigh(|pods| pods.remove(uid).is_some())
    }

    fn pods(&self) -> Result<Vec<PodUid>, RuntimeError> {
        pods_in(&paths::pods_dir(&self.config.run_dir))
    }

    /// Removes the writable layers of pods that a restart of the machine ended.
    async fn remove_stray_layers(&self, pods: &[PodUid]) -> Result<(), RuntimeError> {
        let strays = pods_in(&self.config.data_dir.join("containers"))?;
        for uid in strays.iter().filter(|uid| !pods.contains(uid)) {
            remove_directory(self.pod_paths(uid).data).await?;
        }
        Ok(())
    }
}

/// The pods that have an entry in a directory.
fn pods_in(directory: &Path) -> Result<Vec<PodUid>, RuntimeError> {
    let failed = |error| RuntimeError::io("read", directory, error);
    let mut uids = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(Ok(uid)) = name.to_str().map(PodUid::new) {
            uids.push(uid);
        }
    }
    Ok(uids)
}

async fn adopt_one(shared: &Arc<Shared>, uid: &PodUid) -> Result<PodHandle, RuntimeError> {
    let config = shared.config_of(uid)?;
    shared.weigh_in(&config.sandbox)?;
    for _ in 0..SUCCESSORS {
        match timeout(ANSWER, PodHandle::connect(shared.clone(), config.clone())).await {
            // Dead, or it died while it was spoken to.
            Ok(Err(RuntimeError::SupervisorGone { .. })) => {}
            Ok(outcome) => return outcome,
            Err(_elapsed) => {
                tracing::warn!(pod = %uid, "the supervisor does not answer; another takes its place");
                end_supervisor(shared, uid).await?;
            }
        }
        let failed = |reason| RuntimeError::Sandbox { pod: uid.clone(), reason };
        launch(shared, uid, true).await.map_err(failed)?;
    }
    let last = timeout(ANSWER, PodHandle::connect(shared.clone(), config)).await;
    last.unwrap_or_else(|elapsed| {
        Err(RuntimeError::SupervisorGone { pod: uid.clone(), source: elapsed.into() })
    })
}

/// How long a supervisor may take to answer. It answers from memory; only a stopped or broken one does not.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// How long a supervisor may take until it serves: it makes namespaces, of which the kernel may have many to clear away.
const SERVES: Duration = Duration::from_secs(60);

/// How long a supervisor may take to end its pod: for processes that die slowly it waits ten seconds itself.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Kills a supervisor and leaves its pod alone.
pub(crate) async fn end_supervisor(shared: &Shared, uid: &PodUid) -> Result<(), RuntimeError> {
    let cgroups = shared.cgroups()?;
    let groups = PodGroups::possible(&shared.config.cgroup_parent, uid);
    let work = move || groups.iter().try_for_each(|groups| cgroups.kill(&groups.supervisor, || {}));
    let killed = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    killed.map_err(|source| RuntimeError::SupervisorGone { pod: uid.clone(), source })
}

/// How many supervisors in a row may die before they are spoken to. Whatever kills so many kills the next one, too.
pub(crate) const SUCCESSORS: u32 = 5;

/// Starts a supervisor and waits until it serves. The error is its own last word.
pub(crate) async fn launch(shared: &Shared, uid: &PodUid, adopt: bool) -> Result<(), String> {
    let mut command = tokio::process::Command::new(&shared.config.executable);
    command.arg(supervisor::SUBCOMMAND).arg("--dir").arg(shared.pod_paths(uid).dir);
    if adopt {
        command.arg("--adopt");
    }
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    let Ok(output) = timeout(SERVES, command.output()).await else {
        // It may have left the process that is to serve.
        end_supervisor(shared, uid).await.map_err(|error| error.to_string())?;
        return Err(format!("the supervisor did not begin to serve within {SERVES:?}"));
    };
    let output = output.map_err(|error| format!("run {}: {error}", shared.config.executable.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(if said.trim().is_empty() {
        format!("supervisor: {}", output.status)
    } else {
        said.trim().to_owned()
    })
}

/// Stops and removes one pod: by its supervisor, or, when that is dead or stuck, in its place.
pub(crate) async fn remove_pod(shared: &Shared, uid: &PodUid) -> Result<(), RuntimeError> {
    let pod_paths = shared.pod_paths(uid);
    if pod_paths.dir.exists() {
        match timeout(SHUTDOWN, shut_down(&pod_paths.dir)).await {
            Ok(Ok(Reply::Ok)) => {}
            Ok(Ok(Reply::Failed(failure))) => {
                tracing::warn!(pod = %uid, reason = failure.reason, "supervisor could not clean up; doing it");
                remove_in_its_place(shared, uid).await?;
            }
            Ok(Ok(_) | Err(_)) => remove_in_its_place(shared, uid).await?,
            Err(_elapsed) => {
                tracing::warn!(pod = %uid, "the supervisor does not end its pod; doing it");
                remove_in_its_place(shared, uid).await?;
            }
        }
    }
    shared.weigh_out(uid)?;
    remove_directory(pod_paths.data).await
}

async fn shut_down(pod_dir: &Path) -> io::Result<Reply> {
    let mut connection = Connection::open(pod_dir).await?;
    connection.send(&Request::Shutdown, &[]).await?;
    let (reply, _) = connection.receive().await?;
    if matches!(reply, Reply::Ok) {
        // The connection ends with the process; that it does is the news.
        let _end = connection.receive().await;
    }
    Ok(reply)
}

async fn remove_in_its_place(shared: &Shared, uid: &PodUid) -> Result<(), RuntimeError> {
    let pod_paths = shared.pod_paths(uid);
    let cgroups = shared.cgroups()?;
    let possible = PodGroups::possible(&shared.config.cgroup_parent, uid);
    let work = move || {
        let mut left = Leftovers::default();
        for groups in &possible {
            for group in groups.both() {
                left.note("kill", Path::new(group), cgroups.kill(group, || {}));
            }
            cleanup::pod(&cgroups, groups, &pod_paths, &mut left);
        }
        left.into_result()
    };
    let failed = |reason| RuntimeError::Cleanup { pod: uid.clone(), reason };
    tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))?.map_err(failed)
}

/// Removes a directory and everything below. Not there is a success.
pub(crate) async fn remove_directory(path: PathBuf) -> Result<(), RuntimeError> {
    let work = path.clone();
    let removed = tokio::task::spawn_blocking(move || paths::remove_tree(&work)).await;
    removed.map_err(io::Error::other).flatten().map_err(|error| RuntimeError::io("remove", &path, error))
}

fn make_private(directory: &Path) -> Result<(), RuntimeError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| RuntimeError::io("create", directory, error))
}
