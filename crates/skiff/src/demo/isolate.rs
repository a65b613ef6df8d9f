//! A network namespace for the demo and everything that it starts.

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};

/// Moves this process (which has one thread yet) into a new network namespace and brings loopback up.
pub(super) fn own_network() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace for the demo")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(skiff_podnet::set_up_loopback())?)
}
