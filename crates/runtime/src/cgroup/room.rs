//! Making room in a v2 tree. A group of v2 that passes controllers on may hold no processes itself, unless it is the real
//! root. In a container, a CI runner or a delegated subtree, what we see as the root is an ordinary group, and it holds
//! processes: those go into a leaf of their own, where we may move them.
//!
//! Passing on only `cpu` or `pids` from a group with processes would work, and make it a "threaded domain" in which no
//! container can be limited. All controllers are therefore asked for in one write, which the kernel refuses as a whole.

use super::error::{CgroupError, write};
use rustix::io::Errno;
use std::fs;
use std::path::{Path, PathBuf};

/// The controllers that containers are limited with.
pub(super) const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];

/// The leaf for processes that were in the root.
pub(super) const HOST_LEAF: &str = "skiff-host";

/// How often processes that were forked meanwhile are moved after the others.
const ROUNDS: usize = 100;

/// What stands in the way of a root that passes controllers on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Processes, which may be moved.
    Processes(Vec<u32>),
    /// Processes of another process namespace, which cannot.
    Strangers,
    /// A group in which only threads can be told apart.
    Threaded(String),
}

/// Looks at a root: `kind` is its `cgroup.type` (absent in the real root), `processes` its `cgroup.procs`.
pub(super) fn obstacle(kind: Option<&str>, processes: &str) -> Option<Obstacle> {
    let kind = kind?.trim();
    if kind != "domain" {
        return Some(Obstacle::Threaded(kind.to_owned()));
    }
    let processes: Vec<u32> = processes.lines().filter_map(|line| line.parse().ok()).collect();
    match processes.as_slice() {
        [] => None,
        list if list.contains(&0) => Some(Obstacle::Strangers),
        _ => Some(Obstacle::Processes(processes)),
    }
}

/// What is in the way in the tree mounted at `root`.
pub(super) fn look(root: &Path) -> Result<Option<Obstacle>, CgroupError> {
    let kind = match fs::read_to_string(root.join("cgroup.type")) {
        Ok(kind) => Some(kind),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(CgroupError { action: "read", path: root.join("cgroup.type"), source }),
    };
    let path = root.join("cgroup.procs");
    let processes = match fs::read_to_string(&path) {
        Ok(processes) => processes,
        // So it is in a threaded group, which the type says.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => String::new(),
        Err(source) => return Err(CgroupError { action: "read", path, source }),
    };
    Ok(obstacle(kind.as_deref(), &processes))
}

/// What to tell somebody whose tree cannot be used.
pub(super) fn advice(root: &Path, obstacle: &Obstacle) -> String {
    let root = root.display();
    match obstacle {
        Obstacle::Processes(list) => {
            format!("the processes {list:?} in {root} cannot be moved to {root}/{HOST_LEAF}")
        }
        Obstacle::Strangers => format!(
            "{root} holds processes of another process namespace, which cannot be moved, so it cannot pass controllers on; \
             start the container with a control group for itself alone (`--cgroupns=private`)"
        ),
        Obstacle::Threaded(kind) => format!(
            "{root} is a {kind:?} group, below which no container can be limited; start in a group of type \"domain\" \
             (for a container: restart it)"
        ),
    }
}

/// Moves the processes of the root mounted at `root` into a leaf, if it has to be empty and is not.
pub(super) fn make(root: &Path) -> Result<(), CgroupError> {
    for _ in 0..ROUNDS {
        match look(root)? {
            None => return Ok(()),
            Some(Obstacle::Processes(processes)) => move_all(&leaf(root)?, &processes)?,
            Some(other) => return Err(refused(root, &other)),
        }
    }
    Err(refused(root, &Obstacle::Processes(Vec::new())))
}

fn refused(root: &Path, obstacle: &Obstacle) -> CgroupError {
    let source = std::io::Error::other(advice(root, obstacle));
    CgroupError { action: "make room in", path: root.to_owned(), source }
}

/// The leaf beside our groups, made if missing.
pub(super) fn leaf(root: &Path) -> Result<PathBuf, CgroupError> {
    let leaf = root.join(HOST_LEAF);
    match fs::create_dir(&leaf) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(CgroupError { action: "create", path: leaf, source })
        }
        _ => Ok(leaf),
    }
}

fn move_all(group: &Path, processes: &[u32]) -> Result<(), CgroupError> {
    tracing::info!(group = %group.display(), count = processes.len(), "moving processes to another control group");
    for process in processes {
        match write(&group.join("cgroup.procs"), &process.to_string()) {
            // It has ended.
            Err(error) if error.source.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Undoes [`make`] once no group of ours is left: the processes go back, and the leaf goes. With groups of others beside
/// it everything stays as it is, since they may need the room.
pub(super) fn give_back(root: &Path) -> Result<(), CgroupError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| CgroupError { action, path, source }
    };
    let leaf = root.join(HOST_LEAF);
    let entries = fs::read_dir(root).map_err(failed("read", root))?;
    let groups: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    if groups != [leaf.clone()] {
        return Ok(());
    }
    let control = root.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).map_err(failed("read", &control))?;
    let off: Vec<String> = enabled.split_whitespace().map(|controller| format!("-{controller}")).collect();
    write(&control, &off.join(" "))?;
    for _ in 0..ROUNDS {
        let path = leaf.join("cgroup.procs");
        let left = fs::read_to_string(&path).map_err(failed("read", &path))?;
        let left: Vec<u32> = left.lines().filter_map(|line| line.parse().ok()).collect();
        if left.is_empty() {
            break;
        }
        move_all(root, &left)?;
    }
    fs::remove_dir(&leaf).map_err(failed("remove", &leaf))
}

/// Passes the needed controllers on to the children of `parent`.
pub(super) fn pass_on(parent: &Path) -> Result<(), CgroupError> {
    let control = parent.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).map_err(|source| CgroupError {
        action: "read",
        path: control.clone(),
        source,
    })?;
    if NEEDED.iter().all(|needed| enabled.split_whitespace().any(|c| c == *needed)) {
        return Ok(());
    }
    write(&control, &NEEDED.map(|controller| format!("+{controller}")).join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_ours_in_an_ordinary_group_can_be_moved() {
        for (kind, processes, expected) in [
            (None, "1\n2\n", None),
            (Some("domain\n"), "", None),
            (Some("domain\n"), "1\n17\n", Some(Obstacle::Processes(vec![1, 17]))),
            (Some("domain\n"), "0\n17\n", Some(Obstacle::Strangers)),
            (Some("domain threaded\n"), "1\n", Some(Obstacle::Threaded("domain threaded".into()))),
            (Some("domain invalid\n"), "", Some(Obstacle::Threaded("domain invalid".into()))),
        ] {
            assert_eq!(obstacle(kind, processes), expected, "{kind:?} {processes:?}");
        }
    }

    /// A group in the machine's v2 tree, which the functions here take for a root; gone with everything in it at the end.
    struct Group(PathBuf);

    impl Group {
        /// None, with the reason printed, where there is no such tree.
        fn new(name: &str) -> Option<Self> {
            let tree = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
            let tree = tree.into_iter().find(|t| t.join("cgroup.procs").exists());
            let usable = tree.filter(|_| rustix::process::geteuid().is_root());
            let Some(tree) = usable else {
                println!("skipped: needs root and a cgroup v2 tree");
                return None;
            };
            let path = tree.join(format!("skiff-room-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Some(Self(path))
        }

        fn hold(&self, process: &std::process::Child) {
            write(&self.0.join("cgroup.procs"), &process.id().to_string()).unwrap();
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            super::super::below::remove_tree(&self.0).unwrap();
        }
    }

    /// A process that ends with the test.
    struct Sleeper(std::process::Child);

    impl Sleeper {
        fn new() -> Self {
            Self(std::process::Command::new("sleep").arg("100").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn the_kernel_moves_what_is_in_the_way() {
        let Some(group) = Group::new("move") else { return };
        let (first, second) = (Sleeper::new(), Sleeper::new());
        [&first, &second].iter().for_each(|sleeper| group.hold(&sleeper.0));
        assert!(matches!(look(&group.0).unwrap(), Some(Obstacle::Processes(list)) if list.len() == 2));
        make(&group.0).unwrap();
        assert_eq!(look(&group.0).unwrap(), None);
        let moved = fs::read_to_string(group.0.join(HOST_LEAF).join("cgroup.procs")).unwrap();
        assert_eq!(moved.lines().count(), 2);
        // Nothing to do the second time.
        make(&group.0).unwrap();
        assert_eq!(fs::read_to_string(group.0.join("cgroup.type")).unwrap(), "domain\n");

        // Not while somebody else has groups there.
        let foreign = group.0.join("foreign");
        fs::create_dir(&foreign).unwrap();
        give_back(&group.0).unwrap();
        assert_eq!(look(&group.0).unwrap(), None);
        fs::remove_dir(&foreign).unwrap();
        give_back(&group.0).unwrap();
        assert!(matches!(look(&group.0).unwrap(), Some(Obstacle::Processes(list)) if list.len() == 2));
        assert!(!group.0.join(HOST_LEAF).exists());
    }

    #[test]
    fn a_threaded_root_is_refused_with_the_remedy() {
        let Some(group) = Group::new("threaded") else { return };
        let child = group.0.join("child");
        fs::create_dir(&child).unwrap();
        fs::write(child.join("cgroup.type"), "threaded").unwrap();
        let refused = make(&group.0).unwrap_err().to_string();
        assert!(refused.contains("\"domain threaded\"") && refused.contains("restart"), "{refused}");
        assert!(!group.0.join(HOST_LEAF).exists(), "nothing was changed");
    }
}
