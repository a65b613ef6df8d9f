//! Control groups of pods, on v1, v2 and hybrid trees; their names are in [`layout`].
//!
//! On v1 and hybrid every hierarchy is used, also the named one of systemd, so that stopping a service never takes the
//! pods with it. All files are written here, but for the list of devices of v1, which libcontainer writes.

mod below;
mod error;
mod hierarchy;
mod layout;
mod limits;
mod observe;
mod room;

use crate::error::CheckError;
use crate::spec::{Resources, ServiceClass};
use below::{kill_one, processes_below, remove_tree};
pub(crate) use error::CgroupError;
use error::write;
use hierarchy::{Hierarchy, Kind};
pub(crate) use layout::{PodGroups, root};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where trees are mounted.
pub(crate) const TREES: &str = "/sys/fs/cgroup";

/// The mounted trees of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Finds the trees that are mounted below `/sys/fs/cgroup`.
    pub(crate) fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads `mountinfo` text. Each tree counts once.
    fn parse(mountinfo: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount) = left.split(' ').nth(4).filter(|m| m.starts_with(TREES)) else {
                continue;
            };
            let mut right = right.split(' ');
            let kind = match right.next().unwrap_or_default() {
                "cgroup2" => Kind::Unified,
                "cgroup" => {
                    let options = right.nth(1).unwrap_or_default().split(',');
                    let flags = ["rw", "ro", "xattr", "nosuid", "nodev", "noexec", "relatime"];
                    Kind::V1(options.filter(|o| !flags.contains(o)).map(str::to_owned).collect())
                }
                _ => continue,
            };
            let mount = PathBuf::from(mount);
            if !hierarchies.iter().any(|h| h.mount == mount) {
                hierarchies.push(Hierarchy { mount, kind });
            }
        }
        if hierarchies.iter().any(|h| matches!(h.kind, Kind::V1(_))) {
            for hierarchy in hierarchies.iter_mut().filter(|h| h.kind == Kind::Unified) {
                hierarchy.kind = Kind::Beside;
            }
        }
        Self { hierarchies }
    }

    /// Whether the one tree is v2 and has all controllers.
    pub(crate) fn is_unified(&self) -> bool {
        self.unified_root().is_some()
    }

    /// The mount point of the tree that has a controller.
    fn mount_of(&self, controller: &str) -> Option<&Path> {
        self.hierarchies.iter().find(|h| h.has(controller)).map(|h| h.mount.as_path())
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
        for controller in room::NEEDED {
            let Some(mount) = self.mount_of(controller) else {
                return missing(format!(
                    "the {controller} controller is not mounted; boot with cgroup v2, or mount it with \
                     `mkdir /sys/fs/cgroup/{controller} && mount -t cgroup -o {controller} none /sys/fs/cgroup/{controller}`"
                ));
            };
            if self.is_unified() {
                let path = mount.join("cgroup.controllers");
                let available = match fs::read_to_string(&path) {
                    Ok(available) => available,
                    Err(error) => return missing(format!("read {}: {error}", path.display())),
                };
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
        self.check_room().or_else(missing)
    }

    /// Whether the root of a v2 tree can pass controllers on, or be made to.
    fn check_room(&self) -> Result<(), String> {
        let Some(root) = self.unified_root() else { return Ok(()) };
        match room::look(root).map_err(|error| error.to_string())? {
            None | Some(room::Obstacle::Processes(_)) => Ok(()),
            Some(obstacle) => Err(room::advice(root, &obstacle)),
        }
    }

    /// The mount point on a machine with v2 only.
    fn unified_root(&self) -> Option<&Path> {
        let unified = self.hierarchies.iter().find(|h| h.kind == Kind::Unified);
        unified.map(|hierarchy| hierarchy.mount.as_path())
    }

    /// Makes the groups that pods share, with room for them where it is lacking. To be done before the first pod, by
    /// the agent: it moves processes.
    pub(crate) fn prepare(&self, parent: &str) -> Result<(), CgroupError> {
        if let Some(root) = self.unified_root() {
            room::make(root)?;
        }
        for class in [ServiceClass::Burstable, ServiceClass::BestEffort] {
            let group = layout::class_group(parent, class);
            self.hierarchies.iter().try_for_each(|h| h.make(&group).map(drop))?;
        }
        self.weigh(parent, ServiceClass::BestEffort, 0)
    }

    /// Removes the groups that pods share, once there are no pods, and undoes what [`Cgroups::prepare`] did for them.
    pub(crate) fn clear_away(&self, parent: &str) -> io::Result<()> {
        let own = root(parent);
        if own != "/" {
            self.remove(&own)?;
        }
        match self.unified_root() {
            Some(root) if root.join(room::HOST_LEAF).exists() => {
                room::give_back(root).map_err(io::Error::other)
            }
            _ => Ok(()),
        }
    }

    /// Gives a class of pods its CPU weight against the others.
    pub(crate) fn weigh(&self, parent: &str, class: ServiceClass, shares: u64) -> Result<(), CgroupError> {
        let group = layout::class_group(parent, class);
        let setting = limits::cpu_shares(shares, self.is_unified());
        self.hierarchies
            .iter()
            .try_for_each(|h| h.apply(&h.directory(&group), std::slice::from_ref(&setting)))
    }

    /// The group `path` (relative, e.g. `skiff/<uid>`) in every tree.
    fn directories(&self, path: &str) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| h.mount.join(path.trim_start_matches('/'))).collect()
    }

    /// Makes a pod's group with its limits, and moves the calling process into the supervisor's.
    pub(crate) fn enter_pod(
        &self,
        groups: &PodGroups,
        limits: Option<&Resources>,
    ) -> Result<(), CgroupError> {
        let settings = limits::group(limits.unwrap_or(&Resources::default()), self.is_unified());
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.make(&groups.pod)?;
            hierarchy.apply(&directory, &settings)?;
            hierarchy.make(&groups.supervisor)?;
        }
        self.join(&groups.supervisor)
    }

    /// Makes a container's group with its limits.
    pub(crate) fn make_container(&self, path: &str, limits: &Resources) -> Result<(), CgroupError> {
        let settings = limits::container(limits, self.is_unified());
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.make(path)?;
            hierarchy.apply(&directory, &settings)?;
        }
        Ok(())
    }

    /// Gives a group in use other limits.
    pub(crate) fn change(&self, path: &str, from: &Resources, to: &Resources) -> Result<(), CgroupError> {
        let settings = limits::change(from, to, self.is_unified());
        self.hierarchies.iter().try_for_each(|h| h.apply(&h.directory(path), &settings))
    }

    /// Makes a group without limits of its own.
    pub(crate) fn make_plain(&self, path: &str) -> Result<(), CgroupError> {
        self.hierarchies.iter().try_for_each(|h| h.make(path).map(drop))
    }

    /// The group `path` on a machine with v2 only.
    pub(crate) fn unified_group(&self, path: &str) -> Option<PathBuf> {
        self.unified_root().map(|root| root.join(path.trim_start_matches('/')))
    }

    /// How a container sees its own group: pairs of a name below `/sys/fs/cgroup` (empty for that itself) and the
    /// directory that is to be seen there. Trees with several controllers are seen under each name. A tree of v2 beside those
    /// of v1 is not seen, as by other runtimes: programs take it for a sign that there is nothing else.
    pub(crate) fn views(&self, path: &str) -> Vec<(PathBuf, PathBuf)> {
        let mut views = Vec::new();
        for hierarchy in self.hierarchies.iter().filter(|hierarchy| hierarchy.kind != Kind::Beside) {
            let name = hierarchy.mount.strip_prefix(TREES).unwrap_or(Path::new("")).to_owned();
            if let Kind::V1(controllers) = &hierarchy.kind
                && controllers.len() > 1
            {
                let others = controllers.iter().map(PathBuf::from).filter(|other| *other != name);
                views.extend(others.map(|other| (other, hierarchy.directory(path))));
            }
            views.push((name, hierarchy.directory(path)));
        }
        views
    }

    /// Takes a device away from a group that may use it (v1 only; on v2 a program of ours decides).
    pub(crate) fn deny_device(&self, path: &str, device: &str) -> Result<(), CgroupError> {
        let mut trees = self.hierarchies.iter().filter(|h| h.kind != Kind::Unified && h.has("devices"));
        trees.try_for_each(|h| write(&h.directory(path).join("devices.deny"), device))
    }

    /// Moves the calling process into a group in the trees that libcontainer leaves alone: those without controllers of
    /// v1, and v2 beside v1.
    pub(crate) fn join_other_trees(&self, path: &str) -> Result<(), CgroupError> {
        let left_alone = |h: &&Hierarchy| match &h.kind {
            Kind::Unified => false,
            Kind::Beside => true,
            Kind::V1(controllers) => controllers.iter().all(|c| c.starts_with("name=")),
        };
        let own = std::process::id().to_string();
        let mut trees = self.hierarchies.iter().filter(left_alone);
        trees.try_for_each(|h| write(&h.directory(path).join("cgroup.procs"), &own))
    }

    /// Moves the calling process into an existing group, before it becomes a program of the container.
    pub(crate) fn join(&self, path: &str) -> Result<(), CgroupError> {
        let own = std::process::id().to_string();
        for directory in self.directories(path) {
            // Trees that were mounted after the group was made lack it.
            if directory.exists() {
                write(&directory.join("cgroup.procs"), &own)?;
            }
        }
        Ok(())
    }

    /// Moves the supervisor, which is the calling process, out of the pod's groups, so that they can be removed.
    pub(crate) fn leave(&self) -> Result<(), CgroupError> {
        let own = std::process::id().to_string();
        self.hierarchies.iter().try_for_each(|h| match write(&h.mount.join("cgroup.procs"), &own) {
            // Only the real root of v2 may hold processes. Elsewhere there is a leaf for those that were there.
            Err(error) if h.kind == Kind::Unified && error.is(Errno::BUSY) => {
                write(&room::leaf(&h.mount)?.join("cgroup.procs"), &own)
            }
            result => result,
        })
    }

    /// The processes of one group, without those of groups below. A group that is not there has none.
    pub(crate) fn processes(&self, path: &str) -> io::Result<Vec<i32>> {
        let Some(tree) = self.hierarchies.iter().find(|h| h.has("pids")) else { return Ok(Vec::new()) };
        match fs::read_to_string(tree.directory(path).join("cgroup.procs")) {
            Ok(listed) => Ok(listed.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Kills every process in the group and below, except the caller's own, and waits for their end.
    ///
    /// Fails with `TimedOut` when some do not die, which only happens to processes stuck in the kernel.
    pub(crate) fn kill(&self, path: &str, mut reap: impl FnMut()) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.others_below(path);
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

    /// The same without waiting.
    pub(crate) fn begin_to_kill(&self, path: &str) {
        for process in self.others_below(path) {
            drop(kill_one(process));
        }
    }

    /// The processes in the group and below, except the caller's own.
    fn others_below(&self, path: &str) -> Vec<i32> {
        let mut found = Vec::new();
        for directory in self.directories(path) {
            processes_below(&directory, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|pid| u32::try_from(*pid) != Ok(std::process::id()));
        found
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_v1_hybrid_and_v2_trees() {
        let hybrid = "26 22 0:24 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      27 26 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      28 26 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      29 26 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Cgroups::parse(hybrid);
        assert!(!found.is_unified());
        assert_eq!(found.mount_of("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(found.mount_of("memory"), None);
        assert!(found.check().unwrap_err().to_string().contains("memory controller is not mounted"));
        let names: Vec<String> = found
            .views("/g")
            .iter()
            .map(|(name, at)| format!("{} {}", name.display(), at.display()))
            .collect();
        assert_eq!(
            names,
            [
                "cpu /sys/fs/cgroup/cpu,cpuacct/g",
                "cpuacct /sys/fs/cgroup/cpu,cpuacct/g",
                "cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct/g",
                "systemd /sys/fs/cgroup/systemd/g"
            ]
        );
        let unified = Cgroups::parse("30 22 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(unified.is_unified());
        assert_eq!(unified.mount_of("memory"), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(unified.views("/g"), [(PathBuf::new(), "/sys/fs/cgroup/g".into())]);
        assert!(Cgroups::parse("").check().is_err());
    }
}
