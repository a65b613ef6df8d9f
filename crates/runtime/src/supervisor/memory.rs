//! When memory runs out: who is to go first, and that a container goes as a whole.

use super::serve::Supervisor;
use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the kernel may take from looking for a process to kill to having killed it.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// Sets the calling process' badness, which its children inherit. Lowering the score below the agent's own needs a
/// privilege we may not have; it then stays as it is.
pub(super) fn set_score(score: i32) {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", score.clamp(-1000, 1000).to_string()) {
        skiff_print::note(format_args!("oom_score_adj {score} is not applied: {error}"));
    }
}

impl Supervisor {
    /// Begins to listen for a lack of memory in a container's group (v1 only).
    pub(super) fn watch_memory(&mut self, key: u32) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        match self.cgroups.watch_memory(&format!("{}/{}", self.groups.pod, container.state.id)) {
            Ok(watch) => container.memory = watch,
            Err(error) => skiff_print::note(format_args!(
                "an OOM kill in container {} may leave a part of it: {error}",
                container.state.id
            )),
        }
    }

    /// Memory ran out somewhere in or above a container: the kernel is about to kill a process, perhaps one of it.
    pub(super) fn memory_ran_out(&mut self, key: u32) {
        let Some(container) = self.containers.get_mut(&key) else { return };
        let Some(watch) = &container.memory else { return };
        let mut count = [0; 8];
        match rustix::io::read(watch.as_fd(), &mut count) {
            Ok(_) => container.shortage = Some(Instant::now()),
            Err(error) => {
                skiff_print::note(format_args!("memory of container {}: {error}", container.state.id))
            }
        }
    }

    /// Ends containers of which the kernel has killed a process. The kernel tells before the kill, not after it, so this
    /// is asked again until a kill is counted or none can be expected any more.
    pub(super) fn end_containers_short_of_memory(&mut self) {
        let short = self.containers.iter().filter(|(_, c)| c.shortage.is_some());
        let short: Vec<(u32, String)> =
            short.map(|(key, c)| (*key, format!("{}/{}", self.groups.pod, c.state.id))).collect();
        for (key, group) in short {
            let killed = self.cgroups.oom_kills(&group) > 0;
            if killed && let Err(error) = self.kill_all(&group) {
                skiff_print::note(format_args!("kill the rest of {group}: {error}"));
            }
            if let Some(container) = self.containers.get_mut(&key)
                && (killed || container.shortage.is_some_and(|since| since.elapsed() > KILL_WAIT))
            {
                container.shortage = None;
            }
        }
    }
}
