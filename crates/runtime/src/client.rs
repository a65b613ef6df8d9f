//! The agent's end of a supervisor's socket.

use crate::paths::CONTROL_SOCKET;
use crate::wire::{self, Inbox, Reply, Request};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// One connection: a request and its answers.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    inbox: Inbox,
}

impl Connection {
    /// Connects to the supervisor of the pod in this directory.
    pub(crate) async fn open(pod_dir: &Path) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags};
        // Through a descriptor, because socket addresses hold only 107 bytes.
        let directory =
            rustix::fs::open(pod_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", directory.as_raw_fd());
        Ok(Self { stream: UnixStream::connect(path).await?, inbox: Inbox::default() })
    }

    /// Sends a request, with descriptors.
    pub(crate) async fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = wire::frame(request)?;
        let mut sent = 0;
        while sent < bytes.len() {
            let fds = if sent == 0 { fds } else { &[] };
            self.stream.writable().await?;
            let once = || wire::send_with_fds(self.stream.as_fd(), &bytes[sent..], fds);
            match self.stream.try_io(Interest::WRITABLE, once) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the next answer. The end of the connection is an error.
    ///
    /// Cancel safe: what was received stays for the next call.
    pub(crate) async fn receive(&mut self) -> io::Result<(Reply, Vec<OwnedFd>)> {
        loop {
            if let Some(message) = self.inbox.next()? {
                return Ok(message);
            }
            self.stream.readable().await?;
            let (stream, inbox) = (&self.stream, &mut self.inbox);
            match stream.try_io(Interest::READABLE, || inbox.receive(stream.as_fd())) {
                Ok(true) => {}
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
