//! `skiff up`: starts the server in the background and waits until pods can run.

use std::ffi::OsString;
use std::io::BufReader;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, anyhow, bail};
use rustix::process::Pid;

use crate::args::said::Options as _;
use crate::args::{Found, ServerArgs, UpArgs};
use crate::daemon::Record;
use crate::layout::Layout;
use crate::lock::CommandLock;
use crate::progress::{Report, Screen};
use crate::service::Unit;
use crate::{daemon, keeper, preflight, progress};

/// glibc gives every thread an arena of its own unless told otherwise; for a server that allocates little, two
/// arenas save megabytes.
const MALLOC_ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

pub(crate) fn run(args: &UpArgs) -> anyhow::Result<()> {
    preflight::root()?;
    let layout = args.server.layout.layout();
    layout.create()?;
    let _lock = CommandLock::take(&layout, "up")?;
    if let Some(record) = running(&layout)? {
        skiff_print::note(format_args!(
            "skiff is up already: {} (context {})",
            record.server, record.context
        ));
        refuse_other_options(args, &layout, &record)?;
        if args.service && Unit::installed(&layout).is_none() {
            bail!("it does not run as a service; after `skiff down`, `skiff up --service` makes it one");
        }
        return keep(&args.server, &layout, &record);
    }
    args.server.admission.plugins()?;
    args.server.scheduler.configuration()?;
    args.server.audit.read()?;
    args.server.access.read()?;
    args.server.encryption.read()?;
    // A keeper that is about to start the server again has been too slow.
    daemon::stop(&layout.keeper_record())?;
    preflight::check(&args.server)?;
    let screen = Screen::new();
    match service(args, &layout)? {
        Some(unit) => start_service(&unit, &screen)?,
        None => start_kept(&args.server, &layout, &screen)?,
    }
    screen.finish("skiff is up");
    skiff_print::note(format_args!(
        "  kubectl get all             the current context is {:?}",
        args.server.context
    ));
    skiff_print::note("  skiff status, skiff down    see `skiff --help`");
    if !args.server.without_agent {
        preflight::lacks(&layout)?.iter().for_each(|lack| skiff_print::note(format_args!("  {lack}")));
    }
    Ok(())
}

/// Refuses options that the running server was not started with.
fn refuse_other_options(args: &UpArgs, layout: &Layout, record: &Record) -> anyhow::Result<()> {
    let pid = Pid::from_raw(record.pid).context("the server's record names no process")?;
    let running = keeper::arguments_of(pid).context("read the command line of the server that runs")?;
    let differences = args
        .differences(&running, &found(layout, record))
        .context("understand the command line of the server that runs")?;
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "it was started with other options; after `skiff down`, `skiff up` can start it with {}",
        differences.join("; ")
    )
}

/// The node's name and address that a server found out, when they were not given.
fn found(layout: &Layout, record: &Record) -> Found {
    let name = std::fs::read_to_string(layout.node_name()).ok().map(|name| name.trim().to_owned());
    let address = record.server.strip_prefix("https://").and_then(|authority| authority.rsplit_once(':'));
    let address = address.and_then(|(address, _)| address.trim_matches(['[', ']']).parse().ok());
    Found { node_name: name, node_ip: address }
}

/// The service that starts the server, if one is asked for or an earlier `skiff up --service` left one, with what this
/// command line says.
fn service(args: &UpArgs, layout: &Layout) -> anyhow::Result<Option<Unit>> {
    if !args.service && Unit::installed(layout).is_none() {
        return Ok(None);
    }
    let program = std::env::current_exe().context("find the skiff program")?;
    let arguments = server_arguments(&args.server, layout).into_iter().map(OsString::into_string);
    let arguments = arguments.collect::<Result<Vec<String>, OsString>>();
    let arguments =
        arguments.map_err(|word| anyhow!("{} is not UTF-8, as a unit must be", word.display()))?;
    Unit::install(layout, &program, &arguments).map(Some)
}

fn start_service(unit: &Unit, screen: &Screen) -> anyhow::Result<()> {
    screen.step(&format!("systemd starts {}", unit.name()));
    unit.start().or_else(|error| {
        // It would be tried again and again.
        unit.stop().context("stop the service that failed")?;
        Err(error)
    })
}

/// Starts a server and its keeper; returns when pods can run.
fn start_kept(args: &ServerArgs, layout: &Layout, screen: &Screen) -> anyhow::Result<()> {
    screen.step("starting");
    let mut keeper = spawn(args, layout)?;
    let reports = keeper.stdout.take().context("the keeper's standard output is a pipe")?;
    match progress::follow(BufReader::new(reports), screen)? {
        Some(Report::Ready) => Ok(()),
        Some(Report::Failed(reason)) => {
            screen.clear();
            keeper.wait()?;
            bail!(reason)
        }
        Some(Report::Step(_) | Report::Remark(_)) | None => {
            screen.clear();
            let status = keeper.wait()?;
            bail!("the keeper ended ({status}) before the cluster was ready; see {}", layout.log().display())
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
    let by_systemd = Unit::installed(layout).is_some();
    if !record.kept || by_systemd || daemon::running::<daemon::Process>(&layout.keeper_record())?.is_some() {
        return Ok(());
    }
    skiff_print::note("  its keeper is gone; a new one takes over");
    let mut keeper = spawn(args, layout)?;
    let reports = keeper.stdout.take().context("the keeper's standard output is a pipe")?;
    match progress::follow(BufReader::new(reports), &Screen::new())? {
        Some(Report::Ready) => Ok(()),
        Some(Report::Failed(reason)) => bail!(reason),
        Some(Report::Step(_) | Report::Remark(_)) | None => bail!("the keeper ended ({})", keeper.wait()?),
    }
}

/// Starts a keeper, which starts the server.
fn spawn(args: &ServerArgs, layout: &Layout) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("find the skiff program")?);
    command.args(keeper::arguments(layout)).args(server_arguments(args, layout)).arg("--detached");
    if std::env::var_os(MALLOC_ARENAS.0).is_none() {
        command.env(MALLOC_ARENAS.0, MALLOC_ARENAS.1);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.current_dir("/");
    command.spawn().context("start the keeper")
}

/// The command line of the server, after the program's name.
fn server_arguments(args: &ServerArgs, layout: &Layout) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["server".into()];
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    option("--data-dir", layout.data().into());
    option("--run-dir", layout.run().into());
    words.extend(args.said().words());
    words
}
