//! Requests to a pod's supervisor, and what is done about one that does not answer.

use super::PodHandle;
use super::follow::subscribe;
use crate::client::Connection;
use crate::error::RuntimeError;
use crate::runtime;
use crate::wire::{Reply, Request};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long an answer may take before it is asked whether the supervisor hangs.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a supervisor's successor may take to serve.
const SUCCESSION: Duration = Duration::from_secs(5);

impl PodHandle {
    pub(super) async fn exchange(&self, request: &Request) -> Result<(Reply, Vec<OwnedFd>), RuntimeError> {
        self.answered(async { exchange(self.open().await?, request, &[]).await }).await
    }

    /// Sends one request and waits for its answer.
    pub(super) async fn ask(&self, request: &Request) -> Result<Reply, RuntimeError> {
        self.exchange(request).await.map(|(reply, _)| reply)
    }

    /// Sends one request and waits for its first answer, over a connection that others follow on.
    pub(super) async fn begin(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Connection, Reply, Vec<OwnedFd>), RuntimeError> {
        let answer = async {
            let mut connection = self.open().await?;
            connection.send(request, fds).await?;
            let (reply, fds) = connection.receive().await?;
            Ok((connection, reply, fds))
        };
        self.answered(answer).await
    }

    /// Asks for what does no harm if it is done twice, until a supervisor answers.
    pub(super) async fn insist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, RuntimeError>>,
    {
        for _ in 0..runtime::SUCCESSORS {
            match ask().await {
                Err(RuntimeError::NoAnswer { .. }) => {}
                // It died, or was ended by another who waited for it.
                Err(RuntimeError::SupervisorGone { .. }) if self.inner.pod_dir.exists() => {}
                outcome => return outcome,
            }
        }
        ask().await
    }

    /// The answer to a request, however long the work takes, as long as the supervisor lives. One that hangs is ended, and
    /// another takes its place: nothing that happens to it holds up a container or whoever asks.
    pub(super) async fn answered<T>(
        &self,
        answer: impl Future<Output = io::Result<T>>,
    ) -> Result<T, RuntimeError> {
        tokio::select! {
            biased;
            outcome = answer => outcome.map_err(|source| self.gone(source)),
            () = self.hangs() => {
                tracing::warn!(pod = %self.uid(), "the supervisor does not answer; another takes its place");
                runtime::end_supervisor(&self.inner.shared, self.uid()).await?;
                Err(RuntimeError::NoAnswer { pod: self.uid().clone(), limit: runtime::ANSWER })
            }
        }
    }

    /// Ends when the supervisor does not even tell the state, which it has in memory. Nobody else tells of a process that
    /// hangs, so it is asked again and again.
    async fn hangs(&self) {
        let mut pause = AT_ONCE;
        loop {
            tokio::time::sleep(pause).await;
            let state = async { subscribe(Connection::open(&self.inner.pod_dir).await?).await };
            if tokio::time::timeout(runtime::ANSWER, state).await.is_err() {
                return;
            }
            pause = runtime::ANSWER;
        }
    }

    /// Connects to the supervisor or, when it has just died, to its successor.
    pub(super) async fn open(&self) -> io::Result<Connection> {
        let mut state = self.inner.state.clone();
        state.mark_unchanged();
        let connect = async {
            loop {
                match Connection::open(&self.inner.pod_dir).await {
                    // Its death and its successor are changes of the state; that there will be none, an error.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        state.changed().await.map_err(|_| error)?;
                    }
                    result => return result,
                }
            }
        };
        tokio::time::timeout(SUCCESSION, connect).await?
    }
}

/// One request and its answer, over a connection of their own.
pub(super) async fn exchange(
    mut connection: Connection,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> io::Result<(Reply, Vec<OwnedFd>)> {
    connection.send(request, fds).await?;
    connection.receive().await
}
