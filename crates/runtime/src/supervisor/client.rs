//! One connection to the supervisor's socket.

use crate::wire::{self, Inbox, Reply};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Unsent bytes at which a client that does not read is dropped.
const OUTBOX_LIMIT: usize = 4 << 20;

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) socket: OwnedFd,
    pub(super) inbox: Inbox,
    outbox: VecDeque<Outgoing>,
    /// Wants the state after every change.
    pub(super) watches: bool,
    /// Is to be closed once everything is sent.
    pub(super) finished: bool,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Client {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, inbox: Inbox::default(), outbox: VecDeque::new(), watches: false, finished: false }
    }

    /// Queues an answer and sends what can be sent now. An error means the client is gone.
    pub(super) fn send(&mut self, reply: &Reply, fds: Vec<OwnedFd>) -> io::Result<()> {
        let bytes = wire::frame(reply)?;
        let queued: usize = self.outbox.iter().map(|o| o.bytes.len()).sum();
        if queued + bytes.len() > OUTBOX_LIMIT {
            return Err(io::Error::other("client does not read"));
        }
        self.outbox.push_back(Outgoing { bytes, sent: 0, fds });
        self.flush()
    }

    /// Sends what can be sent now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(next) = self.outbox.front_mut() {
            let fds: Vec<_> = next.fds.iter().map(AsFd::as_fd).collect();
            match wire::send_with_fds(&self.socket, &next.bytes[next.sent..], &fds) {
                Ok(sent) => next.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            next.fds.clear();
            if next.sent == next.bytes.len() {
                self.outbox.pop_front();
            }
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(super) fn is_pending(&self) -> bool {
        !self.outbox.is_empty()
    }
}
