//! Streams between the agent and a process in a container. The bytes do not pass the supervisor, except the output an
//! attached container also writes to its log.

use crate::client::Connection;
use crate::error::RuntimeError;
use crate::ids::PodUid;
use crate::spec::TerminalSize;
use crate::state::ExitStatus;
use crate::wire::Reply;
use rustix::fs::OFlags;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A command that runs inside a container.
#[derive(Debug)]
pub struct ExecSession {
    /// Its standard input, if asked for. Dropping it is the end of input (not with a terminal).
    pub stdin: Option<SessionInput>,
    /// Its standard output, or the terminal.
    pub stdout: Option<SessionOutput>,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<SessionOutput>,
    /// The terminal, if asked for.
    pub terminal: Option<Terminal>,
    /// The process itself.
    pub process: ExecProcess,
}

/// A connection to the streams of a running container.
#[derive(Debug)]
pub struct AttachSession {
    /// Its standard input.
    pub stdin: Option<SessionInput>,
    /// Its standard output from now on, or the terminal. Ends with the container.
    pub stdout: Option<SessionOutput>,
    /// Its standard error from now on.
    pub stderr: Option<SessionOutput>,
    /// The terminal, if it has one.
    pub terminal: Option<Terminal>,
    /// Keeps the attachment.
    pub(crate) _connection: Connection,
}

/// What a command did, run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// Its output, both streams, cut at the limit.
    pub output: Vec<u8>,
}

/// The process of an exec. Dropping it kills the process group.
#[derive(Debug)]
pub struct ExecProcess {
    pub(crate) pod: PodUid,
    pub(crate) connection: Connection,
    pub(crate) status: Option<ExitStatus>,
}

impl ExecProcess {
    /// Waits for the end of the process. May be dropped and called again.
    pub async fn wait(&mut self) -> Result<ExitStatus, RuntimeError> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            let gone = |source| RuntimeError::SupervisorGone { pod: self.pod.clone(), source };
            if let (Reply::Exited(status), _) = self.connection.receive().await.map_err(gone)? {
                self.status = Some(status);
            }
        }
    }
}

/// A terminal whose size can be changed.
#[derive(Clone, Debug)]
pub struct Terminal(Arc<OwnedFd>);

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> Self {
        Self(Arc::new(master))
    }

    /// Tells the programs on the terminal its new size.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size =
            rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.0, size).map_err(io::Error::from)
    }
}

/// Bytes to a process.
#[derive(Debug)]
pub struct SessionInput(AsyncFd<OwnedFd>);

/// Bytes from a process; ends when the process and its children have closed it.
#[derive(Debug)]
pub struct SessionOutput(AsyncFd<OwnedFd>);

impl SessionInput {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        nonblocking(fd).map(Self)
    }
}

impl SessionOutput {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        nonblocking(fd).map(Self)
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    // SAFETY: the value owns its descriptor and never replaces or closes it while it is registered.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

impl AsyncRead for SessionOutput {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            match guard.try_io(|fd| Ok(rustix::io::read(fd, buf.initialize_unfilled())?)) {
                Ok(Ok(read)) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                // A terminal whose last user is gone says EIO, which is its end of file.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => continue,
            }
        }
    }
}

impl AsyncWrite for SessionInput {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => continue,
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Has no effect: the end of input is sent by dropping the value.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads both streams until the process ends, and keeps the first `limit` bytes. Processes it left behind may still
/// hold the streams: what they write later is not waited for.
pub(crate) async fn capture(mut session: ExecSession, limit: usize) -> Result<Captured, RuntimeError> {
    let mut output = Vec::new();
    let mut keep = |bytes: &[u8]| {
        let room = limit.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    };
    let (mut out, mut err) = (session.stdout.take(), session.stderr.take());
    let (mut from_out, mut from_err) = ([0; 4096], [0; 4096]);
    let status = loop {
        tokio::select! {
            read = read_some(&mut out, &mut from_out) => keep(&from_out[..read]),
            read = read_some(&mut err, &mut from_err) => keep(&from_err[..read]),
            ended = session.process.wait() => break ended?,
        }
    };
    for stream in [out, err].into_iter().flatten() {
        while let Ok(read @ 1..) = rustix::io::read(stream.0.get_ref(), &mut from_out) {
            keep(&from_out[..read]);
        }
    }
    Ok(Captured { status, output })
}

/// Reads once; an ended or broken stream is dropped and never ready again.
async fn read_some(stream: &mut Option<SessionOutput>, buffer: &mut [u8]) -> usize {
    let Some(open) = stream else { return std::future::pending().await };
    match open.read(buffer).await {
        Ok(read) if read > 0 => read,
        _ => {
            *stream = None;
            0
        }
    }
}
