//! Commands in a pod's containers, and connections to the containers' own streams.

use super::PodHandle;
use crate::error::RuntimeError;
use crate::ids::ContainerId;
use crate::session::{
    self, AttachSession, Captured, ExecProcess, ExecSession, SessionInput, SessionOutput, Terminal,
};
use crate::spec::{AttachSpec, ExecSpec};
use crate::wire::{Failure, Reply, Request, Stage};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

impl PodHandle {
    /// Runs a command inside a container. Dropping the session kills the command. It is not run again when the supervisor
    /// does not answer, because it may have begun: that is [`RuntimeError::NoAnswer`].
    pub async fn exec(&self, container: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        let gone = |source| self.gone(source);
        let tty = spec.tty;
        let with_stdin = spec.stdin && !tty;
        let pipe = |wanted: bool| wanted.then(io::pipe).transpose().map_err(gone);
        let (stdin, stdout, stderr) = (pipe(with_stdin)?, pipe(!tty)?, pipe(!tty)?);
        let wants_stdin = spec.stdin;
        let request = Request::Exec { id: container.clone(), spec };
        let theirs = [
            stdin.as_ref().map(|p| p.0.as_fd()),
            stdout.as_ref().map(|p| p.1.as_fd()),
            stderr.as_ref().map(|p| p.1.as_fd()),
        ];
        let theirs: Vec<_> = theirs.into_iter().flatten().collect();
        let (connection, reply, mut fds) = self.begin(&request, &theirs).await?;
        drop(theirs);
        if let Reply::Failed(failure) = reply {
            return Err(self.exec_refused(container, failure));
        }
        let process = ExecProcess { pod: self.uid().clone(), connection, status: None };
        let open = || -> io::Result<ExecSession> {
            if let Some(master) = fds.pop() {
                return terminal_session(master, wants_stdin, process);
            }
            Ok(ExecSession {
                stdin: stdin.map(|p| SessionInput::new(p.1.into())).transpose()?,
                stdout: stdout.map(|p| SessionOutput::new(p.0.into())).transpose()?,
                stderr: stderr.map(|p| SessionOutput::new(p.0.into())).transpose()?,
                terminal: None,
                process,
            })
        };
        open().map_err(gone)
    }

    /// Runs a command to its end, without input, and keeps the first `output_limit` bytes of its output (both streams).
    /// After `timeout` it is killed.
    pub async fn exec_captured(
        &self,
        container: &ContainerId,
        args: Vec<String>,
        timeout: Duration,
        output_limit: usize,
    ) -> Result<Captured, RuntimeError> {
        let command = args.join(" ");
        let run = async {
            let session = self.exec(container, ExecSpec { args, ..ExecSpec::default() }).await?;
            session::capture(session, output_limit).await
        };
        match tokio::time::timeout(timeout, run).await {
            Ok(result) => result,
            Err(_elapsed) => Err(RuntimeError::Timeout { command, limit: timeout }),
        }
    }

    /// Connects to the streams of a running container. Dropping the session leaves the container alone.
    pub async fn attach(
        &self,
        container: &ContainerId,
        spec: AttachSpec,
    ) -> Result<AttachSession, RuntimeError> {
        let gone = |source| self.gone(source);
        let request = Request::Attach { id: container.clone(), spec };
        let (connection, reply, fds) = self.insist(|| self.begin(&request, &[])).await?;
        let Reply::Attached { tty, stdin, stdout, stderr } = reply else {
            let Reply::Failed(failure) = reply else { return Err(gone(io::ErrorKind::InvalidData.into())) };
            return Err(self.refused(container, failure));
        };
        let open = || -> io::Result<AttachSession> {
            let mut fds = fds.into_iter();
            let mut next = |wanted: bool| -> io::Result<Option<OwnedFd>> {
                wanted.then(|| fds.next().ok_or(io::ErrorKind::UnexpectedEof.into())).transpose()
            };
            let terminal = next(tty)?;
            let input = match &terminal {
                Some(master) if stdin => Some(master.try_clone()?),
                Some(_) => None,
                None => next(stdin)?,
            };
            Ok(AttachSession {
                stdin: input.map(SessionInput::new).transpose()?,
                stdout: next(stdout)?.map(SessionOutput::new).transpose()?,
                stderr: next(stderr)?.map(SessionOutput::new).transpose()?,
                terminal: terminal.map(Terminal::new),
                _connection: connection,
            })
        };
        open().map_err(gone)
    }

    fn exec_refused(&self, container: &ContainerId, failure: Failure) -> RuntimeError {
        match failure.stage {
            Stage::Create | Stage::Start | Stage::Hung => {
                RuntimeError::Exec { container: container.clone(), reason: failure.reason }
            }
            Stage::Unknown | Stage::NotRunning | Stage::Other => self.refused(container, failure),
        }
    }
}

fn terminal_session(master: OwnedFd, stdin: bool, process: ExecProcess) -> io::Result<ExecSession> {
    let input = if stdin { Some(SessionInput::new(master.try_clone()?)?) } else { None };
    let output = SessionOutput::new(master.try_clone()?)?;
    let terminal = Some(Terminal::new(master));
    Ok(ExecSession { stdin: input, stdout: Some(output), stderr: None, terminal, process })
}
