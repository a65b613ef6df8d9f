//! A machine of a test's own: namespaces on this one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Network, mount and process namespaces with a loopback interface, held by a process that ends with the test.
#[derive(Debug)]
pub struct Host {
    holder: Child,
    /// The first process of the namespaces reads from here and ends when this end closes.
    _lifeline: ChildStdin,
    pid: u32,
    directory: tempfile::TempDir,
    /// The control group that it sees as the root, of a host that is a container.
    group: Option<PathBuf>,
}

impl Host {
    /// Makes the namespaces.
    #[must_use]
    pub fn new() -> Self {
        // Not `exec cat`: the shell, while it waits, also collects the orphans of this host, as any machine's first
        // process does.
        Self::hold("ip link set lo up && echo ready && cat; exit 0", None)
    }

    /// A host as it is inside a privileged container: the root of its control groups is an ordinary group, which its
    /// processes are in. None, with the reason printed, on a machine with control groups of version 1.
    #[must_use]
    pub fn in_container() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tree = Path::new("/sys/fs/cgroup");
        if !tree.join("cgroup.subtree_control").exists() {
            println!("skipped: needs cgroup v2");
            return None;
        }
        std::fs::write(tree.join("cgroup.subtree_control"), "+memory +cpu +pids").unwrap();
        let name = format!("skiff-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let group = tree.join(name);
        std::fs::create_dir(&group).unwrap();
        let inside = "umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && ip link set lo up && echo ready && cat; exit 0";
        let script =
            format!("echo 0 > {}/cgroup.procs && exec unshare --cgroup sh -c '{inside}'", group.display());
        Some(Self::hold(&script, Some(group)))
    }

    fn hold(script: &str, group: Option<PathBuf>) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's interrupt is for the test; the host ends with it.
            .process_group(0)
            .spawn()
            .expect("unshare runs (tests need root and util-linux)");
        let lifeline = holder.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the namespaces are made");
        let pid = first_child(holder.id());
        let directory = tempfile::Builder::new().prefix("skiff-test-").tempdir().unwrap();
        Self { holder, _lifeline: lifeline, pid, directory, group }
    }

    /// A directory for the test's files, removed at the end.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A command that runs on this host.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--net", "--mount", "--pid"]);
        // As the host sees it: entering a mount namespace leads to its root otherwise.
        command.arg(format!("--wdns={}", self.directory().display())).arg("--").arg(program);
        command.current_dir(self.directory());
        command
    }

    /// Does something in this host's network: what it opens, and the threads that it starts, stay there.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.pid)).unwrap();
        let work = move || {
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(network.as_fd(), Some(kind)).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    /// Process ids and command lines of what runs on this host, without the two processes that hold it, and without
    /// children that have not started their own program yet: those have their parent's command line.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        let output = self.command("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let fields = |line| -> Option<(&str, (&str, &str))> {
            let (pid, rest) = str::trim(line).split_once(' ')?;
            let (parent, args) = rest.trim_start().split_once(' ')?;
            Some((pid, (parent, args)))
        };
        let all: BTreeMap<&str, (&str, &str)> = text.lines().filter_map(fields).collect();
        let other = |(pid, (parent, args)): &(&&str, &(&str, &str))| {
            **pid != "1"
                && *args != "cat"
                && !args.contains("ps -eo pid=,ppid=,args=")
                && all.get(parent).is_none_or(|(_, theirs)| theirs != args)
        };
        all.iter().filter(other).map(|(pid, (_, args))| format!("{pid} {args}")).collect()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(group) = &self.group else {
            self.holder.kill().expect("the holder is our child");
            self.holder.wait().expect("the holder is our child");
            return;
        };
        // The holder ends after the host's first process, which ends after all others: then the group is empty.
        std::fs::write(group.join("cgroup.kill"), "1").expect("the group is ours");
        self.holder.wait().expect("the holder is our child");
        remove_groups(group);
    }
}

fn remove_groups(group: &Path) {
    for entry in
        std::fs::read_dir(group).unwrap().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
    {
        remove_groups(&entry.path());
    }
    std::fs::remove_dir(group).unwrap();
}

fn first_child(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(&path).unwrap();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("unshare has one child")
}

/// The file that a `SKIFF_TEST_*` variable names.
#[must_use]
pub fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{variable} is not set: run the tests with ./dev test"))
}
