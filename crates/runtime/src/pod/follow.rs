//! The task that knows a pod's state, keeps its terminals, and gives a dead supervisor a successor.

use super::Terminals;
use super::ask::exchange;
use crate::client::Connection;
use crate::ids::{ContainerId, PodUid};
use crate::runtime::{self, Shared};
use crate::spec::AttachSpec;
use crate::state::{ContainerStatus, PodState};
use crate::wire::{Reply, Request};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What the task that follows a pod's state needs.
pub(super) struct Followed {
    pub(super) shared: Arc<Shared>,
    pub(super) uid: PodUid,
    pub(super) terminals: Terminals,
    pub(super) stopping: Arc<AtomicBool>,
}

/// Keeps the state current; gives a dead supervisor a successor.
pub(super) async fn follow(pod: Followed, mut connection: Connection, sender: watch::Sender<PodState>) {
    let Followed { shared, uid, terminals, stopping } = pod;
    let pod_dir = shared.pod_paths(&uid).dir;
    let runs = |state: &PodState, id: &ContainerId| {
        state.container(id).is_some_and(|c| !matches!(c.status, ContainerStatus::Exited { .. }))
    };
    loop {
        while let Ok((reply, _)) = connection.receive().await {
            if let Reply::State(state) = reply {
                terminals.lock().retain(|id, _| runs(&state, id));
                sender.send_replace(state);
            }
        }
        sender.send_modify(|state| state.supervised = false);
        if stopping.load(Ordering::Acquire) || !pod_dir.exists() {
            return;
        }
        tracing::warn!(pod = %uid, "supervisor died; starting its successor");
        match revive(&shared, &uid, &pod_dir).await {
            Ok((next, state)) => {
                return_terminals(&pod_dir, &terminals).await;
                connection = next;
                sender.send_replace(state);
            }
            Err(reason) => {
                tracing::error!(pod = %uid, reason, "no successor for the supervisor; the pod is lost");
                return;
            }
        }
    }
}

/// Starts a successor of a dead supervisor, and the next one when that dies before it is spoken to.
async fn revive(shared: &Shared, uid: &PodUid, pod_dir: &Path) -> Result<(Connection, PodState), String> {
    let mut reason = String::new();
    for _ in 0..runtime::SUCCESSORS {
        runtime::launch(shared, uid, true).await?;
        let state = async { subscribe(Connection::open(pod_dir).await?).await };
        match state.await {
            Ok(revived) => return Ok(revived),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// Asks for the state and its changes.
pub(super) async fn subscribe(mut connection: Connection) -> io::Result<(Connection, PodState)> {
    connection.send(&Request::Watch, &[]).await?;
    match connection.receive().await? {
        (Reply::State(state), _) => Ok((connection, state)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Asks for a copy of a terminal's master. Without it the terminal lives as long as the supervisor.
pub(super) async fn keep_terminal(pod_dir: &Path, id: &ContainerId, terminals: &Terminals) {
    let request = Request::Attach { id: id.clone(), spec: AttachSpec::default() };
    let answer = async { exchange(Connection::open(pod_dir).await?, &request, &[]).await };
    if let Ok((Reply::Attached { tty: true, .. }, mut fds)) = answer.await
        && let Some(master) = fds.pop()
    {
        terminals.lock().insert(id.clone(), master);
    }
}

/// Gives the terminals that were kept to a new supervisor.
async fn return_terminals(pod_dir: &Path, terminals: &Terminals) {
    let copies: Vec<_> =
        terminals.lock().iter().filter_map(|(id, fd)| Some((id.clone(), fd.try_clone().ok()?))).collect();
    for (id, master) in copies {
        let request = Request::Terminal { id: id.clone() };
        let returned =
            async { exchange(Connection::open(pod_dir).await?, &request, &[master.as_fd()]).await };
        if let Err(error) = returned.await {
            tracing::warn!(container = %id, %error, "its terminal is lost");
        }
    }
}
