//! What groups tell: what they use, and that memory ran out.

use super::{CgroupError, Cgroups, write};
use crate::state::Usage;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

impl Cgroups {
    /// How often the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_kills(&self, path: &str) -> u64 {
        let file = if self.is_unified() { "memory.events" } else { "memory.oom_control" };
        let file = self.file("memory", path, file);
        file.and_then(|file| read_keyed(&file).get("oom_kill").copied()).unwrap_or(0)
    }

    /// A descriptor that becomes readable when the kernel starts to look for a process to kill in the group (the kill
    /// itself comes after). `None` on v2, where the kernel kills the whole container.
    pub(crate) fn watch_memory(&self, path: &str) -> Result<Option<OwnedFd>, CgroupError> {
        if self.is_unified() {
            return Ok(None);
        }
        let Some(control) = self.file("memory", path, "memory.oom_control") else { return Ok(None) };
        let opened = fs::File::open(&control).map_err(|source| CgroupError {
            action: "open",
            path: control.clone(),
            source,
        })?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| CgroupError { action: "watch", path: control.clone(), source: error.into() })?;
        let request = format!("{} {}", event.as_raw_fd(), opened.as_raw_fd());
        write(&control.with_file_name("cgroup.event_control"), &request)?;
        Ok(Some(event))
    }

    /// What the group uses.
    pub(crate) fn usage(&self, path: &str) -> Usage {
        let number = |controller, name| self.file(controller, path, name).map_or(0, |f| read_number(&f));
        let keyed =
            |controller, name| self.file(controller, path, name).map(|f| read_keyed(&f)).unwrap_or_default();
        let (cpu_nanos, memory_bytes, inactive) = if self.is_unified() {
            let cpu = keyed("cpu", "cpu.stat").get("usage_usec").copied().unwrap_or(0);
            let inactive = keyed("memory", "memory.stat").get("inactive_file").copied().unwrap_or(0);
            (cpu.saturating_mul(1000), number("memory", "memory.current"), inactive)
        } else {
            let inactive = keyed("memory", "memory.stat").get("total_inactive_file").copied().unwrap_or(0);
            (number("cpuacct", "cpuacct.usage"), number("memory", "memory.usage_in_bytes"), inactive)
        };
        Usage {
            cpu_nanos,
            memory_bytes,
            working_set_bytes: memory_bytes.saturating_sub(inactive),
            pids: number("pids", "pids.current"),
        }
    }

    fn file(&self, controller: &str, path: &str, name: &str) -> Option<PathBuf> {
        Some(self.mount_of(controller)?.join(path.trim_start_matches('/')).join(name))
    }
}

fn read_number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn read_keyed(path: &Path) -> HashMap<String, u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .filter_map(|(k, v)| Some((k.into(), v.parse().ok()?)))
        .collect()
}
