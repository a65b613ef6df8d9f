//! `skiff up`: starts the server in the background and waits until pods can run.

use std::fs::{self, File, OpenOptions};
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use crate::args::ServerArgs;
use crate::layout::Layout;
use crate::progress::{Report, Screen};
use crate::{daemon, preflight, progress};

/// glibc gives every thread an arena of its own unless told otherwise; for a server that allocates little, two
/// arenas save megabytes.
const MALLOC_ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

pub(crate) fn run(args: &ServerArgs) -> anyhow::Result<()> {
    let layout = args.layout.layout();
    if let Some(record) = daemon::running_on(&layout.server_record())? {
        skiff_print::note(format_args!(
            "skiff is up already: {} (context {})",
            record.server, record.context
        ));
        return Ok(());
    }
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

fn spawn(args: &ServerArgs, layout: &Layout) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("find the skiff program")?);
    command.arg("server").arg("--detached");
    command.arg("--data-dir").arg(layout.data()).arg("--run-dir").arg(layout.run());
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
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file(layout)?);
    command.current_dir("/");
    command.spawn().context("start the server")
}

/// The server's log, begun anew; the one before is kept with the ending `.old`.
fn log_file(layout: &Layout) -> anyhow::Result<File> {
    let path = layout.log();
    layout.create()?;
    if path.exists() {
        fs::rename(&path, path.with_extension("log.old"))?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options.open(&path).with_context(|| format!("open {}", path.display()))
}
