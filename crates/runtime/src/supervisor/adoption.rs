//! Taking over a pod whose supervisor died: its containers run on, but are no children of ours.

use super::container::Container;
use super::log::Log;
use super::saved::SavedContainer;
use super::serve::Supervisor;
use super::stdio;
use crate::ids::ContainerId;
use crate::spec::ContainerSpec;
use crate::state::{ContainerStatus, ExitStatus};
use crate::wire::Failure;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long the exit status of an adopted process may take to appear after its end.
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// Exit code when nobody can tell the real one.
const UNKNOWN_CODE: i32 = 137;

impl Supervisor {
    pub(super) fn adopt(&mut self, saved: SavedContainer) -> Result<(), String> {
        let living = saved.living();
        let mut state = saved.state;
        let paths = self.paths.container(&state.id);
        if state.status == ContainerStatus::Created {
            self.clear(&state.id);
            return Ok(());
        }
        let take_over = || -> io::Result<_> {
            let spec: ContainerSpec = serde_json::from_slice(&fs::read(paths.spec())?)?;
            let log = Log::open(&self.config.sandbox.log_dir, &state.log_path)?;
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
        if living.is_some() {
            self.watch_memory(key);
        }
        if self.containers.get(&key).and_then(Container::pid) == Some(0) {
            self.container_ended(key, ExitStatus { code: UNKNOWN_CODE, signal: None });
        }
        Ok(())
    }

    /// Goes on with a terminal that the agent kept.
    pub(super) fn take_terminal(&mut self, id: &ContainerId, master: Option<OwnedFd>) -> Result<(), Failure> {
        let (key, _) = self.find_running(id)?;
        if let Some(container) = self.containers.get_mut(&key)
            && container.tty
            && container.terminal.is_none()
        {
            container.terminal = master;
        }
        Ok(())
    }

    pub(super) fn adopted_ended(&mut self, key: u32, events: i16) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let status = container.pidfd.as_ref().and_then(exit_status);
        if status.is_none() && events & libc::POLLHUP == 0 {
            container.ended.get_or_insert_with(Instant::now);
            return;
        }
        container.ended = None;
        self.container_ended(key, status.unwrap_or(ExitStatus { code: UNKNOWN_CODE, signal: None }));
    }

    pub(super) fn give_up_on_lost_statuses(&mut self) {
        let lost = |c: &Container| c.ended.is_some_and(|since| since.elapsed() > STATUS_WAIT);
        let lost: Vec<u32> = self.containers.iter().filter(|(_, c)| lost(c)).map(|(key, _)| *key).collect();
        for key in lost {
            self.adopted_ended(key, libc::POLLHUP);
        }
    }
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
