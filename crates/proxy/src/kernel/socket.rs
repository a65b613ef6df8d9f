//! A netlink socket to the netfilter subsystems. Calls block; they belong on a thread for blocking work.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, recv, sendto,
    socket_with,
};

use skiff_netlink::{Message, messages};

use super::{
    abi,
    wire::{MessageHead, Writer},
};

/// Longest wait for an answer. The kernel answers at once; this only bounds a wait for an answer that was lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes for answers of the kernel; a datagram of a dump is far smaller.
const RECEIVE: usize = 256 * 1024;
/// Bytes the kernel may queue for us.
const RECEIVE_QUEUE: usize = 4 * 1024 * 1024;

/// A request that the kernel did not carry out.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The socket failed. After `ENOBUFS` an answer was lost, and the state has to be read again.
    #[error("netfilter socket: {action}")]
    Socket {
        /// What was attempted.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel refused a request; nothing of its transaction was done.
    #[error("the kernel refused to {action}")]
    Refused {
        /// What was attempted.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The state changed while it was read; reading again helps.
    #[error("the kernel's state changed while it was read")]
    Interrupted,
}

impl KernelError {
    /// Whether the kernel knows no such object.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn failed(action: &'static str) -> impl FnOnce(Errno) -> KernelError {
    move |errno| KernelError::Socket { action, source: errno.into() }
}

/// A socket of the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(super) fn open() -> Result<Self, KernelError> {
        Self::bound(0)
    }

    /// One that also hears what is reported to a group (1 to 32).
    pub(super) fn listening(group: u32) -> Result<Self, KernelError> {
        Self::bound(1 << (group - 1))
    }

    fn bound(groups: u32) -> Result<Self, KernelError> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))
            .map_err(failed("open"))?;
        bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(failed("bind"))?;
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE)).map_err(failed("set time limit"))?;
        sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_QUEUE)
            .map_err(failed("enlarge receive buffer"))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; RECEIVE] })
    }

    /// The number by which notifications tell our own changes from those of others.
    pub(super) fn port(&self) -> Result<u32, KernelError> {
        let address = getsockname(&self.fd).and_then(SocketAddrNetlink::try_from);
        Ok(address.map_err(failed("look up"))?.pid())
    }

    /// Runs `requests` as one transaction: all of it happens, or nothing.
    pub(super) fn transaction(
        &mut self,
        action: &'static str,
        requests: Vec<Request<'_>>,
    ) -> Result<(), KernelError> {
        let mut writer = Writer::default();
        let first = self.next_sequence();
        let delimiter = |kind, sequence| MessageHead {
            kind,
            flags: 0,
            sequence,
            family: 0,
            resource: abi::NFNL_SUBSYS_NFTABLES,
        };
        writer.message(delimiter(abi::NFNL_MSG_BATCH_BEGIN, first), |_| {});
        let (mut last, count) = (first, requests.len());
        for (number, request) in requests.into_iter().enumerate() {
            last = self.next_sequence();
            // Errors come in any case; the answer to the last request tells that there are no more.
            let ack = if number + 1 == count { abi::NLM_F_ACK } else { 0 };
            writer.message(request.head(last, ack), request.body);
        }
        writer.message(delimiter(abi::NFNL_MSG_BATCH_END, self.next_sequence()), |_| {});
        if count == 0 {
            return Ok(());
        }
        self.send(&writer.into_bytes())?;
        let mut refusal = 0;
        self.receive_until(action, |message| {
            let ours = message.kind == abi::NLMSG_ERROR && (first..=last).contains(&message.sequence);
            if !ours {
                return Step::More;
            }
            let error = message.error();
            if refusal == 0 {
                refusal = error;
            }
            // A failure of the whole transaction is reported for its first message.
            let all = message.sequence == last || (error != 0 && message.sequence == first);
            if !all {
                Step::More
            } else if refusal == 0 {
                Step::Done
            } else {
                Step::Refused(refusal)
            }
        })
    }

    /// Sends one request and waits until it is done.
    pub(super) fn request(&mut self, action: &'static str, request: Request<'_>) -> Result<(), KernelError> {
        self.query(action, request, abi::NLM_F_ACK, |_| {})
    }

    /// Sends one request and hands each answer to `each`.
    pub(super) fn dump(
        &mut self,
        action: &'static str,
        request: Request<'_>,
        each: impl FnMut(Message<'_>),
    ) -> Result<(), KernelError> {
        self.query(action, request, abi::NLM_F_DUMP, each)
    }

    /// Sends one request for one object and hands it to `each`.
    pub(super) fn get(
        &mut self,
        action: &'static str,
        request: Request<'_>,
        each: impl FnMut(Message<'_>),
    ) -> Result<(), KernelError> {
        self.query(action, request, abi::NLM_F_ACK, each)
    }

    fn query(
        &mut self,
        action: &'static str,
        request: Request<'_>,
        flags: u16,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), KernelError> {
        let sequence = self.next_sequence();
        let mut writer = Writer::default();
        writer.message(request.head(sequence, flags), request.body);
        self.send(&writer.into_bytes())?;
        let mut interrupted = false;
        self.receive_until(action, |message| {
            if message.sequence != sequence {
                return Step::More; // an answer to an earlier request that nobody waited for
            }
            interrupted |= message.flags & abi::NLM_F_DUMP_INTR != 0;
            match message.kind {
                abi::NLMSG_DONE => Step::Done,
                abi::NLMSG_ERROR if message.error() == 0 => Step::Done,
                abi::NLMSG_ERROR => Step::Refused(message.error()),
                _ => {
                    each(message);
                    Step::More
                }
            }
        })?;
        if interrupted { Err(KernelError::Interrupted) } else { Ok(()) }
    }

    /// Hands reports to `enough` until it says so, or until `patience` is over. Reports may be lost when there are too many.
    pub(super) fn listen(
        &mut self,
        action: &'static str,
        patience: Duration,
        mut enough: impl FnMut(Message<'_>) -> bool,
    ) -> Result<(), KernelError> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sockopt::set_socket_timeout(&self.fd, Timeout::Recv, Some(left))
                .map_err(failed("set time limit"))?;
            match self.receive() {
                Ok(length) => {
                    if messages(&self.buffer[..length]).any(&mut enough) {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN | Errno::NOBUFS) => {}
                Err(errno) => return Err(failed(action)(errno)),
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), KernelError> {
        // A transaction is one datagram, and the kernel counts it at twice its size.
        let needed = bytes.len().saturating_mul(2).max(RECEIVE);
        sockopt::set_socket_send_buffer_size_force(&self.fd, needed)
            .map_err(failed("enlarge send buffer"))?;
        retry_on_intr(|| sendto(&self.fd, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)))
            .map(drop)
            .map_err(failed("send"))
    }

    /// Takes one datagram from the queue into the buffer, and returns its length.
    fn receive(&mut self) -> Result<usize, Errno> {
        let (fd, buffer) = (&self.fd, &mut self.buffer);
        retry_on_intr(|| recv(fd, &mut buffer[..], RecvFlags::empty())).map(|(length, _)| length)
    }

    /// Hands messages to `judge` until it is content.
    fn receive_until(
        &mut self,
        action: &'static str,
        mut judge: impl FnMut(Message<'_>) -> Step,
    ) -> Result<(), KernelError> {
        loop {
            let length = self.receive().map_err(failed("wait for an answer"))?;
            for message in messages(&self.buffer[..length]) {
                match judge(message) {
                    Step::More => {}
                    Step::Done => return Ok(()),
                    Step::Refused(errno) => {
                        let source = io::Error::from_raw_os_error(errno);
                        return Err(KernelError::Refused { action, source });
                    }
                }
            }
        }
    }
}

enum Step {
    More,
    Done,
    Refused(i32),
}

/// One message to the kernel.
pub(super) struct Request<'a> {
    subsystem: u16,
    kind: u16,
    flags: u16,
    family: u8,
    body: Box<dyn FnOnce(&mut Writer) + 'a>,
}

impl<'a> Request<'a> {
    /// To nftables.
    pub(super) fn table(kind: u16, flags: u16, body: impl FnOnce(&mut Writer) + 'a) -> Self {
        Self {
            subsystem: abi::NFNL_SUBSYS_NFTABLES,
            kind,
            flags,
            family: abi::NFPROTO_IPV4,
            body: Box::new(body),
        }
    }

    /// To connection tracking.
    pub(super) fn flows(kind: u16, body: impl FnOnce(&mut Writer) + 'a) -> Self {
        Self {
            subsystem: abi::NFNL_SUBSYS_CTNETLINK,
            kind,
            flags: 0,
            family: abi::NFPROTO_IPV4,
            body: Box::new(body),
        }
    }

    /// To tables of another family than IPv4.
    pub(super) fn of_family(self, family: u8) -> Self {
        Self { family, ..self }
    }

    fn head(&self, sequence: u32, flags: u16) -> MessageHead {
        MessageHead {
            kind: self.subsystem << 8 | self.kind,
            flags: self.flags | flags,
            sequence,
            family: self.family,
            resource: 0,
        }
    }
}
