//! One container in the supervisor: its output, the clients attached to it, and its end.

use super::log::{Log, Stream};
use super::stdio::SupervisorSide;
use crate::spec::{AttachSpec, ContainerSpec};
use crate::state::{ContainerState, ContainerStatus};
use jiff::Timestamp;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes kept for an attached client that does not read; then it is detached. The container never waits for it.
const BACKLOG: usize = 1 << 20;

/// Output kept for the first client of a container that takes its input from one client; more, and none is kept.
const EARLY: usize = 64 << 10;

/// Bytes taken from an ended container's output at most; only processes that outlive it can write more.
const LAST_OUTPUT: usize = 8 << 20;

/// A container and what the supervisor holds of it.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) state: ContainerState,
    pub(super) tty: bool,
    pub(super) stdin_once: bool,
    pub(super) streams: SupervisorSide,
    pub(super) terminal: Option<OwnedFd>,
    log: Log,
    attached: Vec<Attached>,
    /// What a container that waits for its one client has written so far; `None` once there was a client, or too much.
    early: Option<Vec<(Stream, Vec<u8>)>>,
    /// Tells of the end of a process that is not our child (after adoption).
    pub(super) pidfd: Option<OwnedFd>,
    /// Readable when memory runs out in its group.
    pub(super) memory: Option<OwnedFd>,
    /// When memory last ran out, until it is known whether that killed a process of it.
    pub(super) shortage: Option<std::time::Instant>,
    /// Whether its other processes end with its first one: the first of a process namespace takes all with it.
    pub(super) ends_as_one: bool,
    /// When the process became a zombie that its parent does not collect.
    pub(super) ended: Option<std::time::Instant>,
    /// The process that may become the program at any moment, until it is known to run.
    pub(super) starting: Option<i32>,
}

/// Output of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
    Terminal,
}

#[derive(Debug)]
struct Attached {
    client: u32,
    stdout: Option<Pipe>,
    stderr: Option<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    fd: OwnedFd,
    backlog: VecDeque<u8>,
}

impl Container {
    pub(super) fn new(
        state: ContainerState,
        spec: &ContainerSpec,
        streams: SupervisorSide,
        log: Log,
    ) -> Self {
        Self {
            state,
            tty: spec.tty,
            stdin_once: spec.stdin_once,
            streams,
            terminal: None,
            log,
            attached: Vec::new(),
            early: spec.stdin_once.then(Vec::new),
            pidfd: None,
            memory: None,
            shortage: None,
            ends_as_one: spec.target.is_none(),
            ended: None,
            starting: None,
        }
    }

    /// Its process, while it runs.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.state.status {
            ContainerStatus::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// The descriptors to wait on.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let streams = &self.streams;
        let all = [
            (Source::Stdout, &streams.stdout),
            (Source::Stderr, &streams.stderr),
            (Source::Terminal, &self.terminal),
        ];
        all.into_iter().filter_map(|(source, fd)| Some((source, fd.as_ref()?.as_fd())))
    }

    /// Takes what is there from one output: into the log and to attached clients. Returns the number of bytes.
    pub(super) fn pump(&mut self, source: Source, buffer: &mut [u8]) -> usize {
        let fd = match source {
            Source::Stdout => &mut self.streams.stdout,
            Source::Stderr => &mut self.streams.stderr,
            Source::Terminal => &mut self.terminal,
        };
        let Some(open) = fd else { return 0 };
        let length = match rustix::io::read(&*open, &mut *buffer) {
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            // A terminal nobody has open any more.
            Err(_) => 0,
        };
        if length == 0 {
            *fd = None;
            return 0;
        }
        let stream = if source == Source::Stderr { Stream::Stderr } else { Stream::Stdout };
        self.log.write(stream, &buffer[..length]);
        self.keep_early(stream, &buffer[..length]);
        for attached in &mut self.attached {
            attached.write(stream, &buffer[..length]);
        }
        self.attached.retain(Attached::is_open);
        length
    }

    fn keep_early(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(early) = &mut self.early else { return };
        let kept: usize = early.iter().map(|(_, bytes)| bytes.len()).sum();
        if kept + bytes.len() > EARLY {
            self.early = None;
        } else {
            early.push((stream, bytes.to_vec()));
        }
    }

    /// Connects a client. Returns the descriptors it gets, in the order of [`crate::wire::Reply::Attached`].
    pub(super) fn attach(&mut self, client: u32, spec: AttachSpec) -> io::Result<Vec<OwnedFd>> {
        let mut fds = Vec::new();
        if let Some(terminal) = &self.terminal {
            fds.push(terminal.try_clone()?);
        } else if spec.stdin
            && let Some(stdin) = &self.streams.stdin
        {
            fds.push(stdin.try_clone()?);
            if self.stdin_once {
                // The client now holds the only writing end: when it lets go, the container sees the end of input.
                self.streams.stdin = None;
            }
        }
        let mut pipe = |wanted: bool| -> io::Result<Option<Pipe>> {
            if !wanted {
                return Ok(None);
            }
            let (reader, writer) = io::pipe()?;
            rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK)?;
            fds.push(reader.into());
            Ok(Some(Pipe { fd: writer.into(), backlog: VecDeque::new() }))
        };
        let stdout = pipe(spec.stdout)?;
        let stderr = pipe(spec.stderr && !self.tty)?;
        let mut attached = Attached { client, stdout, stderr };
        for (stream, bytes) in self.early.take().into_iter().flatten() {
            attached.write(stream, &bytes);
        }
        self.attached.push(attached);
        Ok(fds)
    }

    /// Forgets a client.
    pub(super) fn detach(&mut self, client: u32) {
        self.attached.retain(|attached| attached.client != client);
    }

    /// The pipes that have something waiting for their reader.
    pub(super) fn backlogs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes = self.attached.iter().flat_map(|a| [&a.stdout, &a.stderr]).flatten();
        pipes.filter(|pipe| !pipe.backlog.is_empty()).map(|pipe| pipe.fd.as_fd())
    }

    /// Sends what waits for attached clients. Those of an ended container have their end with the last of it.
    pub(super) fn flush_backlogs(&mut self) {
        let ended = matches!(self.state.status, ContainerStatus::Exited { .. });
        for attached in &mut self.attached {
            attached.write(Stream::Stdout, &[]);
            attached.write(Stream::Stderr, &[]);
            if ended {
                attached.close_empty();
            }
        }
        self.attached.retain(Attached::is_open);
    }

    /// Takes the last output and records the end.
    pub(super) fn finish(&mut self, code: i32, signal: Option<i32>, oom_killed: bool, buffer: &mut [u8]) {
        for source in [Source::Stdout, Source::Stderr, Source::Terminal] {
            let mut taken = 0;
            while taken < LAST_OUTPUT {
                match self.pump(source, buffer) {
                    0 => break,
                    more => taken += more,
                }
            }
        }
        self.log.finish();
        self.streams = SupervisorSide::default();
        self.terminal = None;
        self.pidfd = None;
        self.memory = None;
        self.shortage = None;
        self.early = None;
        let finished_at = Timestamp::now();
        let started_at = match self.state.status {
            ContainerStatus::Running { started_at, .. } => started_at,
            _ => finished_at,
        };
        self.state.status = ContainerStatus::Exited { code, signal, oom_killed, started_at, finished_at };
        self.flush_backlogs();
    }
}

impl Attached {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let pipe = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        if pipe.as_mut().is_some_and(|p| !p.write(bytes)) {
            *pipe = None;
        }
    }

    /// Ends the streams for which nothing waits.
    fn close_empty(&mut self) {
        for pipe in [&mut self.stdout, &mut self.stderr] {
            if pipe.as_ref().is_some_and(|pipe| pipe.backlog.is_empty()) {
                *pipe = None;
            }
        }
    }

    fn is_open(&self) -> bool {
        // A client attached for input only holds its own descriptor and needs nothing here.
        self.stdout.is_some() || self.stderr.is_some()
    }
}

impl Pipe {
    /// False if the reader is gone or too far behind.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.backlog.extend(bytes);
        while !self.backlog.is_empty() {
            match rustix::io::write(&self.fd, self.backlog.as_slices().0) {
                Ok(written) => drop(self.backlog.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return false,
            }
        }
        if self.backlog.is_empty() {
            self.backlog.shrink_to_fit();
        }
        self.backlog.len() <= BACKLOG
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ContainerId, ImageId};
    use std::io::{Read, Write};

    fn container(directory: &std::path::Path, output: &OwnedFd) -> Container {
        let spec = ContainerSpec {
            stdin_once: true,
            log_path: directory.join("0.log"),
            ..crate::oci::tests::spec()
        };
        let state = ContainerState {
            id: ContainerId::new("a".repeat(64)).unwrap(),
            name: "c".into(),
            attempt: 0,
            image: ImageId::new(format!("sha256:{}", "a".repeat(64))).unwrap(),
            image_ref: "i".into(),
            log_path: spec.log_path.clone(),
            status: ContainerStatus::Running { pid: 1, started_at: Timestamp::UNIX_EPOCH },
            tty: false,
            user: spec.user.clone(),
            labels: Default::default(),
        };
        let streams =
            SupervisorSide { stdout: Some(output.try_clone().unwrap()), ..SupervisorSide::default() };
        Container::new(state, &spec, streams, Log::open(directory, &spec.log_path).unwrap())
    }

    const OUTPUTS: AttachSpec = AttachSpec { stdin: false, stdout: true, stderr: false };

    #[test]
    fn the_first_client_sees_what_came_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let mut container = container(directory.path(), &reader.into());
        let mut buffer = [0; 64];
        writer.write_all(b"hello ").unwrap();
        container.pump(Source::Stdout, &mut buffer);
        let first = container.attach(1, OUTPUTS).unwrap().remove(0);
        let second = container.attach(2, OUTPUTS).unwrap().remove(0);
        writer.write_all(b"world").unwrap();
        drop(writer);
        container.finish(0, None, false, &mut buffer);
        let read = |fd: OwnedFd| {
            let mut text = String::new();
            std::fs::File::from(fd).read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!((read(first), read(second)), ("hello world".into(), "world".into()));
    }

    #[test]
    fn a_slow_client_gets_the_rest_after_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let mut container = container(directory.path(), &reader.into());
        let client = container.attach(1, OUTPUTS).unwrap().remove(0);
        // More than a pipe holds.
        let all = vec![b'x'; 300 << 10];
        let mut buffer = [0; 4096];
        let mut output = std::fs::File::from(OwnedFd::from(writer));
        for piece in all.chunks(4096) {
            output.write_all(piece).unwrap();
            container.pump(Source::Stdout, &mut buffer);
        }
        drop(output);
        container.finish(0, None, false, &mut buffer);
        let mut got = 0;
        let mut client = std::fs::File::from(client);
        loop {
            container.flush_backlogs();
            match client.read(&mut buffer).unwrap() {
                0 => break,
                read => got += read,
            }
        }
        assert_eq!(got, all.len());
        assert!(container.backlogs().next().is_none());
    }
}
