//! The keeper: a small process that starts the server again when it ends by itself.
//!
//! `skiff up` starts it as `skiff keeper <run dir> <data dir> server …`. It is one thread that waits in `poll`, with no
//! runtime, so that it costs next to nothing beside the server, whose pages it shares. What ends it: `skiff down`
//! (SIGTERM), and a server that ended because it was told to. The server lives on when the keeper is killed; the next
//! `skiff up` starts a keeper that takes it over.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use skiff_errors::error_text;

use crate::layout::Layout;
use crate::progress::Report;
use crate::service::Unit;
use crate::{daemon, log};

/// The first argument of a keeper.
pub(crate) const SUBCOMMAND: &str = "keeper";

/// A server that ran so long has not failed at its start: the next restart is at once again.
const STEADY: Duration = Duration::from_secs(60);
/// The longest pause before a restart. The first is at once, the second after a second, then it doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The most of a line of the server's reports; longer ones are dropped.
const MAX_REPORT: usize = 64 << 10;

/// How often and why the server was started again, kept in `restarts.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restarts {
    /// Since the last `skiff up`.
    pub(crate) count: u64,
    /// How the server ended the last time, e.g. `signal: 9 (SIGKILL)`.
    pub(crate) reason: String,
    /// When that was.
    pub(crate) at: Option<jiff::Timestamp>,
}

/// Whether the server that a record tells of would be started again, in words for `skiff status`; `None` when it was
/// started in the foreground by somebody else.
pub(crate) fn status(layout: &Layout, record: &daemon::Record) -> Option<Result<String, String>> {
    if !record.kept {
        return Unit::installed(layout).map(|unit| unit.status());
    }
    let history = match restarts(layout) {
        Restarts { count: 0, .. } => "no restarts of the server".to_owned(),
        Restarts { count, reason, at } => {
            let at = at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
            format!("restarts of the server: {count}, last{at} after {reason}")
        }
    };
    Some(match daemon::running::<daemon::Process>(&layout.keeper_record()) {
        Ok(Some(keeper)) => Ok(format!("process {}, {history}", keeper.pid)),
        Ok(None) => {
            Err(format!("not running: nobody restarts the server; `skiff up` changes that ({history})"))
        }
        Err(error) => Err(error.to_string()),
    })
}

fn restarts(layout: &Layout) -> Restarts {
    // A file that is missing or cut off tells of no restarts.
    let text = fs::read_to_string(layout.restarts()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// A keeper's arguments on the command line, for the server's own.
pub(crate) fn arguments(layout: &Layout) -> [OsString; 3] {
    [SUBCOMMAND.into(), layout.run().into(), layout.data().into()]
}

/// Runs a keeper, with the arguments after its name. To be called before any thread exists.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let kept = Keeper::new(arguments).and_then(Keeper::run);
    kept.unwrap_or_else(|error| {
        report(&Report::Failed(error_text(error.as_ref())));
        ExitCode::FAILURE
    })
}

/// Tells `skiff up`, if it still listens.
fn report(report: &Report) {
    let line = serde_json::to_string(report).unwrap_or_default();
    drop(writeln!(io::stdout(), "{line}"));
}

struct Keeper {
    layout: Layout,
    server: Vec<OsString>,
    signals: SignalFd,
    _record: daemon::Running,
}

/// The server that is kept.
struct Server {
    process: Process,
    /// Readable when it has ended.
    ended: OwnedFd,
    /// What it tells of its start, until pods can run.
    reports: Option<ChildStdout>,
    since: Instant,
}

enum Process {
    Child(Child),
    /// Somebody else's child: that of a keeper that was killed.
    Adopted,
}

/// What the keeper waits for.
enum Event {
    /// It was told to end.
    Told,
    /// The server ended, before or after pods could run.
    Ended { how: End, was_ready: bool },
}

enum End {
    Status(ExitStatus),
    /// Of a server that is not our child nobody tells how.
    Unknown,
}

impl End {
    /// Whether the server was told to end, which is its only way to end well.
    fn is_well(&self) -> bool {
        matches!(self, Self::Status(status) if status.success())
    }

    fn reason(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Unknown => "an unknown reason".to_owned(),
        }
    }
}

impl Keeper {
    fn new(mut arguments: impl Iterator<Item = OsString>) -> anyhow::Result<Self> {
        let (Some(run), Some(data)) = (arguments.next(), arguments.next()) else {
            bail!("usage: skiff {SUBCOMMAND} <run directory> <data directory> server …");
        };
        let layout = Layout::new(PathBuf::from(data), PathBuf::from(run));
        layout.create()?;
        rustix::process::setsid().context("leave the terminal's session")?;
        let mut told = SigSet::empty();
        told.add(Signal::SIGTERM);
        told.add(Signal::SIGINT);
        told.thread_block().context("wait for signals")?;
        let signals = SignalFd::with_flags(&told, SfdFlags::SFD_CLOEXEC).context("wait for signals")?;
        let record = daemon::claim(&layout.keeper_record(), &daemon::Process::this())?;
        Ok(Self { layout, server: arguments.collect(), signals, _record: record })
    }

    fn run(mut self) -> anyhow::Result<ExitCode> {
        self.write(&Restarts::default());
        let mut listened_to = true;
        let mut server = match self.adopt()? {
            Some(server) => server,
            None => self.start()?,
        };
        let mut quick = 0;
        loop {
            match self.wait(&mut server, &mut listened_to)? {
                Event::Told => {
                    server.end_unless_ready()?;
                    return Ok(ExitCode::SUCCESS);
                }
                Event::Ended { how, was_ready: false } if listened_to => {
                    let how = how.reason();
                    bail!(
                        "the server ended ({how}) before pods could run; see {}",
                        self.layout.log().display()
                    );
                }
                Event::Ended { how, .. } if how.is_well() => return Ok(ExitCode::SUCCESS),
                Event::Ended { how, .. } => {
                    quick = if server.since.elapsed() >= STEADY { 0 } else { quick + 1 };
                    self.note(&how, pause(quick));
                    if self.told_within(pause(quick))? {
                        return Ok(ExitCode::SUCCESS);
                    }
                    server = self.start()?;
                }
            }
        }
    }

    /// The server that runs already, if there is one. It is started again as it was, not as this keeper was told.
    fn adopt(&mut self) -> anyhow::Result<Option<Server>> {
        let Some(record) = daemon::running_on(&self.layout.server_record())? else { return Ok(None) };
        let pid = Pid::from_raw(record.pid).context("the server's record has no process id")?;
        let ended = pidfd_open(pid, PidfdFlags::empty()).context("watch the server")?;
        self.server = arguments_of(pid).context("read how the server was started")?;
        report(&Report::Ready);
        Ok(Some(Server { process: Process::Adopted, ended, reports: None, since: Instant::now() }))
    }

    fn start(&self) -> anyhow::Result<Server> {
        let mut command = Command::new(std::env::current_exe().context("find the skiff program")?);
        command.args(&self.server).current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped());
        // What the server's own log does not take: a panic, a failure before the log is there.
        match log::append(&self.layout.log()) {
            Ok(log) => command.stderr(log),
            Err(_) => command.stderr(Stdio::null()),
        };
        let mut child = command.spawn().context("start the server")?;
        let pid = Pid::from_child(&child);
        let ended = pidfd_open(pid, PidfdFlags::empty()).context("watch the server")?;
        let reports = child.stdout.take();
        Ok(Server { process: Process::Child(child), ended, reports, since: Instant::now() })
    }

    /// Waits for the server's end or a signal. Until pods can run, passes on what the server reports, to whoever
    /// listens: that is `skiff up`, and nobody after it.
    fn wait(&self, server: &mut Server, listened_to: &mut bool) -> anyhow::Result<Event> {
        let mut was_ready = server.reports.is_none();
        let mut line = Vec::new();
        loop {
            let [told, ended, reported] = server.poll(&self.signals, None)?;
            if told {
                return Ok(Event::Told);
            }
            if reported {
                match server.read(&mut line)? {
                    Reported::Lines(lines) => {
                        if *listened_to {
                            drop(io::stdout().write_all(&lines));
                        }
                        if is_ready(&lines) {
                            (was_ready, server.reports) = (true, None);
                            silence(listened_to)?;
                        }
                    }
                    Reported::End => server.reports = None,
                }
            } else if ended {
                let how = server.how_it_ended()?;
                return Ok(Event::Ended { how, was_ready });
            }
            if was_ready && *listened_to {
                silence(listened_to)?;
            }
        }
    }

    /// Whether the keeper is told to end before the time has passed.
    fn told_within(&self, pause: Duration) -> anyhow::Result<bool> {
        let timeout = pause.try_into().context("pause before a restart")?;
        let mut fds = [PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        Ok(poll(&mut fds, Some(&timeout)).context("wait before a restart")? > 0)
    }

    /// Writes down that the server ended, for `skiff status` and in the server's log.
    fn note(&self, how: &End, pause: Duration) {
        let (at, reason) = (jiff::Timestamp::now(), how.reason());
        let count = restarts(&self.layout).count + 1;
        let line = format!(
            "{at} keeper: the server ended ({reason}), it is started again in {} s\n",
            pause.as_secs()
        );
        // Nobody can be told when the log cannot be written.
        drop(log::append(&self.layout.log()).and_then(|mut log| log.write_all(line.as_bytes())));
        self.write(&Restarts { count, reason, at: Some(at) });
    }

    fn write(&self, restarts: &Restarts) {
        let path = self.layout.restarts();
        let next = path.with_extension("new");
        let text = serde_json::to_string(restarts).unwrap_or_default();
        // It is only told to people; the keeper's duty is another.
        drop(fs::write(&next, text).and_then(|()| fs::rename(&next, &path)));
    }
}

/// The arguments of a running process, without the name of its program.
pub(crate) fn arguments_of(pid: Pid) -> io::Result<Vec<OsString>> {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))?;
    let arguments = line.strip_suffix(&[0]).unwrap_or(&line).split(|byte| *byte == 0).skip(1);
    Ok(arguments.map(|argument| OsStr::from_bytes(argument).to_owned()).collect())
}

/// What came out of the server's reports.
enum Reported {
    /// Whole lines.
    Lines(Vec<u8>),
    End,
}

impl Server {
    /// Whether a signal came, the server ended, and it reported something, when one of these holds.
    fn poll(
        &self,
        signals: &SignalFd,
        timeout: Option<&rustix::time::Timespec>,
    ) -> anyhow::Result<[bool; 3]> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.ended.as_fd(), PollFlags::IN),
        ];
        if let Some(reports) = &self.reports {
            fds.push(PollFd::from_borrowed_fd(reports.as_fd(), PollFlags::IN));
        }
        poll(&mut fds, timeout).context("wait for the server")?;
        let happened = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok([happened(0), happened(1), happened(2)])
    }

    /// Reads what is there, and returns the lines that are complete.
    fn read(&mut self, line: &mut Vec<u8>) -> anyhow::Result<Reported> {
        let mut buffer = [0; 4096];
        let Some(reports) = &mut self.reports else { return Ok(Reported::End) };
        let length = reports.read(&mut buffer).context("read the server's reports")?;
        if length == 0 {
            return Ok(Reported::End);
        }
        line.extend_from_slice(&buffer[..length]);
        let complete = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = line.drain(..complete).collect();
        if line.len() > MAX_REPORT {
            line.clear();
        }
        Ok(Reported::Lines(lines))
    }

    fn how_it_ended(&mut self) -> anyhow::Result<End> {
        match &mut self.process {
            Process::Child(child) => Ok(End::Status(child.wait().context("wait for the server")?)),
            Process::Adopted => Ok(End::Unknown),
        }
    }

    /// A server that is about to start would go on without anybody knowing of it.
    fn end_unless_ready(mut self) -> anyhow::Result<()> {
        if let (Process::Child(child), Some(_)) = (&mut self.process, &self.reports) {
            child.kill().context("end the server that is starting")?;
            child.wait().context("wait for the server")?;
        }
        Ok(())
    }
}

fn is_ready(lines: &[u8]) -> bool {
    let mut lines = lines.split(|byte| *byte == b'\n');
    lines.any(|line| matches!(serde_json::from_slice(line), Ok(Report::Ready)))
}

/// Lets `skiff up` see the end of the reports, once.
fn silence(listened_to: &mut bool) -> anyhow::Result<()> {
    if std::mem::replace(listened_to, false) {
        let null = OpenOptions::new().write(true).open("/dev/null").context("open /dev/null")?;
        rustix::stdio::dup2_stdout(null).context("close the reports")?;
    }
    Ok(())
}

/// The pause before the restart of a server that has ended so often in a row soon after its start.
fn pause(quick: u32) -> Duration {
    match quick {
        0 | 1 => Duration::ZERO,
        more => Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(more - 2)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_at_once_and_then_ever_later() {
        let seconds: Vec<u64> = (0..10).map(|quick| pause(quick).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn sees_when_pods_can_run() {
        assert!(is_ready(b"{\"type\":\"step\",\"text\":\"a\"}\n{\"type\":\"ready\"}\n"));
        assert!(!is_ready(b"noise\n{\"type\":\"failed\",\"text\":\"ready\"}\n"));
    }
}
