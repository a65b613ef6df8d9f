//! Control groups of pods, on v1, v2 and hybrid trees: `<parent>/<pod UID>/<container ID>`, the supervisor in the leaf
//! `<parent>/<pod UID>/supervisor`.
//!
//! On v1 and hybrid every hierarchy is used, also the named one of systemd, so that stopping a service never takes the
//! pods with it. The files are written here for pods; libcontainer writes those of containers.

use crate::error::CheckError;
use crate::spec::Resources;
use crate::state::Usage;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Leaf of the supervisor.
const SUPERVISOR: &str = "supervisor";

/// The mounted trees of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    /// Controllers of a v1 hierarchy; `None` for the v2 tree.
    v1: Option<Vec<String>>,
}

impl Cgroups {
    /// Finds the trees that are mounted below `/sys/fs/cgroup`.
    pub(crate) fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads `mountinfo` text. Only whole hierarchies (root `/`) count, each once.
    fn parse(mountinfo: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount) = left.split(' ').nth(4).filter(|m| m.starts_with("/sys/fs/cgroup")) else {
                continue;
            };
            let mut right = right.split(' ');
            let kind = right.next().unwrap_or_default();
            let v1 = match kind {
                "cgroup2" => None,
                "cgroup" => {
                    let options = right.nth(1).unwrap_or_default().split(',');
                    let flags = ["rw", "ro", "xattr", "nosuid", "nodev", "noexec", "relatime"];
                    Some(options.filter(|o| !flags.contains(o)).map(str::to_owned).collect())
                }
                _ => continue,
            };
            let mount = PathBuf::from(mount);
            if !hierarchies.iter().any(|h| h.mount == mount) {
                hierarchies.push(Hierarchy { mount, v1 });
            }
        }
        Self { hierarchies }
    }

    /// Whether the one tree is v2 and has all controllers.
    pub(crate) fn is_unified(&self) -> bool {
        self.hierarchies.iter().all(|h| h.v1.is_none()) && !self.hierarchies.is_empty()
    }

    fn mount_of(&self, controller: &str) -> Option<&Path> {
        let has = |h: &&Hierarchy| h.v1.as_ref().is_none_or(|c| c.iter().any(|c| c == controller));
        let v1 = self.hierarchies.iter().filter(|h| h.v1.is_some()).find(has);
        let found = if self.is_unified() { self.hierarchies.first() } else { v1 };
        found.map(|h| h.mount.as_path())
    }

    /// Whether containers can be limited here; the error says what to do.
    pub(crate) fn check(&self) -> Result<(), CheckError> {
        let missing = |reason: String| Err(CheckError::Cgroups { reason });
        if self.hierarchies.is_empty() {
            return missing(
                "nothing is mounted at /sys/fs/cgroup; mount it with `mount -t cgroup2 none /sys/fs/cgroup`"
                    .into(),
            );
        }
        for controller in ["cpu", "memory", "pids"] {
            let Some(mount) = self.mount_of(controller) else {
                return missing(format!(
                    "the {controller} controller is not mounted; boot with cgroup v2, or mount it with \
                     `mkdir /sys/fs/cgroup/{controller} && mount -t cgroup -o {controller} none /sys/fs/cgroup/{controller}`"
                ));
            };
            if self.is_unified() {
                let available = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
                if !available.split_whitespace().any(|c| c == controller) {
                    return missing(format!(
                        "the {controller} controller is not available at {}; boot without `cgroup_disable={controller}`, \
                         or, inside a container, give it a private cgroup namespace with delegated controllers",
                        mount.display()
                    ));
                }
            }
            if rustix::fs::access(mount, rustix::fs::Access::WRITE_OK).is_err() {
                return missing(format!(
                    "{} is read-only; remount it with `mount -o remount,rw {0}`",
                    mount.display()
                ));
            }
        }
        Ok(())
    }

    /// The group `path` (relative, e.g. `skiff/<uid>`) in every tree.
    fn directories(&self, path: &str) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| h.mount.join(path.trim_start_matches('/'))).collect()
    }

    /// Makes a pod's group with its limits, and moves the calling process into the supervisor's leaf.
    pub(crate) fn enter_pod(&self, path: &str, limits: Option<&Resources>) -> Result<(), CgroupError> {
        let leaf = format!("{path}/{SUPERVISOR}");
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.make(path)?;
            if let Some(limits) = limits {
                hierarchy.limit(&directory, limits)?;
            }
            let leaf = hierarchy.make(&leaf)?;
            write(&leaf.join("cgroup.procs"), &std::process::id().to_string())?;
        }
        Ok(())
    }

    /// The group `path` on a machine with v2 only, made if missing.
    pub(crate) fn unified_group(&self, path: &str) -> Result<Option<PathBuf>, CgroupError> {
        let unified = self.hierarchies.iter().filter(|_| self.is_unified());
        unified.map(|hierarchy| hierarchy.make(path)).next().transpose()
    }

    /// Moves the calling process into an existing group, before it becomes a program of the container.
    pub(crate) fn join(&self, path: &str) -> Result<(), CgroupError> {
        let own = std::process::id().to_string();
        for directory in self.directories(path) {
            // Hierarchies libcontainer does not use have no group of the container.
            if directory.exists() {
                write(&directory.join("cgroup.procs"), &own)?;
            }
        }
        Ok(())
    }

    /// Moves the calling process to the root groups, so that its own can be removed.
    pub(crate) fn leave(&self) -> Result<(), CgroupError> {
        let own = std::process::id().to_string();
        self.hierarchies.iter().try_for_each(|h| write(&h.mount.join("cgroup.procs"), &own))
    }

    /// Kills every process in the group and below, except the caller's own, and waits for their end.
    ///
    /// Fails with `TimedOut` when some do not die, which only happens to processes stuck in the kernel.
    pub(crate) fn kill(&self, path: &str, mut reap: impl FnMut()) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut found = Vec::new();
            for directory in self.directories(path) {
                processes_below(&directory, &mut found);
            }
            found.sort_unstable();
            found.dedup();
            found.retain(|pid| u32::try_from(*pid) != Ok(std::process::id()));
            if found.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("processes {found:?} survive SIGKILL"),
                ));
            }
            let dying: Vec<_> = found.into_iter().filter_map(kill_one).collect();
            for pidfd in dying {
                let mut poll = [PollFd::new(&pidfd, PollFlags::IN)];
                let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
                rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&wait)))?;
                reap();
            }
        }
    }

    /// Removes the group and everything below it, in every tree. Processes must be gone.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        let mut failed = None;
        for directory in self.directories(path) {
            if let Err(error) = remove_tree(&directory) {
                failed =
                    Some(io::Error::new(error.kind(), format!("remove {}: {error}", directory.display())));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// How often the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_kills(&self, path: &str) -> u64 {
        let Some(mount) = self.mount_of("memory") else { return 0 };
        let file = if self.is_unified() { "memory.events" } else { "memory.oom_control" };
        read_keyed(&mount.join(path.trim_start_matches('/')).join(file)).get("oom_kill").copied().unwrap_or(0)
    }

    /// What the group uses.
    pub(crate) fn usage(&self, path: &str) -> Usage {
        let path = path.trim_start_matches('/');
        let file = |controller: &str, name: &str| self.mount_of(controller).map(|m| m.join(path).join(name));
        let number = |controller, name| file(controller, name).map_or(0, |f| read_number(&f));
        let keyed = |controller, name| file(controller, name).map(|f| read_keyed(&f)).unwrap_or_default();
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
}

/// A control group that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("control group: {action} {}: {source}", path.display())]
pub(crate) struct CgroupError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(|source| CgroupError { action: "write", path: path.to_owned(), source })
}

impl Hierarchy {
    /// Makes the group and its parents, passing on what a child needs from each parent.
    fn make(&self, path: &str) -> Result<PathBuf, CgroupError> {
        let mut directory = self.mount.clone();
        for name in path.split('/').filter(|n| !n.is_empty()) {
            let parent = directory.clone();
            if self.v1.is_none() {
                enable_controllers(&parent);
            }
            directory.push(name);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(CgroupError { action: "create", path: directory, source: error });
                }
                _ => {}
            }
            if self.v1.as_ref().is_some_and(|c| c.iter().any(|c| c == "cpuset")) {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    inherit(&parent.join(file), &directory.join(file))?;
                }
            }
        }
        Ok(directory)
    }

    fn limit(&self, directory: &Path, limits: &Resources) -> Result<(), CgroupError> {
        for (controller, file, value) in limit_files(limits, self.v1.is_none()) {
            let here = self.v1.as_ref().is_none_or(|c| c.iter().any(|c| c == controller));
            if here && directory.join(file).exists() {
                write(&directory.join(file), &value)?;
            }
        }
        Ok(())
    }
}

/// Passes on every controller the parent has. One that cannot be passed on shows up as missing when a limit is set.
fn enable_controllers(parent: &Path) {
    let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    let control = parent.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).unwrap_or_default();
    for controller in available.split_whitespace() {
        if !enabled.split_whitespace().any(|c| c == controller)
            && let Err(error) = fs::write(&control, format!("+{controller}"))
        {
            tracing::debug!(%error, controller, group = %parent.display(), "controller cannot be passed on");
        }
    }
}

fn inherit(from: &Path, to: &Path) -> Result<(), CgroupError> {
    let current = fs::read_to_string(to).unwrap_or_default();
    if current.trim().is_empty()
        && let Ok(value) = fs::read_to_string(from)
    {
        write(to, value.trim())?;
    }
    Ok(())
}

/// Limits as (controller, file, content).
fn limit_files(limits: &Resources, v2: bool) -> Vec<(&'static str, &'static str, String)> {
    let mut files = Vec::new();
    let mut put = |controller, v1_name: &'static str, v2_name: &'static str, v1: String, unified: String| {
        files.push((controller, if v2 { v2_name } else { v1_name }, if v2 { unified } else { v1 }));
    };
    if let Some(shares) = limits.cpu_shares {
        put("cpu", "cpu.shares", "cpu.weight", shares.to_string(), cpu_weight(shares).to_string());
    }
    if let Some(quota) = limits.cpu_quota {
        let period = limits.cpu_period.unwrap_or(100_000);
        let most = if quota < 0 { "max".into() } else { quota.to_string() };
        if !v2 {
            put("cpu", "cpu.cfs_period_us", "", period.to_string(), String::new());
        }
        put("cpu", "cpu.cfs_quota_us", "cpu.max", quota.to_string(), format!("{most} {period}"));
    }
    let bytes_or_max = |n: i64| if n < 0 { "max".to_owned() } else { n.to_string() };
    if let Some(bytes) = limits.memory_limit {
        put("memory", "memory.limit_in_bytes", "memory.max", bytes.to_string(), bytes_or_max(bytes));
    }
    if let Some(pids) = limits.pids {
        put("pids", "pids.max", "pids.max", bytes_or_max(pids), bytes_or_max(pids));
    }
    files
}

/// The v2 weight (1–10000) that stands for v1 shares (2–262144).
fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
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

fn processes_below(directory: &Path, found: &mut Vec<i32>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let own = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(own.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        processes_below(&entry.path(), found);
    }
}

/// Kills a process and returns what tells of its end; `None` if it has already ended.
fn kill_one(pid: i32) -> Option<std::os::fd::OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_send_signal(&pidfd, Signal::KILL).ok()?;
    Some(pidfd)
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_v1_hybrid_and_v2_trees() {
        let hybrid = "26 22 0:24 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      27 26 0:25 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      28 26 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      29 26 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Cgroups::parse(hybrid);
        assert!(!found.is_unified());
        assert_eq!(found.mount_of("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu")));
        assert_eq!(found.mount_of("memory"), None);
        assert!(found.check().unwrap_err().to_string().contains("memory controller is not mounted"));
        let unified = Cgroups::parse("30 22 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(unified.is_unified());
        assert_eq!(unified.mount_of("memory"), Some(Path::new("/sys/fs/cgroup")));
        assert!(Cgroups::parse("").check().is_err());
    }

    #[test]
    fn limits_are_translated_for_v2() {
        let limits = Resources {
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: None,
            memory_limit: Some(1 << 20),
            pids: Some(-1),
        };
        let v1 = limit_files(&limits, false);
        assert_eq!(
            v1.iter().map(|f| f.2.as_str()).collect::<Vec<_>>(),
            ["1024", "100000", "50000", "1048576", "max"]
        );
        let v2 = limit_files(&limits, true);
        assert_eq!(
            v2.iter().map(|f| f.2.as_str()).collect::<Vec<_>>(),
            ["39", "50000 100000", "1048576", "max"]
        );
        assert_eq!((cpu_weight(2), cpu_weight(262_144)), (1, 10_000));
    }
}
