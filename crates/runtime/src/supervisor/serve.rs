//! The loop of the supervisor: waits for clients, children and output, and answers requests.
//!
//! State changes in three places only: a job ended ([`Supervisor::job_ended`]), a process ended
//! ([`Supervisor::process_ended`]), a client asked for removal. Each saves the state, then tells the watching clients.

use super::client::Client;
use super::container::{Container, Source};
use super::job::Job;
use super::lifecycle::kill_group;
use super::saved::{self, SavedContainer};
use super::users::Users;
use crate::cgroup::{Cgroups, PodGroups};
use crate::ids::ContainerId;
use crate::paths::{CONTROL_SOCKET, PodPaths};
use crate::state::{ExitStatus, PodState};
use crate::wire::{Failure, Reply, Request, Stage, SupervisorConfig};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Bytes taken from an output at once.
const CHUNK: usize = 32 << 10;

pub(super) struct Supervisor {
    pub(super) config: SupervisorConfig,
    pub(super) paths: PodPaths,
    pub(super) cgroups: Cgroups,
    /// The pod's user namespace, if it has one.
    pub(super) users: Option<Users>,
    /// Control groups of the pod.
    pub(super) groups: PodGroups,
    /// Capabilities this process may hand out.
    pub(super) bounding: u64,
    pub(super) listener: OwnedFd,
    pub(super) signals: SignalFd,
    pub(super) clients: BTreeMap<u32, Client>,
    pub(super) containers: BTreeMap<u32, Container>,
    pub(super) jobs: BTreeMap<u32, (Job, Purpose)>,
    /// Commands that run, by process, with the client that wants to know of their end.
    pub(super) execs: BTreeMap<i32, u32>,
    /// Ends of processes no one knows yet, while a job may still tell about them.
    pub(super) early: Vec<(i32, ExitStatus)>,
    pub(super) next_key: u32,
    pub(super) buffer: Box<[u8]>,
}

/// What a job is for.
pub(super) enum Purpose {
    Start {
        container: u32,
        client: u32,
    },
    Exec {
        client: u32,
        tty: bool,
    },
    /// Given up. What is left of the container that it was to start is cleared away at its end.
    Nothing {
        container: Option<ContainerId>,
    },
}

/// What woke the loop.
#[derive(Clone, Copy)]
enum Wake {
    Listener,
    Signals,
    Client(u32),
    Job(u32),
    Output(u32, Source),
    Backlog(u32),
    Adopted(u32),
    Memory(u32),
}

impl Supervisor {
    pub(super) fn new(
        config: SupervisorConfig,
        paths: PodPaths,
        cgroups: Cgroups,
        groups: PodGroups,
        saved: Vec<SavedContainer>,
    ) -> Result<Self, String> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().map_err(|error| format!("block signals: {error}"))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).map_err(|error| format!("signalfd: {error}"))?;
        let listener =
            listen(&paths).map_err(|error| format!("listen in {}: {error}", paths.dir.display()))?;
        let pin = paths.userns();
        let users = config.sandbox.users.map(|range| Users::open(range, &pin)).transpose();
        let mut supervisor = Self {
            users: users.map_err(|error| format!("open {}: {error}", pin.display()))?,
            config,
            paths,
            cgroups,
            groups,
            bounding: bounding_set().map_err(|error| format!("read capabilities: {error}"))?,
            listener,
            signals,
            clients: BTreeMap::new(),
            containers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            execs: BTreeMap::new(),
            early: Vec::new(),
            next_key: 0,
            buffer: vec![0; CHUNK].into_boxed_slice(),
        };
        for container in saved {
            supervisor.adopt(container)?;
        }
        supervisor.changed();
        Ok(supervisor)
    }

    /// Serves until the pod is shut down, which ends the process; returns only the reason it cannot go on.
    pub(super) fn run(mut self) -> String {
        loop {
            let (mut polls, wakes) = self.interests();
            let timeout = self.patience();
            // SAFETY: the array lives through the call and its length is right.
            let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout) };
            if ready < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return format!("poll: {error}");
            }
            for (poll, wake) in polls.iter().zip(wakes) {
                if poll.revents != 0 {
                    self.woken(wake, poll.revents);
                }
            }
            self.end_overdue_jobs();
            self.give_up_on_lost_statuses();
            self.end_containers_short_of_memory();
        }
    }

    /// Milliseconds until something has to be looked at that nothing tells of.
    fn patience(&self) -> i32 {
        if self.containers.values().any(|c| c.shortage.is_some()) {
            10
        } else if self.containers.values().any(|c| c.ended.is_some()) {
            100
        } else {
            // A whole one more, so that it is over when the time has come.
            let left = self.next_deadline().map(|left| left.as_millis().saturating_add(1));
            left.map_or(-1, |left| i32::try_from(left).unwrap_or(i32::MAX))
        }
    }

    fn interests(&self) -> (Vec<libc::pollfd>, Vec<Wake>) {
        let (mut polls, mut wakes) = (Vec::with_capacity(16), Vec::with_capacity(16));
        let mut add = |fd: RawFd, events: i16, wake: Wake| {
            polls.push(libc::pollfd { fd, events, revents: 0 });
            wakes.push(wake);
        };
        add(self.listener.as_raw_fd(), libc::POLLIN, Wake::Listener);
        add(self.signals.as_raw_fd(), libc::POLLIN, Wake::Signals);
        for (key, client) in &self.clients {
            let events = if client.is_pending() { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
            add(client.socket.as_raw_fd(), events, Wake::Client(*key));
        }
        for (key, (job, _)) in &self.jobs {
            add(job.socket.as_raw_fd(), libc::POLLIN, Wake::Job(*key));
        }
        for (key, container) in &self.containers {
            for (source, fd) in container.outputs() {
                add(fd.as_raw_fd(), libc::POLLIN, Wake::Output(*key, source));
            }
            for fd in container.backlogs() {
                add(fd.as_raw_fd(), libc::POLLOUT, Wake::Backlog(*key));
            }
            if let Some(memory) = &container.memory {
                add(memory.as_raw_fd(), libc::POLLIN, Wake::Memory(*key));
            }
            if let Some(pidfd) = &container.pidfd {
                // Once a zombie, only its collection by its parent is news.
                let events = if container.ended.is_some() { 0 } else { libc::POLLIN };
                add(pidfd.as_raw_fd(), events, Wake::Adopted(*key));
            }
        }
        (polls, wakes)
    }

    fn woken(&mut self, wake: Wake, events: i16) {
        match wake {
            Wake::Listener => self.accept(),
            Wake::Signals => {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                self.reap();
            }
            Wake::Client(key) => self.serve(key, events),
            Wake::Job(key) => {
                let over = self.jobs.get_mut(&key).is_some_and(|(job, _)| job.advance());
                self.job_ready(key);
                if over && let Some((job, purpose)) = self.jobs.remove(&key) {
                    self.job_ended(job, purpose);
                }
            }
            Wake::Output(key, source) => {
                if let Some(container) = self.containers.get_mut(&key) {
                    container.pump(source, &mut self.buffer);
                }
            }
            Wake::Backlog(key) => {
                if let Some(container) = self.containers.get_mut(&key) {
                    container.flush_backlogs();
                }
            }
            Wake::Adopted(key) => self.adopted_ended(key, events),
            Wake::Memory(key) => self.memory_ran_out(key),
        }
    }

    // Clients

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => {
                let key = self.key();
                self.clients.insert(key, Client::new(socket));
            }
            Err(error) => skiff_print::note(format_args!("accept: {error}")),
        }
    }

    /// The control socket and the connections that came in by it.
    pub(super) fn connections(&self) -> Vec<RawFd> {
        let clients = self.clients.values().map(|client| client.socket.as_raw_fd());
        clients.chain([self.listener.as_raw_fd()]).collect()
    }

    pub(super) fn key(&mut self) -> u32 {
        self.next_key = self.next_key.wrapping_add(1);
        self.next_key
    }

    fn serve(&mut self, key: u32, events: i16) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        if events & libc::POLLOUT != 0
            && let Err(error) = client.flush()
        {
            return self.drop_client(key, Some(error));
        }
        if events & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0 {
            match client.inbox.receive(&client.socket) {
                Ok(true) => {}
                Ok(false) => return self.drop_client(key, None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.drop_client(key, Some(error)),
            }
        }
        while let Some(client) = self.clients.get_mut(&key) {
            match client.inbox.next::<Request>() {
                Ok(Some((request, fds))) => self.request(key, request, fds),
                Ok(None) => break,
                Err(error) => return self.drop_client(key, Some(error)),
            }
        }
        if self.clients.get(&key).is_some_and(|c| c.finished && !c.is_pending()) {
            self.clients.remove(&key);
        }
    }

    /// A client is gone: its command is killed, its attachment ends.
    fn drop_client(&mut self, key: u32, error: Option<io::Error>) {
        if let Some(error) = error
            && error.kind() != io::ErrorKind::ConnectionReset
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            skiff_print::note(format_args!("client: {error}"));
        }
        self.clients.remove(&key);
        for (pid, client) in &self.execs {
            if *client == key {
                kill_group(*pid);
            }
        }
        for container in self.containers.values_mut() {
            container.detach(key);
        }
    }

    pub(super) fn reply(&mut self, key: u32, reply: &Reply, fds: Vec<OwnedFd>) {
        if let Some(client) = self.clients.get_mut(&key)
            && let Err(error) = client.send(reply, fds)
        {
            self.drop_client(key, Some(error));
        }
    }

    pub(super) fn answer(&mut self, key: u32, result: Result<(), Failure>) {
        let reply = result.map_or_else(Reply::Failed, |()| Reply::Ok);
        self.reply(key, &reply, Vec::new());
    }

    fn request(&mut self, key: u32, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Start(start) => {
                if let Err(failure) = self.start(key, &start) {
                    self.answer(key, Err(failure));
                }
            }
            Request::Signal { id, signal } => {
                let result = self.signal(&id, signal);
                self.answer(key, result);
            }
            Request::Remove { id } => {
                let result = self.remove(&id);
                self.answer(key, result);
            }
            Request::Exec { id, spec } => {
                if let Err(failure) = self.exec(key, &id, &spec, fds) {
                    self.answer(key, Err(failure));
                }
            }
            Request::Attach { id, spec } => match self.attach(key, &id, spec) {
                Ok((reply, fds)) => self.reply(key, &reply, fds),
                Err(failure) => self.answer(key, Err(failure)),
            },
            Request::Terminal { id } => {
                let result = self.take_terminal(&id, fds.into_iter().next());
                self.answer(key, result);
            }
            Request::Watch => {
                let state = self.state();
                if let Some(client) = self.clients.get_mut(&key) {
                    client.watches = true;
                }
                self.reply(key, &Reply::State(state), Vec::new());
            }
            Request::Shutdown => self.shutdown(key),
        }
    }

    // State

    fn state(&self) -> PodState {
        PodState { containers: self.containers.values().map(|c| c.state.clone()).collect(), supervised: true }
    }

    /// Writes down what a successor has to know.
    pub(super) fn save(&self) {
        let containers = self.containers.values().map(|container| match container.starting {
            Some(pid) => SavedContainer::starting(&container.state, pid),
            None => SavedContainer::of(&container.state),
        });
        if let Err(error) = saved::save(&self.paths.state(), containers) {
            skiff_print::note(format_args!("save state: {error}"));
        }
    }

    pub(super) fn changed(&mut self) {
        self.save();
        let watching: Vec<u32> =
            self.clients.iter().filter(|(_, c)| c.watches).map(|(key, _)| *key).collect();
        if !watching.is_empty() {
            let reply = Reply::State(self.state());
            for key in watching {
                self.reply(key, &reply, Vec::new());
            }
        }
    }

    pub(super) fn find(&self, id: &ContainerId) -> Result<u32, Failure> {
        let found = self.containers.iter().find(|(_, c)| c.state.id == *id).map(|(key, _)| *key);
        found.ok_or_else(|| Failure { stage: Stage::Unknown, reason: format!("container {id} not found") })
    }

    pub(super) fn find_running(&self, id: &ContainerId) -> Result<(u32, i32), Failure> {
        let key = self.find(id)?;
        let not_running =
            || Failure { stage: Stage::NotRunning, reason: format!("container {id} is not running") };
        self.containers.get(&key).and_then(Container::pid).map(|pid| (key, pid)).ok_or_else(not_running)
    }

    pub(super) fn container_cgroup(&self, id: &ContainerId) -> String {
        format!("{}/{id}", self.groups.pod)
    }
}

/// Binds the control socket, reached through a descriptor of its directory so that the path may be long.
fn listen(paths: &PodPaths) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let directory =
        rustix::fs::open(&paths.dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match fs::remove_file(paths.dir.join(CONTROL_SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", directory.as_raw_fd());
    rustix::net::bind(&socket, &SocketAddrUnix::new(address)?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// The capabilities this process could keep over an exec.
fn bounding_set() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    u64::from_str_radix(line.unwrap_or_default().trim(), 16).map_err(io::Error::other)
}
