//! A socket for requests to the kernel, one after the other, and their answers.

use std::{io, os::fd::OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};
use tokio::io::{Interest, unix::AsyncFd};
use tokio::sync::Mutex;

use crate::message::{HEADER, Message, messages};

/// Bytes of one answer at most; the kernel makes them of a page or two.
const DATAGRAM: usize = 64 * 1024;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;

/// How a request is meant (`NLM_F_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it stands.
    Plain,
    /// Tells of all there are (`NLM_F_DUMP`).
    All,
    /// Makes what must not be there yet (`NLM_F_CREATE`, `NLM_F_EXCL`).
    New,
    /// Makes it, or replaces what is there (`NLM_F_CREATE`, `NLM_F_REPLACE`).
    Replace,
}

impl Mode {
    fn flags(self) -> u16 {
        match self {
            Self::Plain => ACKNOWLEDGE,
            Self::All => 0x300,
            Self::New => ACKNOWLEDGE | 0x400 | 0x200,
            Self::Replace => ACKNOWLEDGE | 0x400 | 0x100,
        }
    }
}

/// A route socket of the network namespace in which it was opened. It joins no group: nothing is queued but answers.
#[derive(Debug)]
pub struct Requests {
    socket: Mutex<Socket>,
}

#[derive(Debug)]
struct Socket {
    fd: AsyncFd<OwnedFd>,
    /// Number of the last request.
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is 0, the one of this family that is meant when none is named.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that the AsyncFd itself owns; its successor is unsafe"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket: Mutex::new(Socket { fd, sequence: 0, buffer: vec![0; DATAGRAM] }) })
    }

    /// Sends a request of this kind (`RTM_*`) and hands the kernel's answers to `each`, until it says that these are all. What
    /// is left of a request that nobody waits for any more, the next one passes over.
    ///
    /// # Errors
    /// What the kernel answers, or the system says of the socket.
    pub async fn send(
        &self,
        kind: u16,
        mode: Mode,
        body: &[u8],
        mut each: impl FnMut(Message<'_>) + Send,
    ) -> io::Result<()> {
        let mut socket = self.socket.lock().await;
        socket.sequence = socket.sequence.wrapping_add(1);
        let request = request(kind, mode, socket.sequence, body)?;
        socket.write(&request).await?;
        loop {
            if let Some(end) = socket.read(&mut each).await? {
                return end;
            }
        }
    }
}

impl Socket {
    async fn write(&self, request: &[u8]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        loop {
            let mut ready = self.fd.writable().await?;
            if let Ok(sent) = ready.try_io(|fd| Ok(sendto(fd, request, SendFlags::empty(), &kernel)?)) {
                return sent.map(|_all_of_it| ());
            }
        }
    }

    /// Reads one datagram; gives what ended the request, if it did.
    async fn read(&mut self, each: &mut impl FnMut(Message<'_>)) -> io::Result<Option<io::Result<()>>> {
        loop {
            let mut ready = self.fd.readable().await?;
            let buffer = &mut self.buffer;
            let Ok(received) = ready.try_io(|fd| Ok(recv(fd, &mut buffer[..], RecvFlags::empty())?.0)) else {
                continue;
            };
            let datagram = &self.buffer[..received?];
            return Ok(look(datagram, self.sequence, each));
        }
    }
}

/// Hands on what answers the request with this number; gives what ended it, if it did.
fn look(datagram: &[u8], sequence: u32, each: &mut impl FnMut(Message<'_>)) -> Option<io::Result<()>> {
    for message in messages(datagram).filter(|message| message.sequence == sequence) {
        match (message.kind, message.error()) {
            (ERROR | DONE, 0) => return Some(Ok(())),
            (ERROR | DONE, code) => return Some(Err(Errno::from_raw_os_error(code).into())),
            _ => each(message),
        }
    }
    None
}

/// A request as bytes.
fn request(kind: u16, mode: Mode, sequence: u32, body: &[u8]) -> io::Result<Vec<u8>> {
    let length =
        u32::try_from(HEADER + body.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | mode.flags()).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, sequence: u32, code: i32) -> Vec<u8> {
        let mut bytes = request(kind, Mode::Plain, sequence, &code.to_ne_bytes()).unwrap();
        bytes[6..8].fill(0);
        bytes
    }

    #[test]
    fn answers_belong_to_their_request_and_end_with_it() {
        let ends = |datagrams: &[Vec<u8>]| {
            let mut seen = 0;
            let end = look(&datagrams.concat(), 7, &mut |_| seen += 1);
            (seen, end.map(|end| end.map_err(|error| error.raw_os_error())))
        };
        assert_eq!(ends(&[answer(16, 7, 0), answer(16, 7, 0)]), (2, None));
        assert_eq!(ends(&[answer(16, 7, 0), answer(DONE, 7, 0), answer(16, 7, 0)]), (1, Some(Ok(()))));
        assert_eq!(ends(&[answer(ERROR, 6, -1), answer(ERROR, 7, -17)]), (0, Some(Err(Some(17)))));
        assert_eq!(ends(&[answer(ERROR, 6, -1)]), (0, None));
    }

    #[tokio::test]
    async fn the_kernel_tells_of_loopback() {
        let requests = Requests::open().unwrap();
        // An empty `ifinfomsg`: all interfaces.
        let mut seen = 0;
        requests
            .send(18, Mode::All, &[0; 16], |message| seen += usize::from(message.kind == 16))
            .await
            .unwrap();
        assert!(seen >= 1);
        // An interface with a number that there is not.
        let mut nobody = [0; 16];
        nobody[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let refused = requests.send(18, Mode::Plain, &nobody, |_| {}).await.unwrap_err();
        assert_eq!(Errno::from_io_error(&refused), Some(Errno::NODEV));
    }
}
