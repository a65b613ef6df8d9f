//! A socket that hears what the kernel tells everybody about changes.

use std::{io, os::fd::OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt};
use socket2::{SockFilter, SockRef};
use tokio::io::{Interest, unix::AsyncFd};

use crate::message::{Message, messages};

/// Bytes the kernel may queue for us; beyond that it drops and says so.
const QUEUE: usize = 1024 * 1024;
/// Bytes of one datagram at most; the kernel makes them of a page or two.
const DATAGRAM: usize = 64 * 1024;

/// Datagrams looked at before somebody else gets a turn.
const AT_ONCE: usize = 4096;

/// Whose notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsystem {
    /// Interfaces, addresses, routes.
    Route,
    /// nftables and connection tracking.
    Netfilter,
}

/// A group of notifications, by its number in the kernel's headers (`RTNLGRP_*`, `NFNLGRP_*`), at most 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(pub u32);

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Messages, all handed over.
    Messages,
    /// Some messages were lost: everything has to be looked at.
    Overrun,
}

/// A socket of the network namespace in which it was opened. The kernel queues at most [`QUEUE`] bytes for it.
#[derive(Debug)]
pub struct Notifications {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl Notifications {
    /// Joins `groups`; only messages that pass `filter` are queued. Must be called inside a tokio runtime.
    pub fn open(subsystem: Subsystem, groups: &[Group], filter: &[SockFilter]) -> io::Result<Self> {
        let protocol = match subsystem {
            Subsystem::Route => None, // NETLINK_ROUTE is 0, the one of this family that is meant when none is named,
            Subsystem::Netfilter => Some(NETFILTER),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        sockopt::set_socket_recv_buffer_size_force(&fd, QUEUE)?;
        // Before joining: nothing that does not pass may come in.
        SockRef::from(&fd).attach_filter(filter)?;
        let mask = groups.iter().fold(0, |mask, group| mask | 1_u32.wrapping_shl(group.0.wrapping_sub(1)));
        bind(&fd, &SocketAddrNetlink::new(0, mask))?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that the AsyncFd itself owns; its successor is unsafe"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self { fd, buffer: vec![0; DATAGRAM] })
    }

    /// Waits for notifications and hands all that are queued to `each`, so that many at once are looked at once. Cancel
    /// safe: what was taken from the queue is handed over in the same step.
    pub async fn next(&mut self, mut each: impl FnMut(Message<'_>)) -> io::Result<Heard> {
        loop {
            let mut ready = self.fd.readable().await?;
            let (buffer, mut heard) = (&mut self.buffer, None);
            for _ in 0..AT_ONCE {
                let received = ready.try_io(|fd| Ok(recv(fd, &mut buffer[..], RecvFlags::empty())?.0));
                match received {
                    Err(_would_block) => break,
                    Ok(Ok(length)) => {
                        messages(&buffer[..length]).for_each(&mut each);
                        heard.get_or_insert(Heard::Messages);
                    }
                    Ok(Err(error)) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                        heard = Some(Heard::Overrun);
                    }
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Err(error)) => return Err(error),
                }
            }
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
    }
}

/// Socket filters, in the kernel's classic language. Offsets are from the start of the netlink header; loads give network
/// byte order, so values of the netlink header, which are in host byte order, are compared as such.
pub mod filter {
    use socket2::SockFilter;

    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;

    const KIND: u32 = 4;
    const FLAGS: u32 = 6;
    const PORT: u32 = 12;
    /// The protocol in the header of a route message.
    const ROUTE_PROTOCOL: u32 = 16 + 5;

    const NEW_ROUTE: u16 = 24;
    const DELETED_ROUTE: u16 = 25;
    const REPLACES: u16 = 0x100;

    const ALL: u32 = u32::MAX;

    fn half(value: u16) -> u32 {
        u32::from(u16::from_be_bytes(value.to_ne_bytes()))
    }

    /// Everything but what the socket with number `port` caused.
    pub fn not_from(port: u32) -> Vec<SockFilter> {
        vec![
            SockFilter::new(LOAD_WORD, 0, 0, PORT),
            SockFilter::new(JUMP_EQUAL, 0, 1, u32::from_be_bytes(port.to_ne_bytes())),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, ALL),
        ]
    }

    /// Of routes only deletions of those with `protocol`, and routes that replaced another; everything else passes.
    pub fn routes_lost(protocol: u8) -> Vec<SockFilter> {
        vec![
            SockFilter::new(LOAD_HALF, 0, 0, KIND),
            SockFilter::new(JUMP_EQUAL, 2, 0, half(NEW_ROUTE)),
            SockFilter::new(JUMP_EQUAL, 3, 0, half(DELETED_ROUTE)),
            SockFilter::new(RETURN, 0, 0, ALL),
            SockFilter::new(LOAD_HALF, 0, 0, FLAGS),
            SockFilter::new(JUMP_ANY_BIT, 2, 3, half(REPLACES)),
            SockFilter::new(LOAD_BYTE, 0, 0, ROUTE_PROTOCOL),
            SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(protocol)),
            SockFilter::new(RETURN, 0, 0, ALL),
            SockFilter::new(RETURN, 0, 0, 0),
        ]
    }
}
