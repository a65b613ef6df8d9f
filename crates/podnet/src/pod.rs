//! The pod's side of its interface, seen from inside the pod's network namespace.

use std::{fs::File, future::Future, net::Ipv4Addr, path::Path};

use ipnet::Ipv4Net;
use tokio::sync::oneshot;

use crate::{
    NetworkError,
    netlink::{HardwareAddress, Netlink, Route, Via},
    network,
};

/// The name of the pod's end.
pub(crate) const INTERFACE: &str = "eth0";

/// Index of the loopback interface: the kernel makes it first in every namespace.
const LOOPBACK: u32 = 1;

/// What the pod's end looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodSide {
    pub(crate) ip: Ipv4Addr,
    pub(crate) hardware: HardwareAddress,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) gateway_hardware: HardwareAddress,
    pub(crate) ipv6: bool,
}

/// Brings up loopback and `eth0` with address, default route and the gateway's hardware address. Repeatable.
pub(crate) async fn configure(netns: &Path, side: PodSide) -> Result<(), NetworkError> {
    inside(netns, move |netlink| async move {
        netlink.set_up(LOOPBACK, None, false).await?;
        let index = network::index_of(&netlink, INTERFACE).await?;
        netlink.set_up(index, None, side.ipv6).await?;
        netlink.add_address(index, side.ip).await?;
        netlink.set_neighbour(index, side.gateway, side.gateway_hardware).await?;
        let out = Via::Gateway { index, gateway: side.gateway };
        netlink.replace_route(Route { to: Ipv4Net::default(), via: out }).await
    })
    .await
}

/// Sets the loopback interface of the current network namespace up.
///
/// # Errors
/// When the kernel refuses.
pub async fn set_up_loopback() -> Result<(), NetworkError> {
    Netlink::open()?.set_up(LOOPBACK, None, false).await
}

/// Whether the namespace holds the pod's end of this pair.
pub(crate) async fn has_interface(netns: &Path, side: PodSide) -> Result<bool, NetworkError> {
    inside(netns, move |netlink| async move {
        let link = netlink.link(INTERFACE).await?;
        Ok(link.is_some_and(|link| network::has_address(&link, side.hardware)))
    })
    .await
}

/// Runs `work` with a netlink socket of the namespace at `netns`, on a thread of its own: a thread that has entered
/// another namespace must not run anything else.
async fn inside<T, F>(
    netns: &Path,
    work: impl FnOnce(Netlink) -> F + Send + 'static,
) -> Result<T, NetworkError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, NetworkError>>,
{
    let namespace = File::open(netns).map_err(NetworkError::io("open network namespace", netns))?;
    let path = netns.to_owned();
    let (answer, answered) = oneshot::channel();
    let run = move || {
        let entered = rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(rustix::thread::LinkNameSpaceType::Network),
        );
        entered.map_err(|errno| NetworkError::io("enter network namespace", &path)(errno.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(NetworkError::io("start event loop in", &path))?;
        runtime.block_on(async { work(Netlink::open()?).await })
    };
    std::thread::Builder::new()
        .name("pod-netns".into())
        .spawn(move || {
            if answer.send(run()).is_err() {
                tracing::debug!("nobody waits for a pod's network any more");
            }
        })
        .map_err(NetworkError::io("start a thread for", netns))?;
    answered.await.unwrap_or_else(|_panicked| {
        Err(NetworkError::io("configure network namespace", netns)(std::io::Error::other(
            "its thread panicked",
        )))
    })
}
