//! From the supervisor's side: starting containers and commands, attaching to them, and their ends.

use super::container::Container;
use super::job::{Job, failure};
use super::log::Log;
use super::serve::{Purpose, Supervisor};
use super::users::{self, Users};
use super::{create, exec, stdio};
use crate::cleanup::{self, Leftovers};
use crate::devices;
use crate::ids::ContainerId;
use crate::oci::{Pids, Surroundings};
use crate::spec::{AttachSpec, ContainerSpec, ExecSpec, UserSpec};
use crate::state::{ContainerState, ContainerStatus, ExitStatus};
use crate::wire::{Failure, Reply, Stage, StartRequest};
use jiff::Timestamp;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

impl Supervisor {
    pub(super) fn start(&mut self, client: u32, request: &StartRequest) -> Result<(), Failure> {
        let StartRequest { id, spec, rootfs, images } = request;
        let paths = self.paths.container(id);
        let mut pids = self.process_namespace(spec)?;
        let owner = self.owner(&spec.user)?;
        let users = self.users.as_ref().map(Users::path);
        let prepare = || -> io::Result<_> {
            fs::create_dir_all(&paths.dir)?;
            fs::write(paths.spec(), serde_json::to_vec(spec)?)?;
            Ok((
                stdio::make(&paths, spec, owner)?,
                Log::open(&self.config.sandbox.log_dir, &spec.log_path)?,
                devices::nodes(spec)?,
            ))
        };
        let cgroup = self.container_cgroup(id);
        let (views, masked) = (self.cgroups.views(&cgroup), devices::throttle_files());
        let started = prepare().and_then(|((theirs, ours), log, devices)| {
            // Held until the job has begun: in the user namespace it may not look for it.
            let _held = self.users.as_ref().and_then(|_| hold(&mut pids).transpose()).transpose()?;
            let shm = if self.config.sandbox.host_ipc { "/dev/shm".into() } else { self.paths.shm() };
            let (sandbox, bounding) = (&self.config.sandbox, self.bounding);
            let (root, sources) = (paths.rootfs(), paths.sources());
            let around = Surroundings {
                sandbox,
                rootfs: &root,
                shm: &shm,
                sources: &sources,
                cgroup: &cgroup,
                cgroup_views: &views,
                masked: &masked,
                pids,
                users: users.as_deref(),
                devices: &devices,
            };
            let plan = create::Plan {
                id: id.as_str(),
                spec,
                pod: &self.paths,
                users: self.users.as_ref(),
                paths: &paths,
                rootfs,
                images,
                around,
                cgroups: &self.cgroups,
                bounding,
            };
            let limit = self.config.start_limit;
            let job =
                Job::start(&self.connections(), limit, |reporter| create::create(&plan, theirs, reporter))?;
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

    /// The user and group on the node of a container's; all of its groups have to exist.
    fn owner(&self, user: &UserSpec) -> Result<(u32, u32), Failure> {
        let on_node = |id| create::on_node(&self.config.sandbox, id);
        let known = user.groups.iter().try_for_each(|group| on_node(*group).map(drop));
        let owner = known.and_then(|()| Ok((on_node(user.uid)?, on_node(user.gid)?)));
        owner.map_err(|reason| Failure { stage: Stage::Create, reason })
    }

    /// The process namespace that a container is to live in.
    fn process_namespace(&mut self, spec: &ContainerSpec) -> Result<Pids, Failure> {
        let first = if self.config.sandbox.host_pid {
            return Ok(Pids::Host);
        } else if self.config.sandbox.share_pids {
            self.pause().map_err(|error| failure(Stage::Create, &error))?
        } else if let Some(target) = &spec.target {
            self.find_running(target)?.1
        } else {
            return Ok(Pids::Own);
        };
        Ok(Pids::Joined(format!("/proc/{first}/ns/pid").into()))
    }

    pub(super) fn exec(
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
            owner: self.owner(&container.user)?,
            container: &container,
            sandbox: &self.config.sandbox,
            exec: spec,
            cgroups: &self.cgroups,
            cgroup: &self.container_cgroup(id),
            bounding: self.bounding,
            stdio: [stdin, fds.next(), fds.next()],
        };
        let limit = self.config.start_limit;
        let job = Job::start(&self.connections(), limit, |reporter| exec::exec(&plan, reporter))
            .map_err(|e| failure(Stage::Create, &e))?;
        let key = self.key();
        self.jobs.insert(key, (job, Purpose::Exec { client, tty: spec.tty }));
        Ok(())
    }

    /// A program is about to run: whoever comes after this supervisor has to know of it, or would run it again.
    pub(super) fn job_ready(&mut self, key: u32) {
        let Some((job, purpose)) = self.jobs.get_mut(&key) else { return };
        let Some(pid) = job.take_ready() else { return };
        if let Purpose::Start { container, .. } = purpose
            && let Some(container) = self.containers.get_mut(container)
        {
            container.starting = Some(pid);
            self.save();
        }
        if let Some((job, _)) = self.jobs.get(&key) {
            job.go();
        }
    }

    pub(super) fn job_ended(&mut self, job: Job, purpose: Purpose) {
        match purpose {
            Purpose::Start { container, client } => self.start_ended(job, container, client),
            Purpose::Exec { client, tty } => self.exec_ended(job, client, tty),
            Purpose::Nothing { container } => {
                if let Some(id) = container {
                    self.clear(&id);
                }
            }
        }
        if self.jobs.is_empty() {
            self.early.clear();
        }
    }

    pub(super) fn start_ended(&mut self, job: Job, key: u32, client: u32) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let id = container.state.id.clone();
        match job.conclude() {
            Ok(pid) => {
                container.starting = None;
                container.terminal = job.terminal.filter(set_nonblocking);
                let copy = container.terminal.as_ref().and_then(|terminal| terminal.try_clone().ok());
                container.state.status = ContainerStatus::Running { pid, started_at: Timestamp::now() };
                self.changed();
                self.watch_memory(key);
                self.reply(client, &Reply::Ok, copy.into_iter().collect());
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

    pub(super) fn exec_ended(&mut self, job: Job, client: u32, tty: bool) {
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

    pub(super) fn take_early(&mut self, pid: i32) -> Option<ExitStatus> {
        let at = self.early.iter().position(|(early, _)| *early == pid)?;
        Some(self.early.swap_remove(at).1)
    }

    pub(super) fn attach(
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

    pub(super) fn signal(&mut self, id: &ContainerId, signal: i32) -> Result<(), Failure> {
        let key = self.find(id)?;
        let Some(pid) = self.containers.get(&key).and_then(Container::pid) else { return Ok(()) };
        if signal == libc::SIGKILL && !self.ends_as_one(key) {
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

    /// Whether nothing of a container outlives its first process.
    fn ends_as_one(&self, key: u32) -> bool {
        let sandbox = &self.config.sandbox;
        let own = self.containers.get(&key).is_some_and(|c| c.ends_as_one);
        own && !sandbox.host_pid && !sandbox.share_pids
    }

    /// Kills everything in a group, waits, and takes note of the ends.
    pub(super) fn kill_all(&mut self, cgroup: &str) -> io::Result<()> {
        let cgroups = self.cgroups.clone();
        let result = cgroups.kill(cgroup, || self.reap());
        self.reap();
        result
    }

    pub(super) fn reap(&mut self) {
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

    pub(super) fn process_ended(&mut self, pid: i32, status: ExitStatus) {
        if let Some(key) = self.containers.iter().find(|(_, c)| c.pid() == Some(pid)).map(|(key, _)| *key) {
            return self.container_ended(key, status);
        }
        if let Some(client) = self.execs.remove(&pid) {
            if let Some(client) = self.clients.get_mut(&client) {
                client.finished = true;
            }
            return self.reply(client, &Reply::Exited(status), Vec::new());
        }
        let helper = self.jobs.values_mut().find_map(|(job, _)| job.helper.take_if(|helper| *helper == pid));
        if helper.is_none() && !self.jobs.is_empty() {
            self.early.push((pid, status));
        }
    }

    pub(super) fn container_ended(&mut self, key: u32, status: ExitStatus) {
        let ends_as_one = self.ends_as_one(key);
        let Some(container) = self.containers.get_mut(&key) else { return };
        let cgroup = format!("{}/{}", self.groups.pod, container.state.id);
        let oom_killed = self.cgroups.oom_kills(&cgroup) > 0;
        container.finish(status.code, status.signal, oom_killed, &mut self.buffer);
        self.changed();
        // Without a process namespace of its own, the first process does not take the others with it.
        if !ends_as_one && let Err(error) = self.kill_all(&cgroup) {
            skiff_print::note(format_args!("kill the rest of {cgroup}: {error}"));
        }
    }

    pub(super) fn remove(&mut self, id: &ContainerId) -> Result<(), Failure> {
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
    pub(super) fn clear(&mut self, id: &ContainerId) {
        let cgroup = self.container_cgroup(id);
        let killed = self.kill_all(&cgroup);
        let mut left = Leftovers::default();
        left.note("kill", std::path::Path::new(&cgroup), killed);
        cleanup::container(&self.cgroups, &cgroup, &self.paths.container(id), &mut left);
        if let Err(reason) = left.into_result() {
            skiff_print::note(format_args!("clear away container {id}: {reason}"));
        }
    }

    /// Removes the whole pod. On success the process ends; otherwise it goes on, so that it can be tried again.
    pub(super) fn shutdown(&mut self, client: u32) {
        let groups = self.groups.clone();
        for group in groups.both() {
            if let Err(error) = self.kill_all(group) {
                return self.answer(client, Err(failure(Stage::Other, &error)));
            }
        }
        let mut left = Leftovers::default();
        if let Err(error) = self.cgroups.leave() {
            left.note("leave", std::path::Path::new(&groups.supervisor), Err(io::Error::other(error)));
        }
        cleanup::pod(&self.cgroups, &groups, &self.paths, &mut left);
        let result = left.into_result().map_err(|reason| Failure { stage: Stage::Other, reason });
        let done = result.is_ok();
        self.answer(client, result);
        if done {
            std::process::exit(0);
        }
    }
}

/// Opens the namespace to join, so that children find it by descriptor.
fn hold(pids: &mut Pids) -> io::Result<Option<OwnedFd>> {
    let Pids::Joined(path) = pids else { return Ok(None) };
    let namespace = users::open(path)?;
    *path = users::held_path(&namespace);
    Ok(Some(namespace))
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
        tty: spec.tty,
        user: spec.user.clone(),
        labels: spec.labels.clone(),
    }
}

fn set_nonblocking(fd: &OwnedFd) -> bool {
    match rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK) {
        Ok(()) => true,
        Err(error) => {
            skiff_print::note(format_args!("terminal: {error}"));
            false
        }
    }
}

pub(super) fn kill_group(pid: i32) {
    // SAFETY: the leader is our child and not yet collected, so the group is its own. It may have ended: then there is
    // nothing to do.
    let _already_ended = unsafe { libc::kill(-pid, libc::SIGKILL) };
}
