//! Forked children of the supervisor that do what must not be done in it, and what they report back.
//!
//! A job's child talks over a packet socket. The program it finally becomes inherits that socket close-on-exec, so the
//! socket's end means: the program runs, or everything that could have run it is gone. What hangs in the kernel before
//! that is killed when the job's time is over ([`super::overdue`]).

use crate::wire::{self, Failure, Stage};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};
use skiff_errors::error_text;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Longest packet, in bytes; longer reasons are cut.
const PACKET: usize = 8192;

/// What a child is told that may become its program.
const GO: [u8; 1] = [1];

/// What is said of a job whose time is over, in the kubelet's words.
const DEADLINE_EXCEEDED: &str = "context deadline exceeded";

/// What a job's child reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Progress {
    /// The process that is or becomes the program, by its ID in the node's namespace.
    Process(i32),
    /// The master of the program's terminal comes along.
    Terminal,
    /// It is about to become the program, and waits until that is written down.
    Ready,
    /// What it does from now on.
    Step(String),
    /// It did not work.
    Failed(Failure),
    /// A cause that the failure itself will not tell.
    Detail(String),
}

/// A job under way, as the supervisor sees it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) socket: OwnedFd,
    /// The child, the leader of a process group of its own, until its end was collected.
    pub(super) helper: Option<i32>,
    pub(super) process: Option<i32>,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) failure: Option<Failure>,
    /// The first cause that was logged: the innermost one.
    detail: Option<String>,
    /// What it said it does.
    step: Option<String>,
    /// It waits until it may become the program.
    ready: bool,
    /// When its time is over; `None` once it was given up.
    pub(super) deadline: Option<Instant>,
    /// Its processes were ended.
    killed: bool,
}

/// The child's end of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reporter {
    socket: RawFd,
}

impl Job {
    /// Forks a child that closes `connections`, runs `work` and exits, all within `limit`. The supervisor has one thread, so
    /// the child may do anything.
    ///
    /// The child may outlive a supervisor that is killed; with a copy of the supervisor's sockets it would keep its
    /// clients from noticing.
    pub(super) fn start(
        connections: &[RawFd],
        limit: Duration,
        work: impl FnOnce(Reporter) -> Result<(), Failure>,
    ) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // SAFETY: this process has one thread, so no lock can be held by a thread that is not there in the child.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                lead_group();
                for fd in connections {
                    // SAFETY: the child ends without the destructors of the owners, and does not use them.
                    unsafe { libc::close(*fd) };
                }
                let reporter = Reporter { socket: theirs.as_raw_fd() };
                reset_signals();
                let code = match work(reporter) {
                    Ok(()) => 0,
                    Err(failure) => {
                        reporter.send(&Progress::Failed(failure), &[]);
                        1
                    }
                };
                // SAFETY: ends the child without running the supervisor's destructors.
                unsafe { libc::_exit(code) }
            }
            helper => {
                rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
                Ok(Self {
                    socket: ours,
                    helper: Some(helper),
                    process: None,
                    terminal: None,
                    failure: None,
                    detail: None,
                    step: None,
                    ready: false,
                    deadline: Instant::now().checked_add(limit),
                    killed: false,
                })
            }
        }
    }

    /// Takes what the child reported. True once no more can come.
    pub(super) fn advance(&mut self) -> bool {
        loop {
            let (mut packet, mut fds) = ([0; PACKET], Vec::new());
            match wire::receive_with_fds(&self.socket, &mut packet, &mut fds) {
                Ok(0) => return true,
                Ok(length) => match serde_json::from_slice(&packet[..length]) {
                    Ok(Progress::Process(pid)) => self.process = Some(pid),
                    Ok(Progress::Terminal) => self.terminal = fds.pop(),
                    // The first failure is the cause of the others.
                    Ok(Progress::Failed(failure)) => {
                        self.failure.get_or_insert(failure);
                    }
                    Ok(Progress::Ready) => self.ready = true,
                    Ok(Progress::Step(text)) => self.step = Some(text),
                    Ok(Progress::Detail(text)) => {
                        self.detail.get_or_insert(text);
                    }
                    Err(error) => self.fail(&error),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.fail(&error);
                    return true;
                }
            }
        }
    }

    /// The process that waits until it may become the program, each time that it says so.
    pub(super) fn take_ready(&mut self) -> Option<i32> {
        std::mem::take(&mut self.ready).then_some(self.process).flatten()
    }

    /// Lets it become the program.
    pub(super) fn go(&self) {
        if let Err(error) = wire::send_with_fds(self.socket.as_fd(), &GO, &[]) {
            skiff_print::note(format_args!("a program cannot be told to start: {error}"));
        }
    }

    /// The process it made, or why there is none.
    pub(super) fn conclude(&self) -> Result<i32, Failure> {
        match (&self.failure, self.process) {
            (None, Some(pid)) => Ok(pid),
            (None, None) => Err(Failure { stage: Stage::Create, reason: "the helper process died".into() }),
            // What fails at the start says all there is to say; the library's other errors only say where it was.
            (Some(failure), _) => match &self.detail {
                Some(detail) if !matches!(failure.stage, Stage::Start | Stage::Hung) => {
                    Err(Failure { reason: detail.clone(), ..*failure })
                }
                _ => Err(failure.clone()),
            },
        }
    }

    /// Whether its time is over.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whether its time was over once before.
    pub(super) fn is_killed(&self) -> bool {
        self.killed
    }

    /// Ends the child and what it forked, as far as that has no other group, and notes why.
    pub(super) fn kill(&mut self) {
        if let Some(leader) = self.helper {
            // SAFETY: a child of ours that was not yet collected: the group is still its own.
            let _already_ended = unsafe { libc::kill(-leader, libc::SIGKILL) };
        }
        let step = self.step.as_deref().map(|step| format!(": {step}")).unwrap_or_default();
        let failure = Failure { stage: Stage::Hung, reason: format!("{DEADLINE_EXCEEDED}{step}") };
        self.failure.get_or_insert(failure);
        self.killed = true;
    }

    fn fail(&mut self, error: &dyn Error) {
        self.failure.get_or_insert(failure(Stage::Other, error));
    }
}

impl Reporter {
    pub(super) fn process(self, pid: i32) {
        self.send(&Progress::Process(pid), &[]);
    }

    pub(super) fn terminal(self, master: BorrowedFd<'_>) {
        self.send(&Progress::Terminal, &[master]);
    }

    pub(super) fn failed(self, stage: Stage, reason: impl Into<String>) {
        self.send(&Progress::Failed(Failure { stage, reason: reason.into() }), &[]);
    }

    /// Tells what is done next, in case that it never ends.
    pub(super) fn step(self, step: &str) {
        self.send(&Progress::Step(step.to_owned()), &[]);
    }

    pub(super) fn detail(self, text: String) {
        self.send(&Progress::Detail(text), &[]);
    }

    /// Waits until the supervisor has written down that this process becomes the program. False when it has ended before: nobody
    /// knows of the program then.
    pub(super) fn may_run(self) -> bool {
        self.send(&Progress::Ready, &[]);
        // SAFETY: the socket stays open until this process executes a program or exits.
        let socket = unsafe { BorrowedFd::borrow_raw(self.socket) };
        let mut told = GO;
        rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut told)).is_ok_and(|length| length > 0)
    }

    fn send(self, progress: &Progress, fds: &[BorrowedFd<'_>]) {
        let mut packet = serde_json::to_vec(progress).unwrap_or_default();
        if packet.len() > PACKET {
            let cut = Failure { stage: Stage::Other, reason: "the reason is too long to report".into() };
            packet = serde_json::to_vec(&Progress::Failed(cut)).unwrap_or_default();
        }
        // SAFETY: the socket stays open until this process executes a program or exits.
        let socket = unsafe { BorrowedFd::borrow_raw(self.socket) };
        if let Err(error) = wire::send_with_fds(socket.as_fd(), &packet, fds) {
            skiff_print::note(format_args!("a report to the supervisor is lost: {error}"));
        }
    }
}

/// An error with all its causes as a failure.
pub(super) fn failure(stage: Stage, error: &dyn Error) -> Failure {
    Failure { stage, reason: error_text(error) }
}

/// Makes this process the leader of a group, so that it can be ended together with what it forks.
fn lead_group() {
    if let Err(error) = rustix::process::setpgid(None, None) {
        skiff_print::note(format_args!("a process group of its own: {error}"));
    }
}

/// Programs start with every signal at its default and none blocked.
fn reset_signals() {
    // SAFETY: plain calls on values of this frame; resetting a signal that cannot be changed fails harmlessly.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, WaitOptions, waitpid};

    /// A child that says whether it ran: by its step, and by its exit code.
    fn start() -> Job {
        let started = Job::start(&[], Duration::from_secs(60), |reporter| {
            reporter.process(7);
            if reporter.may_run() {
                reporter.step("run");
                return Ok(());
            }
            Err(Failure { stage: Stage::Start, reason: String::new() })
        });
        let mut job = started.unwrap();
        while !job.ready {
            assert!(!listen(&mut job));
        }
        job
    }

    fn listen(job: &mut Job) -> bool {
        poll(&mut [PollFd::new(&job.socket, PollFlags::IN)], None).unwrap();
        job.advance()
    }

    fn code(helper: Option<i32>) -> Option<i32> {
        waitpid(helper.and_then(Pid::from_raw), WaitOptions::empty()).unwrap().unwrap().1.exit_status()
    }

    #[test]
    fn a_program_runs_once_it_is_written_down() {
        let mut job = start();
        assert_eq!((job.take_ready(), job.take_ready(), &job.step), (Some(7), None, &None));
        job.go();
        while !listen(&mut job) {}
        assert_eq!((job.step.as_deref(), code(job.helper)), (Some("run"), Some(0)));

        // The supervisor ends before.
        let Job { socket, helper, .. } = start();
        drop(socket);
        assert_eq!(code(helper), Some(1));
    }
}
