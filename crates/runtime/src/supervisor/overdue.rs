//! Starts and commands that hang in the kernel under a supervisor that serves: ended when their time is over, so that
//! whoever waits for them is told, and may try again.

use super::lifecycle::kill_group;
use super::serve::{Purpose, Supervisor};
use crate::wire::Failure;
use std::time::{Duration, Instant};

/// How long processes may take to die of SIGKILL before it is told that they do not. Only ones that the kernel holds
/// without letting signals in take longer: a file system that is gone, a frozen group.
const DYING: Duration = Duration::from_secs(2);

impl Supervisor {
    /// The time until a job has to be looked at.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let deadlines = self.jobs.values().filter_map(|(job, _)| job.deadline);
        deadlines.min().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Kills the jobs whose time is over. Those that do not die of it are given up a little later.
    pub(super) fn end_overdue_jobs(&mut self) {
        let now = Instant::now();
        let overdue = self.jobs.iter().filter(|(_, (job, _))| job.is_overdue(now));
        let overdue: Vec<(u32, bool)> = overdue.map(|(key, (job, _))| (*key, job.is_killed())).collect();
        for (key, killed) in overdue {
            if killed { self.give_up(key) } else { self.kill_job(key, now) }
        }
    }

    /// The end of its processes is the end of the job, which then says why.
    fn kill_job(&mut self, key: u32, now: Instant) {
        let Some((job, purpose)) = self.jobs.get_mut(&key) else { return };
        job.kill();
        job.deadline = now.checked_add(DYING);
        match purpose {
            Purpose::Start { container, .. } => {
                if let Some(container) = self.containers.get(container) {
                    self.cgroups.begin_to_kill(&self.container_cgroup(&container.state.id));
                }
            }
            Purpose::Exec { .. } => {
                let lives = |pid: &i32| self.early.iter().all(|(early, _)| early != pid);
                job.process.filter(lives).into_iter().for_each(kill_group);
            }
            Purpose::Nothing { .. } => {}
        }
    }

    /// Tells of a job that does not end, and keeps only what has to be cleared away once it does.
    fn give_up(&mut self, key: u32) {
        let Some((mut job, purpose)) = self.jobs.remove(&key) else { return };
        job.deadline = None;
        let failure = job.conclude().err();
        let (client, container) = match purpose {
            Purpose::Start { container, client } => {
                let container = self.containers.remove(&container).map(|container| container.state.id);
                self.changed();
                (Some(client), container)
            }
            Purpose::Exec { client, .. } => (Some(client), None),
            Purpose::Nothing { container } => (None, container),
        };
        self.jobs.insert(key, (job, Purpose::Nothing { container }));
        if let (Some(client), Some(failure)) = (client, failure) {
            let Failure { reason, .. } = &failure;
            skiff_print::note(format_args!("a process survives SIGKILL: {reason}"));
            self.answer(client, Err(failure));
        }
    }
}
