//! What groups tell: what they use, and that memory ran out.

use super::Cgroups;
use super::below::processes_below;
use super::error::{CgroupError, write};
use crate::state::{Throttling, Usage};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

impl Cgroups {
    /// How often the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_kills(&self, path: &str) -> u64 {
        let file = if self.is_unified() { "memory.events" } else { "memory.oom_control" };
        let file = self.file("memory", path, file);
        let text = file.and_then(|file| fs::read_to_string(file).ok());
        keyed(text.as_deref()).get("oom_kill").copied().unwrap_or(0)
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

    /// What the group uses; `/` is the whole machine.
    pub(crate) fn usage(&self, path: &str) -> Usage {
        let text = |controller, name| fs::read_to_string(self.file(controller, path, name)?).ok();
        if self.is_unified() {
            unified_usage(&UnifiedFiles {
                cpu_stat: text("cpu", "cpu.stat"),
                memory_current: text("memory", "memory.current"),
                memory_stat: text("memory", "memory.stat"),
                memory_swap: text("memory", "memory.swap.current"),
                pids: text("pids", "pids.current"),
            })
        } else {
            split_usage(&SplitFiles {
                cpu_usage: text("cpuacct", "cpuacct.usage"),
                cpu_stat: text("cpu", "cpu.stat"),
                memory_usage: text("memory", "memory.usage_in_bytes"),
                memory_stat: text("memory", "memory.stat"),
                pids: text("pids", "pids.current"),
            })
        }
    }

    /// The number of processes in the group and below.
    pub(crate) fn count_processes(&self, path: &str) -> u64 {
        let Some(tree) = self.hierarchies.iter().find(|h| h.has("pids")) else { return 0 };
        let mut found = Vec::new();
        processes_below(&tree.directory(path), &mut found);
        u64::try_from(found.len()).unwrap_or(u64::MAX)
    }

    fn file(&self, controller: &str, path: &str, name: &str) -> Option<PathBuf> {
        Some(self.mount_of(controller)?.join(path.trim_start_matches('/')).join(name))
    }
}

/// The files of a group on v2. The root of the machine has no `memory.current`, and no group has what its parent was not
/// given the controller for.
#[derive(Default)]
struct UnifiedFiles {
    cpu_stat: Option<String>,
    memory_current: Option<String>,
    memory_stat: Option<String>,
    memory_swap: Option<String>,
    pids: Option<String>,
}

fn unified_usage(files: &UnifiedFiles) -> Usage {
    let (cpu, memory) = (keyed(files.cpu_stat.as_deref()), keyed(files.memory_stat.as_deref()));
    let of = |name| memory.get(name).copied();
    // What the root would have in the file that it lacks.
    let whole = || of("anon").zip(of("file")).map(|(anon, file)| anon.saturating_add(file));
    let bytes = number(files.memory_current.as_deref()).or_else(whole);
    Usage {
        cpu_nanos: cpu.get("usage_usec").map(|micros| micros.saturating_mul(1000)),
        throttling: throttling(&cpu, cpu.get("throttled_usec").map(|micros| micros.saturating_mul(1000))),
        memory_bytes: bytes,
        working_set_bytes: working_set(bytes, of("inactive_file")),
        rss_bytes: of("anon"),
        cache_bytes: of("file"),
        swap_bytes: number(files.memory_swap.as_deref()),
        page_faults: of("pgfault"),
        major_page_faults: of("pgmajfault"),
        tasks: number(files.pids.as_deref()),
    }
}

/// The files of a group on v1.
#[derive(Default)]
struct SplitFiles {
    cpu_usage: Option<String>,
    cpu_stat: Option<String>,
    memory_usage: Option<String>,
    memory_stat: Option<String>,
    pids: Option<String>,
}

fn split_usage(files: &SplitFiles) -> Usage {
    let (cpu, memory) = (keyed(files.cpu_stat.as_deref()), keyed(files.memory_stat.as_deref()));
    // Those of the groups below are in the sums that are called total.
    let of = |name: &str| memory.get(format!("total_{name}").as_str()).copied();
    let bytes = number(files.memory_usage.as_deref());
    Usage {
        cpu_nanos: number(files.cpu_usage.as_deref()),
        throttling: throttling(&cpu, cpu.get("throttled_time").copied()),
        memory_bytes: bytes,
        working_set_bytes: working_set(bytes, of("inactive_file")),
        rss_bytes: of("rss"),
        cache_bytes: of("cache"),
        swap_bytes: of("swap"),
        page_faults: of("pgfault"),
        major_page_faults: of("pgmajfault"),
        tasks: number(files.pids.as_deref()),
    }
}

/// As the kubelet reckons it: what is charged, without the file pages that would go first.
fn working_set(bytes: Option<u64>, inactive: Option<u64>) -> Option<u64> {
    bytes.zip(inactive).map(|(bytes, inactive)| bytes.saturating_sub(inactive))
}

fn throttling(stat: &HashMap<&str, u64>, nanos: Option<u64>) -> Option<Throttling> {
    Some(Throttling {
        periods: *stat.get("nr_periods")?,
        throttled: *stat.get("nr_throttled")?,
        nanos: nanos?,
    })
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// The lines `name number` of a file.
fn keyed(text: Option<&str>) -> HashMap<&str, u64> {
    let lines = text.unwrap_or_default().lines();
    lines.filter_map(|line| line.split_once(' ')).filter_map(|(k, v)| Some((k, v.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_group_of_v2() {
        let usage = unified_usage(&UnifiedFiles {
            cpu_stat: text(
                "usage_usec 1500000\nuser_usec 1\nnr_periods 10\nnr_throttled 3\nthrottled_usec 70\n",
            ),
            memory_current: text("1000\n"),
            memory_stat: text("anon 600\nfile 300\ninactive_file 250\npgfault 7\npgmajfault 1\n"),
            memory_swap: text("0\n"),
            pids: text("4\n"),
        });
        let expected = Usage {
            cpu_nanos: Some(1_500_000_000),
            throttling: Some(Throttling { periods: 10, throttled: 3, nanos: 70_000 }),
            memory_bytes: Some(1000),
            working_set_bytes: Some(750),
            rss_bytes: Some(600),
            cache_bytes: Some(300),
            swap_bytes: Some(0),
            page_faults: Some(7),
            major_page_faults: Some(1),
            tasks: Some(4),
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn the_root_of_v2_has_the_sum_of_its_pages() {
        let usage = unified_usage(&UnifiedFiles {
            memory_stat: text("anon 600\nfile 300\ninactive_file 250\n"),
            ..UnifiedFiles::default()
        });
        let (bytes, set) = (Some(900), Some(650));
        assert_eq!((usage.memory_bytes, usage.working_set_bytes, usage.cpu_nanos), (bytes, set, None));
    }

    #[test]
    fn a_group_of_v1() {
        let usage = split_usage(&SplitFiles {
            cpu_usage: text("42\n"),
            cpu_stat: text("nr_periods 10\nnr_throttled 3\nthrottled_time 70\n"),
            memory_usage: text("1000\n"),
            memory_stat: text(
                "rss 1\ntotal_rss 600\ntotal_cache 300\ntotal_inactive_file 1200\ntotal_pgfault 7\ntotal_pgmajfault 1\n",
            ),
            pids: None,
        });
        let expected = Usage {
            cpu_nanos: Some(42),
            throttling: Some(Throttling { periods: 10, throttled: 3, nanos: 70 }),
            memory_bytes: Some(1000),
            working_set_bytes: Some(0),
            rss_bytes: Some(600),
            cache_bytes: Some(300),
            page_faults: Some(7),
            major_page_faults: Some(1),
            ..Usage::default()
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_zero() {
        assert_eq!(unified_usage(&UnifiedFiles::default()), Usage::default());
        assert_eq!(split_usage(&SplitFiles::default()), Usage::default());
    }
}
