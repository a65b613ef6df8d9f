//! `skiff down`: stops the cluster and leaves nothing of it in the kernel or the process table.

use std::fs;
use std::io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
use std::path::Path;

use anyhow::Context;
use skiff_errors::error_text;

use crate::args::DownArgs;
use crate::layout::Layout;
use crate::lock::{self, CommandLock};
use crate::progress::Screen;
use crate::service::Unit;
use crate::{daemon, layout, mounts, preflight, server};

pub(crate) fn run(args: &DownArgs) -> anyhow::Result<()> {
    preflight::root()?;
    stop(args, server::user_kubeconfig().as_deref())
}

/// Stops the cluster; with `--purge`, also deletes its data and its context in `kubeconfig`.
pub(crate) fn stop(args: &DownArgs, kubeconfig: Option<&Path>) -> anyhow::Result<()> {
    let layout = args.layout.layout();
    // Before the lock, whose file only a cluster's directory has.
    layout.check()?;
    let _lock = CommandLock::take(&layout, "down")?;
    let screen = Screen::new();
    screen.step("stopping the server");
    let mut was_running = daemon::running::<daemon::Process>(&layout.server_record())?.is_some();
    let unit = Unit::installed(&layout);
    if let Some(unit) = &unit {
        unit.stop()?;
    }
    // The keeper first: it would start the server again. The agent would miss its server.
    daemon::stop(&layout.keeper_record())?;
    was_running |= daemon::stop(&layout.agent_record())?;
    was_running |= daemon::stop(&layout.server_record())?;
    screen.step("stopping pods, removing their network and the Service table");
    clean_up(&layout)?;
    screen.step("unmounting volumes and root file systems of pods");
    mounts::unmount_ours(layout.data())?;
    detach_volumes(&layout)?;
    mounts::unmount_ours(layout.run())?;
    screen.step(&format!("emptying {}", layout.run().display()));
    empty(layout.run())?;
    if args.purge {
        screen.step(&format!("deleting what is in {}", layout.data().display()));
        // Before the data: the kubeconfig may be there.
        server::remove_context(kubeconfig, &args.context)?;
        empty(layout.data())?;
        if let Some(unit) = unit {
            unit.remove()?;
        }
    }
    screen.finish(match (was_running, args.purge) {
        (true, false) => "skiff is down",
        (false, false) => "skiff was not running",
        (_, true) => "skiff is down, and its data is deleted",
    });
    Ok(())
}

/// Removes what a server that could not start has made. What cannot be removed is logged: the reason why the start
/// failed matters more.
pub(crate) fn abandon(layout: &Layout) {
    let remove = || -> anyhow::Result<()> {
        // Nothing in the kernel is touched unless this server's node had begun: it may be another cluster's.
        if layout.network().exists() {
            clean_up(layout)?;
            mounts::unmount_ours(layout.data())?;
            detach_volumes(layout)?;
        }
        mounts::unmount_ours(layout.run())?;
        empty(layout.run())
    };
    if let Err(error) = remove() {
        let error = error_text(error.as_ref());
        tracing::warn!("what the failed start left could not be removed, `skiff down` may: {error}");
    }
}

/// Stops all pods and removes interfaces, routes and tables. Each part is tried also when another fails.
fn clean_up(layout: &Layout) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let pods = match preflight::runtime(layout) {
            Ok(runtime) => runtime.cleanup_all().await.context("stop pods"),
            Err(error) => Err(error),
        };
        let network =
            skiff_podnet::PodNetwork::teardown(layout.run()).await.context("remove the pod network");
        let proxy = skiff_proxy::teardown().await.context("remove the Service table");
        pods.and(network).and(proxy)
    })
}

/// Detaches the block devices that show files of volumes.
fn detach_volumes(layout: &Layout) -> anyhow::Result<()> {
    skiff_rooted::detach_below(&layout.volumes()).context("detach the block devices of volumes")
}

/// Removes what a cluster has made in a directory, but the lock of the command that does so. What others have put or
/// mounted there stays and is named. The lock takes the empty directory with it.
fn empty(directory: &Path) -> anyhow::Result<()> {
    for left in mounts::remove_tree(directory, layout::is_made_here)? {
        tracing::warn!("{} is mounted by somebody else and stays as it is", left.display());
    }
    let others = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in
        others.filter(|name| *name != lock::NAME && *name != "lost+found" && !layout::is_made_here(name))
    {
        tracing::warn!("{} is not the cluster's and stays", directory.join(name).display());
    }
    match fs::remove_dir(directory) {
        // Something stays in it, or it is a file system of its own.
        Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty | ResourceBusy) => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
