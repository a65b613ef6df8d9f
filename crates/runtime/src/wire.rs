//! What the agent and a supervisor say to each other: frames of a four-byte little-endian length and as much JSON, over
//! a stream socket; descriptors travel with the first byte of the frame they belong to.
//!
//! A connection carries one request and its answers; `Watch`, `Exec` and `Attach` keep theirs open. Closing an exec's
//! connection kills the command.

use crate::cgroup::Cgroups;
use crate::ids::{ContainerId, ImageId};
use crate::spec::{AttachSpec, ContainerSpec, ExecSpec, PodSandbox};
use crate::state::{ExitStatus, PodState};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// What a supervisor is started with: the content of `pod.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SupervisorConfig {
    pub(crate) sandbox: PodSandbox,
    pub(crate) run_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) cgroup_parent: String,
    /// How long the start of a container or command may take.
    #[serde(default = "start_limit")]
    pub(crate) start_limit: Duration,
    /// The trees of control groups, so that not every supervisor looks for them among the mounts of all pods. Those of pods that
    /// were started without do.
    #[serde(default)]
    pub(crate) cgroups: Option<Cgroups>,
}

/// The bound of pods that were started without one.
fn start_limit() -> Duration {
    crate::START_LIMIT
}

/// A question to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Make and start a container.
    Start(Box<StartRequest>),
    /// Send a signal to the first process, or `SIGKILL` to all.
    Signal { id: ContainerId, signal: i32 },
    /// Kill, clear away, forget.
    Remove { id: ContainerId },
    /// Run a command; the frame carries its stdin, stdout and stderr as far as asked for, unless it has a terminal.
    Exec { id: ContainerId, spec: ExecSpec },
    /// Connect to a container's streams.
    Attach { id: ContainerId, spec: AttachSpec },
    /// Take over a terminal's master, which the frame carries, from a supervisor that died.
    Terminal { id: ContainerId },
    /// Report the state now and after every change.
    Watch,
    /// Remove everything and end.
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) id: ContainerId,
    pub(crate) spec: ContainerSpec,
    pub(crate) rootfs: RootfsSource,
    /// The images that it mounts.
    #[serde(default)]
    pub(crate) images: BTreeMap<ImageId, RootfsSource>,
}

/// The read-only layers of a root file system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RootfsSource {
    /// Directory the layers' names are relative to.
    pub(crate) directory: PathBuf,
    /// Layers, topmost first.
    pub(crate) layers: Vec<String>,
}

/// An answer of the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Done. After the start of a container with a terminal, a copy of the master comes along: while the agent keeps
    /// it, the terminal outlives the supervisor.
    Ok,
    /// Not done.
    Failed(Failure),
    /// The command runs. With a terminal, its master comes along.
    ExecStarted,
    /// The command ended.
    Exited(ExitStatus),
    /// Streams, in the order stdin, stdout, stderr as far as asked for; with a terminal: the master, then the output.
    Attached { tty: bool, stdin: bool, stdout: bool, stderr: bool },
    /// The state of the pod.
    State(PodState),
}

/// Why a request was not fulfilled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) reason: String,
}

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// No such container.
    Unknown,
    /// The container does not run.
    NotRunning,
    /// Preparing failed.
    Create,
    /// The program could not be run.
    Start,
    /// It did not come to an end within its time, and was ended.
    Hung,
    /// Anything else.
    Other,
}

/// Longest frame accepted, in bytes.
const MAX_FRAME: usize = 16 << 20;
/// Most descriptors in one frame.
const MAX_FDS: usize = 4;

/// A message as a frame.
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Bytes and descriptors received but not yet understood.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Inbox {
    /// Receives once. Returns false at the end of the stream; `WouldBlock` when there is nothing.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let mut chunk = [0u8; 8192];
        let received = receive_with_fds(socket, &mut chunk, &mut self.fds)?;
        self.bytes.extend_from_slice(&chunk[..received]);
        Ok(received > 0)
    }

    /// Takes the next whole message and the descriptors that came up to its end.
    pub(crate) fn next<M: DeserializeOwned>(&mut self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let Some(header) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*header)).map_err(io::Error::other)?;
        if length > MAX_FRAME {
            return Err(io::Error::other(format!("frame of {length} bytes is too long")));
        }
        let Some(body) = self.bytes.get(4..4 + length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        self.bytes.shrink_to(8192);
        Ok(Some((message, std::mem::take(&mut self.fds))))
    }
}

/// Sends bytes, the descriptors along with the first of them. Returns how many bytes went.
pub(crate) fn send_with_fds(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let flags = SendFlags::NOSIGNAL;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)
    })?)
}

/// Receives bytes and the descriptors that come with them (close-on-exec).
pub(crate) fn receive_with_fds(
    socket: impl AsFd,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_arrive_whole_with_their_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let message = Request::Signal { id: ContainerId::new("c").unwrap(), signal: 15 };
        let bytes = frame(&message).unwrap();
        // In two pieces, the descriptor with the first.
        assert_eq!(send_with_fds(&here, &bytes[..3], &[writer.as_fd()]).unwrap(), 3);
        let mut inbox = Inbox::default();
        assert!(inbox.receive(&there).unwrap());
        assert!(inbox.next::<Request>().unwrap().is_none());
        send_with_fds(&here, &bytes[3..], &[]).unwrap();
        assert!(inbox.receive(&there).unwrap());
        let (got, fds) = inbox.next::<Request>().unwrap().unwrap();
        assert!(matches!(got, Request::Signal { signal: 15, .. }));
        assert_eq!(fds.len(), 1);
        drop((here, writer, fds, reader));
        assert!(!inbox.receive(&there).unwrap());
    }
}
