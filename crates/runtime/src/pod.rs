//! The agent's handle on one pod: requests to its supervisor and the state it reports.

mod ask;
mod follow;
mod resize;
mod sessions;
mod signals;

use crate::client::Connection;
use crate::error::RuntimeError;
use crate::ids::{ContainerId, PodUid};
use crate::runtime::{self, Shared};
use crate::spec::{ContainerSpec, MountKind, PodSandbox};
use crate::state::{ContainerStatus, PodState, PodStats};
use crate::wire::{Failure, Reply, Request, Stage, StartRequest, SupervisorConfig};
use follow::{Followed, follow, keep_terminal, subscribe};
use futures::Stream;
use signals::parse_signal;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A pod under supervision. Clones share one connection; dropping the last leaves the pod running.
#[derive(Clone, Debug)]
pub struct PodHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SupervisorConfig,
    shared: Arc<Shared>,
    pod_dir: PathBuf,
    netns: PathBuf,
    state: watch::Receiver<PodState>,
    stopping: Arc<AtomicBool>,
    terminals: Terminals,
    watcher: AbortHandle,
}

/// Masters of the containers' terminals: kept so that a terminal does not hang up when the supervisor dies.
type Terminals = Arc<parking_lot::Mutex<HashMap<ContainerId, OwnedFd>>>;

impl Drop for Inner {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl PodHandle {
    /// Connects to a supervisor that serves; a later death of it is answered with a successor.
    pub(crate) async fn connect(shared: Arc<Shared>, config: SupervisorConfig) -> Result<Self, RuntimeError> {
        let paths = shared.pod_paths(&config.sandbox.uid);
        let uid = config.sandbox.uid.clone();
        let gone = |source| RuntimeError::SupervisorGone { pod: uid.clone(), source };
        let first = async { subscribe(Connection::open(&paths.dir).await?).await };
        let (connection, first) = first.await.map_err(gone)?;
        let (sender, state) = watch::channel(first);
        let stopping = Arc::new(AtomicBool::new(false));
        let terminals = Terminals::default();
        // Taken out first: the state's lock must not be held while waiting.
        let with_terminal =
            state.borrow().containers.iter().filter(|c| c.tty).map(|c| c.id.clone()).collect::<Vec<_>>();
        for id in &with_terminal {
            keep_terminal(&paths.dir, id, &terminals).await;
        }
        let pod = Followed {
            shared: shared.clone(),
            uid,
            terminals: terminals.clone(),
            stopping: stopping.clone(),
        };
        let watcher = tokio::spawn(follow(pod, connection, sender)).abort_handle();
        let netns = if config.sandbox.host_network { PathBuf::from("/proc/1/ns/net") } else { paths.netns };
        let inner = Inner { config, shared, pod_dir: paths.dir, netns, state, stopping, terminals, watcher };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Identity of the pod.
    pub fn uid(&self) -> &PodUid {
        &self.inner.config.sandbox.uid
    }

    /// What the pod was started as.
    pub fn sandbox(&self) -> &PodSandbox {
        &self.inner.config.sandbox
    }

    /// The pod's network namespace as a file (`/proc/1/ns/net` with host network).
    pub fn netns_path(&self) -> &Path {
        &self.inner.netns
    }

    /// Makes and starts one container; returns once its program runs, or when that has taken longer than
    /// [`RuntimeConfig::start_limit`](crate::RuntimeConfig).
    pub async fn start_container(&self, spec: ContainerSpec) -> Result<ContainerId, RuntimeError> {
        let images = self.inner.shared.images();
        let _in_use = images.hold().await;
        let rootfs = images.rootfs(&spec.image).await?;
        let mut mounted = BTreeMap::new();
        for mount in &spec.mounts {
            if let MountKind::Image { image, .. } = &mount.kind {
                mounted.insert(image.clone(), images.rootfs(image).await?);
            }
        }
        let start = || {
            let (spec, rootfs, images) = (spec.clone(), rootfs.clone(), mounted.clone());
            StartRequest { id: ContainerId::random(), spec, rootfs, images }
        };
        match self.start(start()).await {
            // What happened to the supervisor is no fault of the container's: its successor is asked, once.
            Err(RuntimeError::SupervisorGone { .. } | RuntimeError::NoAnswer { .. }) => {
                self.start(start()).await
            }
            result => result,
        }
    }

    async fn start(&self, request: StartRequest) -> Result<ContainerId, RuntimeError> {
        let (pod, id, name) = (self.uid().clone(), request.id.clone(), request.spec.name.clone());
        let (reply, fds) = match self.exchange(&Request::Start(Box::new(request))).await {
            Ok(answer) => answer,
            Err(gone) => return self.interrupted(id, gone).await,
        };
        self.inner.terminals.lock().extend(fds.into_iter().map(|master| (id.clone(), master)));
        match reply {
            Reply::Failed(Failure { stage: Stage::Start, reason }) => {
                self.discard_data(&id).await?;
                Err(RuntimeError::Start { pod, container: name, reason })
            }
            Reply::Failed(Failure { stage: Stage::Hung, reason }) => {
                self.discard_data(&id).await?;
                Err(RuntimeError::Hung { pod, container: name, reason })
            }
            Reply::Failed(Failure { reason, .. }) => {
                self.discard_data(&id).await?;
                Err(RuntimeError::Create { pod, container: name, reason })
            }
            _ => Ok(id),
        }
    }

    /// What became of a container whose start was not answered: it runs, or nothing is left of it.
    async fn interrupted(&self, id: ContainerId, gone: RuntimeError) -> Result<ContainerId, RuntimeError> {
        if let Ok((Reply::State(state), _)) = self.exchange(&Request::Watch).await
            && state.container(&id).is_some_and(|c| c.status != ContainerStatus::Created)
        {
            return Ok(id);
        }
        self.discard_data(&id).await?;
        Err(gone)
    }

    /// Sends a signal (by name, `SIGTERM` or `TERM`, or number) to the container's first process. `SIGKILL` ends every
    /// process of the container. Ended containers are a success. A supervisor that does not answer is replaced: nothing that
    /// happens to it keeps a container running.
    pub async fn signal(&self, container: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        let request = Request::Signal { id: container.clone(), signal: parse_signal(signal)? };
        let reply = self.insist(|| self.ask(&request)).await?;
        self.done(reply, container)
    }

    /// Asks the container to stop with `signal`, kills it after `grace`, and returns when it has ended.
    pub async fn stop_container(
        &self,
        container: &ContainerId,
        signal: &str,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        if !grace.is_zero() {
            self.signal(container, signal).await?;
            if tokio::time::timeout(grace, self.ended(container)).await.is_ok() {
                return Ok(());
            }
        }
        self.signal(container, "SIGKILL").await?;
        self.ended(container).await;
        Ok(())
    }

    /// Waits until the container has ended, was removed, or is lost with its pod. A supervisor's death is not the
    /// container's.
    async fn ended(&self, container: &ContainerId) {
        let mut state = self.inner.state.clone();
        let over = |state: &PodState| {
            let status = state.container(container).map(|c| &c.status);
            matches!(status, None | Some(ContainerStatus::Exited { .. }))
        };
        // The sender goes away when nobody follows the pod any more.
        let _closed = state.wait_for(over).await;
    }

    /// Kills the container if need be and removes what is left of it, except its log.
    pub async fn remove_container(&self, container: &ContainerId) -> Result<(), RuntimeError> {
        let request = Request::Remove { id: container.clone() };
        let reply = self.insist(|| self.ask(&request)).await?;
        self.done(reply, container)?;
        self.discard_data(container).await
    }

    /// The state now, asked of the supervisor or its successor; the last known one if there is none.
    pub async fn state(&self) -> PodState {
        let ask = || self.answered(async { subscribe(self.open().await?).await });
        match self.insist(ask).await {
            Ok((_, state)) => state,
            Err(_gone) => PodState { supervised: false, ..self.inner.state.borrow().clone() },
        }
    }

    /// Waits until no container is being started: the supervisor completes a start also when the agent that asked for
    /// it has died.
    pub async fn settled(&self) {
        let starts = |state: &PodState| state.containers.iter().any(|c| c.status == ContainerStatus::Created);
        let mut state = self.inner.state.clone();
        // The sender only goes away with this handle's last clone, or with the pod.
        let _closed = state.wait_for(|state| !state.supervised || !starts(state)).await;
    }

    /// The state now and after every change (the latest one if several happened in between). While the supervisor is
    /// gone, `supervised` is false. Ends when the pod was stopped or is lost.
    pub fn events(&self) -> impl Stream<Item = PodState> + Send + Unpin + use<> {
        let mut receiver = self.inner.state.clone();
        receiver.mark_changed();
        Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.changed().await.ok()?;
            let state = receiver.borrow_and_update().clone();
            Some((state, receiver))
        }))
    }

    /// Like [`PodHandle::events`], as a channel.
    pub fn watch(&self) -> watch::Receiver<PodState> {
        self.inner.state.clone()
    }

    /// Kills every container, ends the supervisor and removes everything of the pod from the kernel. Safe to repeat.
    pub async fn stop(self) -> Result<(), RuntimeError> {
        self.inner.stopping.store(true, Ordering::Release);
        runtime::remove_pod(&self.inner.shared, self.uid()).await
    }

    /// What the pod and its running containers use now. Reads files of the kernel, which may take milliseconds.
    pub fn stats(&self) -> Result<PodStats, RuntimeError> {
        let cgroups = self.inner.shared.cgroups()?;
        let pod = crate::supervisor::pod_groups(&self.inner.config).pod;
        let state = self.inner.state.borrow().clone();
        let running =
            state.containers.into_iter().filter(|c| matches!(c.status, ContainerStatus::Running { .. }));
        let containers = running.map(|c| (c.id.clone(), cgroups.usage(&format!("{pod}/{}", c.id)))).collect();
        let (usage, processes) = (cgroups.usage(&pod), cgroups.count_processes(&pod));
        Ok(PodStats { group: pod, pod: usage, processes, containers })
    }

    /// Bytes on the disk that a container has written outside its volumes. Looks at every file of them.
    pub fn layer_usage(&self, container: &ContainerId) -> io::Result<u64> {
        let paths = self.inner.shared.pod_paths(self.uid()).container(container);
        skiff_rooted::Root::open(paths.upper())?.usage()
    }

    fn gone(&self, source: io::Error) -> RuntimeError {
        RuntimeError::SupervisorGone { pod: self.uid().clone(), source }
    }

    fn done(&self, reply: Reply, container: &ContainerId) -> Result<(), RuntimeError> {
        match reply {
            Reply::Failed(failure) => Err(self.refused(container, failure)),
            _ => Ok(()),
        }
    }

    fn refused(&self, container: &ContainerId, failure: Failure) -> RuntimeError {
        let (pod, container) = (self.uid().clone(), container.clone());
        match failure.stage {
            Stage::Unknown => RuntimeError::NoContainer { pod, container },
            Stage::NotRunning => RuntimeError::NotRunning { container },
            Stage::Create | Stage::Start | Stage::Hung | Stage::Other => {
                RuntimeError::Refused { pod, reason: failure.reason }
            }
        }
    }

    /// Removes a container's writable layer, which may take a while, off the supervisor's loop.
    async fn discard_data(&self, container: &ContainerId) -> Result<(), RuntimeError> {
        let paths = self.inner.shared.pod_paths(self.uid()).container(container);
        runtime::remove_directory(paths.data).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{AttachSpec, ExecSpec};

    #[test]
    fn everything_can_be_spawned() {
        fn sendable<T: Send>(_: &T) {}
        fn check(runtime: &crate::Runtime, pod: &PodHandle, spec: ContainerSpec, id: &ContainerId) {
            sendable(&runtime.start_pod(pod.sandbox().clone()));
            sendable(&runtime.existing());
            sendable(&runtime.adopt(pod.uid()));
            sendable(&runtime.cleanup_all());
            sendable(&runtime.images().resolve("x", crate::PullPolicy::Always, &[]));
            sendable(&runtime.images().load(Path::new("x")));
            sendable(&runtime.images().remove("x"));
            sendable(&pod.start_container(spec));
            sendable(&pod.exec(id, ExecSpec::default()));
            sendable(&pod.exec_captured(id, Vec::new(), Duration::ZERO, 0));
            sendable(&pod.attach(id, AttachSpec::default()));
            sendable(&pod.remove_container(id));
            sendable(&pod.state());
            sendable(&pod.clone().stop());
        }
        // Compiling is the test.
        let _compiled: fn(&crate::Runtime, &PodHandle, ContainerSpec, &ContainerId) = check;
    }
}
