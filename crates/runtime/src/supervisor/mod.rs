//! The supervisor: one small process per pod, started by the agent as `<executable> pod-supervisor --dir <pod>`.
//!
//! One thread, one `poll` loop ([`serve`]), no runtime: it must stay within a mebibyte of private memory. Whatever needs
//! more (libcontainer above all) happens in forked children ([`job`]). It detaches from the agent before anything else,
//! lives in a control group of its own and only ever ends on request.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a complaint that cannot be written ends no pod"
)]

#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
mod adoption;
mod client;
mod container;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
mod create;
mod detail;
#[allow(
    clippy::disallowed_methods,
    reason = "device nodes, in the container's namespaces, as far as it may use them"
)]
mod exec;
mod home;
mod image_mounts;
mod job;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
mod lifecycle;
mod log;
#[allow(clippy::disallowed_methods, reason = "the kernel's files of this process")]
mod memory;
mod overdue;
#[allow(clippy::disallowed_methods, reason = "layers of the image store, and directories of skiff's own")]
mod overlay;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
mod pause;
#[allow(clippy::disallowed_methods, reason = "in the container, as its user")]
mod program;
mod restrict;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory and the kernel's files")]
mod sandbox;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
mod saved;
mod seal;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
mod serve;
#[allow(clippy::disallowed_methods, reason = "the container's own directory below the run directory")]
mod sources;
#[allow(clippy::disallowed_methods, reason = "memory of this process' own, and directories of skiff's")]
mod stage;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
mod stdio;
#[allow(clippy::disallowed_methods, reason = "the pod's own directory and the kernel's files")]
mod users;

pub(crate) use users::explain as explain_no_users;

use crate::cgroup::{Cgroups, PodGroups};
use crate::paths::PodPaths;
use crate::wire::SupervisorConfig;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Word before the supervisor's own arguments on its command line.
pub(crate) const SUBCOMMAND: &str = "pod-supervisor";

/// Name of the process in listings.
const NAME: &str = "skiff";

/// What the supervisor says to its starter once it serves.
const READY: &str = "ready";

/// Badness of the supervisor for the kernel's out-of-memory killer: it is small, and the pod is nothing without it.
const LAST_TO_DIE: i32 = -999;

/// Runs a supervisor. To be called before any thread exists, with the arguments after `pod-supervisor`:
/// `--dir <directory of the pod>` and, to take over a pod whose supervisor died, `--adopt`.
///
/// Returns in the starting process once the daemon serves; a failure is printed on standard error, in one line.
pub fn supervisor_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match start(arguments) {
        Ok(code) => code,
        Err(reason) => {
            skiff_print::note(format_args!("{reason}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
fn start(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, String> {
    let arguments: Vec<OsString> = arguments.collect();
    let Options { directory, adopt, sealed } = parse(arguments.iter().cloned())?;
    if !sealed {
        return Err(seal::execute_read_only(&arguments));
    }
    lower_descriptors()?;
    let file = directory.join("pod.json");
    let text = fs::read(&file).map_err(|error| format!("read {}: {error}", file.display()))?;
    let config: SupervisorConfig =
        serde_json::from_slice(&text).map_err(|error| format!("read {}: {error}", file.display()))?;
    let (mut reader, writer) = io::pipe().map_err(|error| format!("pipe: {error}"))?;
    // SAFETY: one thread, so the child is a full process.
    match unsafe { libc::fork() } {
        -1 => Err(format!("fork: {}", io::Error::last_os_error())),
        0 => {
            drop(reader);
            Ok(daemon(&config, adopt, writer))
        }
        _ => {
            drop(writer);
            let mut answer = String::new();
            reader
                .read_to_string(&mut answer)
                .map_err(|error| format!("wait for the supervisor: {error}"))?;
            if answer == READY { Ok(ExitCode::SUCCESS) } else { Err(answer) }
        }
    }
}

/// The usual soft limit of descriptors, above which `select` fails and programs that close all they might have are slow.
const DESCRIPTORS: u64 = 1024;

/// Gives containers the usual soft limit of descriptors: the server, which started us, has raised its own. What runs in
/// a container may raise it again.
fn lower_descriptors() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum })
        .map_err(|error| format!("lower the limit of descriptors: {error}"))
}

/// The supervisor's command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    directory: PathBuf,
    adopt: bool,
    /// Runs from a read-only view of the executable already.
    sealed: bool,
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--dir") => options.directory = arguments.next().map(PathBuf::from).unwrap_or_default(),
            Some("--adopt") => options.adopt = true,
            Some(seal::SEALED) => options.sealed = true,
            _ => return Err(format!("unknown argument {argument:?} of {SUBCOMMAND}")),
        }
    }
    if options.directory.as_os_str().is_empty() { Err("missing argument --dir".into()) } else { Ok(options) }
}

/// The daemon itself; reports readiness or the reason of its failure through `answer`.
fn daemon(config: &SupervisorConfig, adopt: bool, mut answer: io::PipeWriter) -> ExitCode {
    let paths = PodPaths::new(&config.run_dir, &config.data_dir, &config.sandbox.uid);
    let prepared = detach(&paths.log())
        .map_err(|error| format!("detach: {error}"))
        .and_then(|()| prepare(config, &paths, adopt));
    let (said, served) = match prepared {
        Ok(supervisor) => (answer.write_all(READY.as_bytes()), Some(supervisor)),
        Err(reason) => (answer.write_all(reason.as_bytes()), None),
    };
    drop(answer);
    match (said, served) {
        (Ok(()), Some(supervisor)) => {
            let reason = supervisor.run();
            skiff_print::note(format_args!("supervisor ends: {reason}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::FAILURE,
    }
}

fn prepare(config: &SupervisorConfig, paths: &PodPaths, adopt: bool) -> Result<serve::Supervisor, String> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("become subreaper: {error}"))?;
    let known = config.cgroups.clone().map_or_else(Cgroups::detect, Ok);
    let cgroups = known.map_err(|error| format!("read mounts: {error}"))?;
    let groups = pod_groups(config);
    cgroups.enter_pod(&groups, config.sandbox.resources.as_ref()).map_err(|error| error.to_string())?;
    memory::set_score(LAST_TO_DIE);
    let saved = if adopt {
        let saved = saved::load(&paths.state())
            .map_err(|error| format!("read {}: {error}", paths.state().display()))?;
        sandbox::rejoin(&config.sandbox, paths, saved::survivor(&saved))
            .map_err(|error| format!("rejoin the pod's namespaces: {error}"))?;
        saved
    } else {
        sandbox::create(&config.sandbox, paths)?;
        Vec::new()
    };
    serve::Supervisor::new(config.clone(), paths.clone(), cgroups, groups, saved)
}

/// Control groups of a pod.
pub(crate) fn pod_groups(config: &SupervisorConfig) -> PodGroups {
    PodGroups::new(&config.cgroup_parent, config.sandbox.class, &config.sandbox.uid)
}

/// Cuts the ties to whoever started us: session, directory, descriptors.
#[allow(clippy::disallowed_methods, reason = "the pod's own directory below the run directory")]
fn detach(log: &Path) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let append = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let log = rustix::fs::open(log, append, Mode::from_raw_mode(0o600))?;
    redirect(null.as_fd(), 0)?;
    redirect(null.as_fd(), 1)?;
    redirect(log.as_fd(), 2)
}

/// Makes `target` (0, 1 or 2) the same as another descriptor.
fn redirect(from: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    // SAFETY: replaces a standard descriptor of this process, which nothing here owns.
    match unsafe { libc::dup2(from.as_raw_fd(), target) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        let parse = |args: &[&str]| parse(args.iter().map(OsString::from));
        let expected = Options { directory: "/x".into(), adopt: true, sealed: false };
        assert_eq!(parse(&["--dir", "/x", "--adopt"]), Ok(expected));
        assert!(parse(&["--dir"]).is_err());
        assert!(parse(&["--what"]).is_err());
    }
}
