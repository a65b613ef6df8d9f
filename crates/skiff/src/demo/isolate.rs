//! A network namespace for the demo and everything that it starts.

use anyhow::Context;
use futures::TryStreamExt;
use nix::sched::{CloneFlags, unshare};
use rtnetlink::LinkUnspec;

/// Moves this process (which has one thread yet) into a new network namespace and brings loopback up.
pub(super) fn own_network() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace for the demo")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let loopback = handle.link().get().match_name("lo".to_owned()).execute().try_next().await?;
        let index = loopback.context("a network namespace has a loopback interface")?.header.index;
        handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await?;
        anyhow::Ok(())
    })
}
