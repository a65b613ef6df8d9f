//! `skiff up`: starts the server in the background and waits until pods can run.

use std::io::BufReader;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use crate::args::ServerArgs;
use crate::daemon::Record;
use crate::layout::Layout;
use crate::lock::CommandLock;
use crate::progress::{Report, Screen};
use crate::{daemon, keeper, preflight, progress};

/// glibc gives every thread an arena of its own unless told otherwise; for a server that allocates little, two
/// arenas save megabytes.
const MALLOC_ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

pub(crate) fn run(args: &ServerArgs) -> anyhow::Result<()> {
    preflight::root()?;
    let layout = args.layout.layout();
    layout.create()?;
    let _lock = CommandLock::take(&layout, "up")?;
    if let Some(record) = running(&layout)? {
        skiff_print::note(format_args!(
            "skiff is up already: {} (context {})",
            record.server, record.context
        ));
        return keep(args, &layout, &record);
    }
    // A keeper that is about to start the server again has been too slow.
    daemon::stop(&layout.keeper_record())?;
    preflight::check(args)?;
    let screen = Screen::new();
    screen.step("starting");
    let mut server = spawn(args, &layout)?;
    let reports = server.stdout.take().context("the server's standard output is a pipe")?;
    match progress::follow(BufReader::new(reports), &screen)? {
        Some(Report::Ready) => {
            screen.finish("skiff is up");
            skiff_print::note(format_args!(
                "  kubectl get all             the current context is {:?}",
                args.context
            ));
            skiff_print::note("  skiff status, skiff down    see `skiff --help`");
            Ok(())
        }
        Some(Report::Failed(reason)) => {
            screen.clear();
            server.wait()?;
            bail!(reason)
        }
        Some(Report::Step(_)) | None => {
            screen.clear();
            let status = server.wait()?;
            bail!("the server ended ({status}) before the cluster was ready; see {}", layout.log().display())
        }
    }
}

/// The server that runs, once pods can run on it.
fn running(layout: &Layout) -> anyhow::Result<Option<Record>> {
    while let Some(record) = daemon::running_on(&layout.server_record())? {
        daemon::wait_until_free(&layout.starting())?;
        // It may have ended instead.
        if daemon::running_on(&layout.server_record())?.as_ref() == Some(&record) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// Sees to it that a server which runs already is started again when it ends.
fn keep(args: &ServerArgs, layout: &Layout, record: &Record) -> anyhow::Result<()> {
    if !record.kept || daemon::running::<daemon::Process>(&layout.keeper_record())?.is_some() {
        return Ok(());
    }
    skiff_print::note("  its keeper is gone; a new one takes over");
    let mut keeper = spawn(args, layout)?;
    let reports = keeper.stdout.take().context("the keeper's standard output is a pipe")?;
    match progress::follow(BufReader::new(reports), &Screen::new())? {
        Some(Report::Ready) => Ok(()),
        Some(Report::Failed(reason)) => bail!(reason),
        Some(Report::Step(_)) | None => bail!("the keeper ended ({})", keeper.wait()?),
    }
}

/// Starts a keeper, which starts the server.
fn spawn(args: &ServerArgs, layout: &Layout) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("find the skiff program")?);
    command.args(keeper::arguments(layout)).arg("server").arg("--detached");
    command.arg("--data-dir").arg(layout.data()).arg("--run-dir").arg(layout.run());
    command.arg("--image-limit").arg(layout.image_limits().to_string());
    command.args(["--context", &args.context]);
    command.args([
        "--api-port",
        &args.api_port.to_string(),
        "--kubelet-port",
        &args.kubelet_port.to_string(),
    ]);
    if let Some(name) = &args.node_name {
        command.args(["--node-name", name]);
    }
    if let Some(ip) = &args.node_ip {
        command.args(["--node-ip", &ip.to_string()]);
    }
    if std::env::var_os(MALLOC_ARENAS.0).is_none() {
        command.env(MALLOC_ARENAS.0, MALLOC_ARENAS.1);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.current_dir("/");
    command.spawn().context("start the keeper")
}
