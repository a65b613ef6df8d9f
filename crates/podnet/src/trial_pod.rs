//! A pod without a workload, for connections as pods make them.

use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
};

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{NetworkError, PodNetwork, network};

/// What its interface is labelled with, in place of a pod's UID.
const LABEL: &str = "trial";

/// A network namespace that is connected as a pod's is, with the last address of the node's range, which no pod gets. It
/// ends with the value, and with the process whatever happens.
#[derive(Debug)]
pub struct TrialPod {
    namespace: File,
    ip: Ipv4Addr,
}

impl PodNetwork {
    /// Connects a pod without a workload. There can be one at a time on a machine: it replaces any other.
    pub async fn trial_pod(&self) -> Result<TrialPod, NetworkError> {
        let pod = TrialPod { namespace: new_namespace()?, ip: self.config().pod_cidr.broadcast() };
        drop(self.wire(LABEL, self.side(pod.ip), &pod.path()).await?);
        Ok(pod)
    }

    /// Takes it away again.
    pub async fn remove_trial_pod(&self, pod: TrialPod) -> Result<(), NetworkError> {
        match self.netlink().link(&network::interface_name(pod.ip)).await? {
            Some(link) => self.netlink().delete_link(link.header.index).await,
            None => Ok(()),
        }
    }
}

impl TrialPod {
    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Runs `make` inside, on a thread of its own; a socket that it makes stays inside wherever it is used. Blocks for as
    /// long as `make` does.
    pub fn inside<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let work = || {
                move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                make()
            };
            let thread =
                std::thread::Builder::new().name("trial-pod".to_owned()).spawn_scoped(scope, work)?;
            thread.join().unwrap_or_else(|_panic| Err(io::Error::other("a thread in the trial pod panicked")))
        })
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.namespace.as_raw_fd()).into()
    }
}

/// A namespace that lives as long as its file is open.
fn new_namespace() -> Result<File, NetworkError> {
    let path = "/proc/thread-self/ns/net";
    let make = move || -> io::Result<File> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        File::open(path)
    };
    let thread = std::thread::Builder::new().name("trial-pod".to_owned()).spawn(make);
    let made = thread.and_then(|thread| {
        thread.join().unwrap_or_else(|_panic| Err(io::Error::other("its thread panicked")))
    });
    made.map_err(NetworkError::io("make a network namespace at", path))
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv4Net;

    #[test]
    fn no_pod_gets_the_address_of_a_trial_pod() {
        let range: Ipv4Net = "10.244.7.0/29".parse().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut book = crate::addresses::AddressBook::open(directory.path().join("network"), range).unwrap();
        let given: Vec<_> = (0..6).filter_map(|pod| book.assign(&format!("pod-{pod}")).ok()).collect();
        assert_eq!(given.len(), 5);
        assert!(!given.contains(&range.broadcast()));
    }
}
