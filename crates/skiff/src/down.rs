//! `skiff down`: stops the cluster and leaves nothing of it in the kernel or the process table.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use skiff_errors::error_text;

use crate::args::DownArgs;
use crate::layout::Layout;
use crate::progress::Screen;
use crate::{daemon, mounts, preflight, server};

pub(crate) fn run(args: &DownArgs) -> anyhow::Result<()> {
    preflight::root()?;
    stop(args, server::user_kubeconfig().as_deref())
}

/// Stops the cluster; with `--purge`, also deletes its data and its context in `kubeconfig`.
pub(crate) fn stop(args: &DownArgs, kubeconfig: Option<&Path>) -> anyhow::Result<()> {
    let layout = args.layout.layout();
    let screen = Screen::new();
    screen.step("stopping the server");
    // The agent first: it would miss its server.
    let agent_ran = daemon::stop(&layout.agent_record())?;
    let was_running = daemon::stop(&layout.server_record())? || agent_ran;
    screen.step("stopping pods");
    clean_up(&layout)?;
    mounts::unmount_below(layout.data())?;
    mounts::unmount_below(layout.run())?;
    remove_dir(layout.run())?;
    if args.purge {
        screen.step("deleting data");
        remove_dir(layout.data())?;
        server::remove_context(kubeconfig, &args.context)?;
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
            mounts::unmount_below(layout.data())?;
        }
        mounts::unmount_below(layout.run())?;
        remove_dir(layout.run())
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

fn remove_dir(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
