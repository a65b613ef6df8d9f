//! Network namespaces for tests that need the real kernel. Needs root.
#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    fs::File,
    future::Future,
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
};

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace held open; gone when dropped.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Self {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests of the pod network need root");
            Self(File::open("/proc/thread-self/ns/net").unwrap())
        })
        .join()
        .unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = || {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            };
            scope.spawn(inside).join().unwrap()
        })
    }

    pub(crate) fn block_on<F: Future>(&self, work: impl FnOnce() -> F + Send) -> F::Output
    where
        F::Output: Send,
    {
        self.run(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
        })
    }

    /// How often a connection's first packet had to be sent again.
    pub(crate) fn syn_retransmissions(&self) -> u64 {
        let text = self.run(|| std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap());
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
        let (names, values) = (lines.next().unwrap().split(' '), lines.next().unwrap().split(' '));
        let counter = names.zip(values).find(|(name, _)| *name == "TCPSynRetrans").unwrap();
        counter.1.parse().unwrap()
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        self.run(|| {
            let output = std::process::Command::new("ip").args(arguments.split(' ')).output().unwrap();
            assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
    }
}
