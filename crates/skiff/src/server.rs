//! `skiff server` and `skiff agent`: the processes that run a cluster, and what all long-running commands share.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::signal::SigSet;
use skiff_errors::error_text;
use skiff_pki::kubeconfig::{self, ContextEntry, KubeconfigError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::ServerArgs;
use crate::progress::{Progress, Report};
use crate::settings::Settings;
use crate::{agent, cluster, down, log, preflight};

/// Worker threads of the server. It waits more than it computes, and each thread costs memory.
const MAX_THREADS: usize = 4;

pub(crate) fn run(args: &ServerArgs) -> anyhow::Result<()> {
    let progress = if args.detached { Progress::Pipe } else { Progress::Foreground };
    let result = serve(args, &progress);
    if let Err(error) = &result {
        progress.report(&Report::Failed(error_text(error.as_ref())));
    }
    result
}

fn serve(args: &ServerArgs, progress: &Progress) -> anyhow::Result<()> {
    preflight::root()?;
    let layout = args.layout.layout();
    layout.create()?;
    use_ring();
    raise_descriptors();
    if args.detached {
        log::to_file(&layout.log())?;
        rustix::process::setsid().context("leave the terminal's session")?;
        // The keeper blocks the signals that it waits for, and we are its child.
        SigSet::all().thread_unblock().context("let signals through")?;
    } else {
        log::to_stderr();
        preflight::check(args)?;
    }
    // Without the record of an earlier server there are no pods of an earlier server.
    let fresh = !layout.server_record().exists();
    let tokio = runtime()?;
    let (started, told) = tokio.block_on(async {
        let shutdown = shutdown_on_signal()?;
        let started = cluster::start(Settings::new(args)?, progress, shutdown.clone()).await;
        anyhow::Ok((started, shutdown.is_cancelled()))
    })?;
    match started {
        Ok(cluster) => tokio.block_on(cluster.wait()),
        Err(error) => {
            drop(tokio);
            if fresh {
                down::abandon(&layout);
            }
            // Who was told to end before pods could run has ended well; who waits for them learns of it.
            if told {
                progress.report(&Report::Failed(error_text(error.as_ref())));
                return Ok(());
            }
            Err(error)
        }
    }
}

pub(crate) fn run_agent(args: &ServerArgs) -> anyhow::Result<()> {
    log::to_stderr();
    use_ring();
    raise_descriptors();
    preflight::root()?;
    args.layout.layout().create()?;
    runtime()?.block_on(async {
        let shutdown = shutdown_on_signal()?;
        agent::run_agent(Settings::new(args)?, shutdown).await
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Each connection, watch and pod takes descriptors; the usual soft limit of 1024 is for programs that use `select`.
fn raise_descriptors() {
    match skiff_listener::raise_descriptors() {
        Ok((before, now)) => tracing::debug!(before = before.0, now = now.0, "limit of descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors stays as it is"),
    }
}

/// TLS by ring, in every part of the program.
pub(crate) fn use_ring() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider is installed already");
    }
}

/// Cancelled at SIGTERM or SIGINT.
pub(crate) fn shutdown_on_signal() -> io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancel = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(shutdown)
}

/// The user's kubeconfig: the first file of `KUBECONFIG`, else `~/.kube/config`.
pub(crate) fn user_kubeconfig() -> Option<PathBuf> {
    let from_list =
        |list: std::ffi::OsString| std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty());
    let home = || std::env::home_dir().map(|home| home.join(".kube/config"));
    std::env::var_os("KUBECONFIG").and_then(from_list).or_else(home)
}

/// Adds or replaces a context in a kubeconfig, and makes it the current one.
pub(crate) fn write_context(path: Option<&Path>, entry: &ContextEntry) -> anyhow::Result<()> {
    change_kubeconfig(path, |existing| kubeconfig::merge(existing, entry))
}

/// Gives a context of a kubeconfig newer credentials, if it is this cluster's.
pub(crate) fn renew_context(path: Option<&Path>, entry: &ContextEntry) -> anyhow::Result<()> {
    change_kubeconfig(path, |existing| kubeconfig::renew(existing, entry))
}

/// Removes a context from a kubeconfig.
pub(crate) fn remove_context(path: Option<&Path>, name: &str) -> anyhow::Result<()> {
    change_kubeconfig(path, |existing| kubeconfig::remove(existing, name))
}

fn change_kubeconfig(
    path: Option<&Path>,
    change: impl FnOnce(&str) -> Result<String, KubeconfigError>,
) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let existing = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let changed = change(&existing).with_context(|| format!("the kubeconfig {}", path.display()))?;
    if changed != existing {
        write_private(path, &changed).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Replaces a file that only its owner may read, in one step. One that says the same already needs no room on a disk.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|existing| existing == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let next = path.with_extension("skiff-new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, path)
}
