//! The loop of the supervisor: waits for clients, children and output, and answers requests.
//!
//! State changes in three places only: a job ended ([`Supervisor::job_ended`]), a process ended
//! ([`Supervisor::process_ended`]), a client asked for removal. Each saves the state, then tells the watching clients.

use super::client::Client;
use super::container::{Container, Source};
use super::job::{Job, failure};
use super::log::Log;
use super::saved::{self, SavedContainer};
use super::{create, exec, stdio};
use crate::cgroup::Cgroups;
use crate::cleanup::{self, Leftovers};
use crate::ids::ContainerId;
use crate::oci::Surroundings;
use crate::paths::{CONTROL_SOCKET, PodPaths};
use crate::spec::{AttachSpec, ContainerSpec, ExecSpec};
use crate::state::{ContainerState, ContainerStatus, ExitStatus, PodState};
use crate::wire::{Failure, Reply, Request, Stage, StartRequest, SupervisorConfig};
use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Bytes taken from an output at once.
const CHUNK: usize = 32 << 10;

/// How long the exit status of an adopted process may take to appear after its end.
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// Exit code when nobody can tell the real one.
const UNKNOWN_CODE: i32 = 137;

pub(super) struct Supervisor {
    config: SupervisorConfig,
    paths: PodPaths,
    cgroups: Cgroups,
    /// Control group of the pod.
    cgroup: String,
    /// Capabilities this process may hand out.
    bounding: u64,
    listener: OwnedFd,
    signals: SignalFd,
    clients: BTreeMap<u32, Client>,
    containers: BTreeMap<u32, Container>,
    jobs: BTreeMap<u32, (Job, Purpose)>,
    /// Commands that run, by process, with the client that wants to know of their end.
    execs: BTreeMap<i32, u32>,
    /// Ends of processes no one knows yet, while a job may still tell about them.
    early: Vec<(i32, ExitStatus)>,
    next_key: u32,
    buffer: Box<[u8]>,
}

/// What a job is for.
enum Purpose {
    Start { container: u32, client: u32 },
    Exec { client: u32, tty: bool },
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
}

impl Supervisor {
    pub(super) fn new(
        config: SupervisorConfig,
        paths: PodPaths,
        cgroups: Cgroups,
        cgroup: String,
        saved: Vec<SavedContainer>,
    ) -> Result<Self, String> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().map_err(|error| format!("block signals: {error}"))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).map_err(|error| format!("signalfd: {error}"))?;
        let listener =
            listen(&paths).map_err(|error| format!("listen in {}: {error}", paths.dir.display()))?;
        let mut supervisor = Self {
            config,
            paths,
            cgroups,
            cgroup,
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
            let timeout = if self.containers.values().any(|c| c.ended.is_some()) { 100 } else { -1 };
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
            self.give_up_on_lost_statuses();
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
                if self.jobs.get_mut(&key).is_some_and(|(job, _)| job.advance())
                    && let Some((job, purpose)) = self.jobs.remove(&key)
                {
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
            Err(error) => eprintln!("accept: {error}"),
        }
    }

    fn key(&mut self) -> u32 {
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
            eprintln!("client: {error}");
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

    fn reply(&mut self, key: u32, reply: &Reply, fds: Vec<OwnedFd>) {
        if let Some(client) = self.clients.get_mut(&key)
            && let Err(error) = client.send(reply, fds)
        {
            self.drop_client(key, Some(error));
        }
    }

    fn answer(&mut self, key: u32, result: Result<(), Failure>) {
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

    fn changed(&mut self) {
        if let Err(error) = saved::save(&self.paths.state(), self.containers.values().map(|c| &c.state)) {
            eprintln!("save state: {error}");
        }
        let watching: Vec<u32> =
            self.clients.iter().filter(|(_, c)| c.watches).map(|(key, _)| *key).collect();
        if !watching.is_empty() {
            let reply = Reply::State(self.state());
            for key in watching {
                self.reply(key, &reply, Vec::new());
            }
        }
    }

    fn find(&self, id: &ContainerId) -> Result<u32, Failure> {
        let found = self.containers.iter().find(|(_, c)| c.state.id == *id).map(|(key, _)| *key);
        found.ok_or_else(|| Failure { stage: Stage::Unknown, reason: format!("container {id} not found") })
    }

    fn find_running(&self, id: &ContainerId) -> Result<(u32, i32), Failure> {
        let key = self.find(id)?;
        let not_running =
            || Failure { stage: Stage::NotRunning, reason: format!("container {id} is not running") };
        self.containers.get(&key).and_then(Container::pid).map(|pid| (key, pid)).ok_or_else(not_running)
    }

    fn container_cgroup(&self, id: &ContainerId) -> String {
        format!("{}/{id}", self.cgroup)
    }

    // Starting

    fn start(&mut self, client: u32, request: &StartRequest) -> Result<(), Failure> {
        let StartRequest { id, spec, rootfs } = request;
        let paths = self.paths.container(id);
        let prepare = || -> io::Result<_> {
            fs::create_dir_all(&paths.dir)?;
            fs::write(paths.spec(), serde_json::to_vec(spec)?)?;
            Ok((stdio::make(&paths, spec)?, Log::open(&spec.log_path)?))
        };
        let cgroup = self.container_cgroup(id);
        let started = prepare().and_then(|((theirs, ours), log)| {
            let shm = if self.config.sandbox.host_ipc { "/dev/shm".into() } else { self.paths.shm() };
            let (sandbox, bounding) = (&self.config.sandbox, self.bounding);
            let unified_cgroups = self.cgroups.is_unified();
            let root = paths.rootfs();
            let around = Surroundings {
                sandbox,
                rootfs: &root,
                shm: &shm,
                cgroup: &cgroup,
                unified_cgroups,
                bounding,
            };
            let plan = create::Plan { id: id.as_str(), spec, paths: &paths, rootfs, around };
            let job = Job::start(|reporter| create::create(&plan, theirs, reporter))?;
            Ok((job, Container::new(first_state(id, spec), spec, ours, log)))
        });
        match started {
            Ok((job, container)) => {
                let (container_key, job_key) = (self.key(), self.key());
                self.containers.insert(container_key, container);
                self.jobs.insert(job_key, (job, Purpose::Start { container: container_key, client }));
                self.changed();
                Ok(())
            }
            Err(error) => {
                self.clear(id);
                Err(failure(Stage::Create, &error))
            }
        }
    }

    fn exec(
        &mut self,
        client: u32,
        id: &ContainerId,
        spec: &ExecSpec,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let (_, init) = self.find_running(id)?;
        let read = || -> io::Result<ContainerSpec> {
            Ok(serde_json::from_slice(&fs::read(self.paths.container(id).spec())?)?)
        };
        let container = read().map_err(|error| failure(Stage::Create, &error))?;
        let mut fds = fds.into_iter();
        let stdin = if spec.stdin && !spec.tty { fds.next() } else { None };
        let plan = exec::Plan {
            init,
            container: &container,
            sandbox: &self.config.sandbox,
            exec: spec,
            cgroups: &self.cgroups,
            cgroup: &self.container_cgroup(id),
            bounding: self.bounding,
            stdio: [stdin, fds.next(), fds.next()],
        };
        let job =
            Job::start(|reporter| exec::exec(&plan, reporter)).map_err(|e| failure(Stage::Create, &e))?;
        let key = self.key();
        self.jobs.insert(key, (job, Purpose::Exec { client, tty: spec.tty }));
        Ok(())
    }

    fn job_ended(&mut self, job: Job, purpose: Purpose) {
        match purpose {
            Purpose::Start { container, client } => self.start_ended(job, container, client),
            Purpose::Exec { client, tty } => self.exec_ended(job, client, tty),
        }
        if self.jobs.is_empty() {
            self.early.clear();
        }
    }

    fn start_ended(&mut self, job: Job, key: u32, client: u32) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let id = container.state.id.clone();
        match job.conclude() {
            Ok(pid) => {
                container.terminal = job.terminal.filter(set_nonblocking);
                container.state.status = ContainerStatus::Running { pid, started_at: Timestamp::now() };
                self.changed();
                self.answer(client, Ok(()));
                if let Some(status) = self.take_early(pid) {
                    self.process_ended(pid, status);
                }
            }
            Err(failure) => {
                self.containers.remove(&key);
                self.clear(&id);
                self.changed();
                self.answer(client, Err(failure));
            }
        }
    }

    fn exec_ended(&mut self, job: Job, client: u32, tty: bool) {
        match job.conclude() {
            Ok(pid) => {
                let terminal: Vec<OwnedFd> = job.terminal.into_iter().filter(|_| tty).collect();
                self.execs.insert(pid, client);
                self.reply(client, &Reply::ExecStarted, terminal);
                if !self.clients.contains_key(&client) {
                    kill_group(pid);
                }
                if let Some(status) = self.take_early(pid) {
                    self.process_ended(pid, status);
                }
            }
            Err(failure) => self.answer(client, Err(failure)),
        }
    }

    fn take_early(&mut self, pid: i32) -> Option<ExitStatus> {
        let at = self.early.iter().position(|(early, _)| *early == pid)?;
        Some(self.early.swap_remove(at).1)
    }

    fn attach(
        &mut self,
        client: u32,
        id: &ContainerId,
        spec: AttachSpec,
    ) -> Result<(Reply, Vec<OwnedFd>), Failure> {
        let (key, _) = self.find_running(id)?;
        let Some(container) = self.containers.get_mut(&key) else { return Err(not_there(id)) };
        let tty = container.terminal.is_some();
        let stdin = spec.stdin && (tty || container.streams.stdin.is_some());
        let fds = container.attach(client, spec).map_err(|error| failure(Stage::Other, &error))?;
        Ok((Reply::Attached { tty, stdin, stdout: spec.stdout, stderr: spec.stderr && !tty }, fds))
    }

    // Ending

    fn signal(&mut self, id: &ContainerId, signal: i32) -> Result<(), Failure> {
        let key = self.find(id)?;
        let Some(pid) = self.containers.get(&key).and_then(Container::pid) else { return Ok(()) };
        if signal == libc::SIGKILL && self.config.sandbox.host_pid {
            return self.kill_all(&self.container_cgroup(id)).map_err(|e| failure(Stage::Other, &e));
        }
        // SAFETY: the process is our child and not yet collected, or one we hold a pidfd of: the ID is still its own.
        match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                error => Err(failure(Stage::Other, &error)),
            },
        }
    }

    /// Kills everything in a group, waits, and takes note of the ends.
    fn kill_all(&mut self, cgroup: &str) -> io::Result<()> {
        let cgroups = self.cgroups.clone();
        let result = cgroups.kill(cgroup, || self.reap());
        self.reap();
        result
    }

    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: writes one integer of this frame.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            let status = if libc::WIFSIGNALED(status) {
                let signal = libc::WTERMSIG(status);
                ExitStatus { code: 128 + signal, signal: Some(signal) }
            } else {
                ExitStatus { code: libc::WEXITSTATUS(status), signal: None }
            };
            self.process_ended(pid, status);
        }
    }

    fn process_ended(&mut self, pid: i32, status: ExitStatus) {
        if let Some(key) = self.containers.iter().find(|(_, c)| c.pid() == Some(pid)).map(|(key, _)| *key) {
            return self.container_ended(key, status);
        }
        if let Some(client) = self.execs.remove(&pid) {
            if let Some(client) = self.clients.get_mut(&client) {
                client.finished = true;
            }
            return self.reply(client, &Reply::Exited(status), Vec::new());
        }
        let helper = self.jobs.values().any(|(job, _)| job.helper == pid);
        if !helper && !self.jobs.is_empty() {
            self.early.push((pid, status));
        }
    }

    fn container_ended(&mut self, key: u32, status: ExitStatus) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let cgroup = format!("{}/{}", self.cgroup, container.state.id);
        let oom_killed = self.cgroups.oom_kills(&cgroup) > 0;
        container.finish(status.code, status.signal, oom_killed, &mut self.buffer);
        self.changed();
        // Without a process namespace of its own, the first process does not take the others with it.
        if self.config.sandbox.host_pid
            && let Err(error) = self.kill_all(&cgroup)
        {
            eprintln!("kill the rest of {cgroup}: {error}");
        }
    }

    fn remove(&mut self, id: &ContainerId) -> Result<(), Failure> {
        let Ok(key) = self.find(id) else {
            self.clear(id);
            return Ok(());
        };
        let starting =
            |purpose: &Purpose| matches!(purpose, Purpose::Start { container, .. } if *container == key);
        if self.jobs.values().any(|(_, purpose)| starting(purpose)) {
            return Err(Failure { stage: Stage::Other, reason: format!("container {id} is being started") });
        }
        self.kill_all(&self.container_cgroup(id)).map_err(|error| failure(Stage::Other, &error))?;
        self.containers.remove(&key);
        self.changed();
        let mut left = Leftovers::default();
        cleanup::container(&self.cgroups, &self.container_cgroup(id), &self.paths.container(id), &mut left);
        left.into_result().map_err(|reason| Failure { stage: Stage::Other, reason })
    }

    /// Clears away a container that could not be started.
    fn clear(&mut self, id: &ContainerId) {
        let cgroup = self.container_cgroup(id);
        let killed = self.kill_all(&cgroup);
        let mut left = Leftovers::default();
        left.note("kill", std::path::Path::new(&cgroup), killed);
        cleanup::container(&self.cgroups, &cgroup, &self.paths.container(id), &mut left);
        if let Err(reason) = left.into_result() {
            eprintln!("clear away container {id}: {reason}");
        }
    }

    /// Removes the whole pod. On success the process ends; otherwise it goes on, so that it can be tried again.
    fn shutdown(&mut self, client: u32) {
        let cgroup = self.cgroup.clone();
        if let Err(error) = self.kill_all(&cgroup) {
            return self.answer(client, Err(failure(Stage::Other, &error)));
        }
        let mut left = Leftovers::default();
        if let Err(error) = self.cgroups.leave() {
            left.note("leave", std::path::Path::new(&cgroup), Err(io::Error::other(error)));
        }
        cleanup::pod(&self.cgroups, &cgroup, &self.paths, &mut left);
        let result = left.into_result().map_err(|reason| Failure { stage: Stage::Other, reason });
        let done = result.is_ok();
        self.answer(client, result);
        if done {
            std::process::exit(0);
        }
    }

    // Taking over

    fn adopt(&mut self, saved: SavedContainer) -> Result<(), String> {
        let living = saved.living();
        let mut state = saved.state;
        let paths = self.paths.container(&state.id);
        if state.status == ContainerStatus::Created {
            self.clear(&state.id);
            return Ok(());
        }
        let take_over = || -> io::Result<_> {
            let spec: ContainerSpec = serde_json::from_slice(&fs::read(paths.spec())?)?;
            let log = Log::open(&state.log_path)?;
            let pidfd = living.map(open_pidfd).transpose()?;
            let streams = if matches!(state.status, ContainerStatus::Running { .. }) {
                stdio::reopen(&paths, &spec)?
            } else {
                stdio::SupervisorSide::default()
            };
            Ok((spec, log, pidfd, streams))
        };
        let (spec, log, pidfd, streams) =
            take_over().map_err(|error| format!("take over container {}: {error}", state.id))?;
        if let ContainerStatus::Running { pid, .. } = &mut state.status
            && living.is_none()
        {
            // Ended while nobody watched; its number may belong to another process by now.
            *pid = 0;
        }
        let mut container = Container::new(state, &spec, streams, log);
        container.pidfd = pidfd;
        let key = self.key();
        self.containers.insert(key, container);
        if self.containers.get(&key).and_then(Container::pid) == Some(0) {
            self.container_ended(key, ExitStatus { code: UNKNOWN_CODE, signal: None });
        }
        Ok(())
    }

    fn adopted_ended(&mut self, key: u32, events: i16) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let status = container.pidfd.as_ref().and_then(exit_status);
        if status.is_none() && events & libc::POLLHUP == 0 {
            container.ended.get_or_insert_with(Instant::now);
            return;
        }
        container.ended = None;
        self.container_ended(key, status.unwrap_or(ExitStatus { code: UNKNOWN_CODE, signal: None }));
    }

    fn give_up_on_lost_statuses(&mut self) {
        let lost = |c: &Container| c.ended.is_some_and(|since| since.elapsed() > STATUS_WAIT);
        let lost: Vec<u32> = self.containers.iter().filter(|(_, c)| lost(c)).map(|(key, _)| *key).collect();
        for key in lost {
            self.adopted_ended(key, libc::POLLHUP);
        }
    }
}

fn not_there(id: &ContainerId) -> Failure {
    Failure { stage: Stage::Unknown, reason: format!("container {id} not found") }
}

fn first_state(id: &ContainerId, spec: &ContainerSpec) -> ContainerState {
    ContainerState {
        id: id.clone(),
        name: spec.name.clone(),
        attempt: spec.attempt,
        image: spec.image.clone(),
        image_ref: spec.image_ref.clone(),
        log_path: spec.log_path.clone(),
        status: ContainerStatus::Created,
        labels: spec.labels.clone(),
    }
}

fn set_nonblocking(fd: &OwnedFd) -> bool {
    match rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("terminal: {error}");
            false
        }
    }
}

fn kill_group(pid: i32) {
    // SAFETY: the leader is our child and not yet collected, so the group is its own. It may have ended: then there is
    // nothing to do.
    let _already_ended = unsafe { libc::kill(-pid, libc::SIGKILL) };
}

fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// The exit status of a process that is not our child, on kernels that tell (6.15 and later), once it was collected.
fn exit_status(pidfd: &OwnedFd) -> Option<ExitStatus> {
    /// `struct pidfd_info`, first version.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const PIDFD_GET_INFO: libc::c_ulong = 0xC040_FF0B;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = Info { mask: PIDFD_INFO_EXIT, ..Info::default() };
    // SAFETY: the request number holds the size of `Info`, which lives through the call.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if result != 0 || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    let status = info.exit_code;
    Some(if libc::WIFSIGNALED(status) {
        ExitStatus { code: 128 + libc::WTERMSIG(status), signal: Some(libc::WTERMSIG(status)) }
    } else {
        ExitStatus { code: libc::WEXITSTATUS(status), signal: None }
    })
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
