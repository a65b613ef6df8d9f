//! From a container as we describe it to the OCI configuration libcontainer reads. Pure.

use crate::cgroup::TREES;
use crate::devices::Node;
use crate::seccomp;
use crate::spec::{ContainerSpec, Mount, MountKind, PodSandbox, Propagation, Seccomp};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where programs are looked for when the container does not say.
pub(crate) const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Every capability, in the order of their numbers.
const ALL_CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What the machine adds to the description.
pub(crate) struct Surroundings<'a> {
    pub(crate) sandbox: &'a PodSandbox,
    pub(crate) rootfs: &'a Path,
    pub(crate) shm: &'a Path,
    /// Where the sources of the container's bind mounts are attached, each under its number.
    pub(crate) sources: &'a Path,
    /// Control group of the container, absolute in each tree.
    pub(crate) cgroup: &'a str,
    /// What the container sees of its group: names below `/sys/fs/cgroup` and directories of the host.
    pub(crate) cgroup_views: &'a [(PathBuf, PathBuf)],
    /// Paths to mask besides the usual ones.
    pub(crate) masked: &'a [String],
    pub(crate) pids: Pids,
    /// The file that stands for the pod's user namespace, if it has one.
    pub(crate) users: Option<&'a Path>,
    /// Device nodes besides the usual ones.
    pub(crate) devices: &'a [Node],
}

/// The process namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pids {
    /// The node's.
    Host,
    /// One of its own, which ends with its first process.
    Own,
    /// The one that this file stands for.
    Joined(PathBuf),
}

/// The container's configuration. Capabilities and system call filter are not in it: the container's process takes
/// them on itself, after everything else (see `supervisor::restrict`).
pub(crate) fn configuration(spec: &ContainerSpec, around: &Surroundings<'_>, home: &str) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": around.rootfs, "readonly": spec.rootfs_readonly},
        "process": process(spec, home),
        "mounts": mounts(spec, around),
        "linux": linux(spec, around),
    })
}

/// The capabilities of the container's processes, with their prefix, as far as they can be given.
pub(crate) fn capabilities(spec: &ContainerSpec, bounding: u64) -> Vec<String> {
    let wanted = |name: &str| {
        spec.privileged
            || spec
                .capabilities
                .iter()
                .any(|c| c == name || c == "ALL" || name.strip_prefix("CAP_") == Some(c))
    };
    let given =
        ALL_CAPABILITIES.iter().enumerate().filter(|(n, name)| bounding >> n & 1 == 1 && wanted(name));
    given.map(|(_, name)| (*name).to_owned()).collect()
}

/// The environment of the container's processes, with the defaults it lacks.
pub(crate) fn environment(spec: &ContainerSpec, sandbox: &PodSandbox) -> Vec<String> {
    let lacks =
        |name: &str| !spec.env.iter().any(|e| e.strip_prefix(name).is_some_and(|r| r.starts_with('=')));
    let mut env = Vec::with_capacity(spec.env.len() + 3);
    if lacks("PATH") {
        env.push(DEFAULT_PATH.to_owned());
    }
    if lacks("HOSTNAME") && !sandbox.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", sandbox.hostname));
    }
    if spec.tty && lacks("TERM") {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(spec.env.iter().cloned());
    env
}

/// The filter of the container's processes.
pub(crate) fn seccomp_filter(
    spec: &ContainerSpec,
    capabilities: &[String],
) -> Option<Vec<seccomp::Instruction>> {
    let filtered = spec.seccomp == Seccomp::RuntimeDefault && !spec.privileged;
    filtered.then(|| seccomp::default_filter(capabilities))
}

/// The program's environment is given when it is executed (see [`environment`]); with `HOME` set, libcontainer does not
/// look for it.
fn process(spec: &ContainerSpec, home: &str) -> Value {
    let mut process = json!({
        "terminal": spec.tty,
        "user": {"uid": spec.user.uid, "gid": spec.user.gid, "additionalGids": spec.user.groups},
        "args": spec.args,
        "env": [format!("HOME={home}")],
        "cwd": if spec.cwd.is_empty() { "/" } else { &spec.cwd },
    });
    if spec.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    process
}

fn mounts(spec: &ContainerSpec, around: &Surroundings<'_>) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let sys_access = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", sys_access]),
        json!({"destination": "/dev/shm", "type": "bind", "source": around.shm, "options": ["rbind", "rw"]}),
    ];
    mounts.retain(|m| !spec.mounts.iter().any(|own| own.destination.to_str() == m["destination"].as_str()));
    if !spec.mounts.iter().any(|own| Path::new(TREES).starts_with(&own.destination)) {
        mounts.extend(cgroup_mounts(around.cgroup_views, sys_access));
    }
    let mut own: Vec<(usize, &Mount)> = spec.mounts.iter().enumerate().collect();
    // A mount below another must come after it; otherwise the caller's order holds.
    skiff_ordered::sort_by_key(&mut own, |(_, mount)| mount.destination.components().count());
    mounts.extend(
        own.into_iter().map(|(index, mount)| own_mount(mount, &around.sources.join(index.to_string()))),
    );
    mounts
}

/// The container's own group in every tree, seen as the root of each: it has a control group namespace. By bind mounts,
/// because a bind mount of each can be made read-only on v1 as on v2.
fn cgroup_mounts(views: &[(PathBuf, PathBuf)], access: &str) -> Vec<Value> {
    let mut mounts = Vec::new();
    let whole = views.iter().any(|(name, _)| name.as_os_str().is_empty());
    if !whole {
        let options = ["nosuid", "noexec", "nodev", "mode=755", "size=64k"];
        mounts.push(json!({"destination": TREES, "type": "tmpfs", "source": "tmpfs", "options": options}));
    }
    mounts.extend(views.iter().map(|(name, directory)| {
        let destination = if whole { PathBuf::from(TREES) } else { Path::new(TREES).join(name) };
        let options = ["bind", "rprivate", "nosuid", "noexec", "nodev", access];
        json!({"destination": destination, "type": "bind", "source": directory, "options": options})
    }));
    mounts
}

/// `source` is where the mount's source was attached (see `supervisor::sources`).
fn own_mount(mount: &Mount, source: &Path) -> Value {
    let access = match (mount.readonly, mount.recursive) {
        (true, true) => "rro",
        (true, false) => "ro",
        (false, _) => "rw",
    };
    match &mount.kind {
        MountKind::Bind { .. } => {
            let propagation = match mount.propagation {
                Propagation::Private => "rprivate",
                Propagation::HostToContainer => "rslave",
                Propagation::Bidirectional => "rshared",
            };
            json!({"destination": mount.destination, "type": "bind", "source": source,
                   "options": ["rbind", propagation, access]})
        }
        MountKind::Image { .. } => {
            json!({"destination": mount.destination, "type": "bind", "source": source,
                   "options": ["rbind", "rprivate", "ro"]})
        }
        MountKind::Tmpfs { size } => {
            let mut options =
                vec!["nosuid".to_owned(), "nodev".to_owned(), "mode=1777".to_owned(), access.to_owned()];
            options.extend(size.map(|bytes| format!("size={bytes}")));
            json!({"destination": mount.destination, "type": "tmpfs", "source": "tmpfs", "options": options})
        }
    }
}

fn linux(spec: &ContainerSpec, around: &Surroundings<'_>) -> Value {
    // Network, IPC and UTS are inherited: the supervisor lives in the pod's.
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
    namespaces.extend(around.users.map(|path| json!({"type": "user", "path": path})));
    match &around.pids {
        Pids::Host => {}
        Pids::Own => namespaces.push(json!({"type": "pid"})),
        Pids::Joined(path) => namespaces.push(json!({"type": "pid", "path": path})),
    }
    let open = spec.privileged || spec.unmasked;
    let masked = MASKED.iter().copied().chain(around.masked.iter().map(String::as_str));
    let masked: Vec<&str> = masked.filter(|_| !open).collect();
    let mut read_only: Vec<&str> = READ_ONLY.iter().copied().filter(|_| !open).collect();
    if !spec.privileged && around.cgroup_views.iter().all(|(name, _)| !name.as_os_str().is_empty()) {
        read_only.push(TREES);
    }
    let both_ways = spec.mounts.iter().any(|m| m.propagation == Propagation::Bidirectional);
    json!({
        "cgroupsPath": around.cgroup,
        "namespaces": namespaces,
        "devices": around.devices.iter().map(device).collect::<Vec<_>>(),
        "resources": resources(spec, around.devices),
        "maskedPaths": masked,
        "readonlyPaths": read_only,
        "rootfsPropagation": if both_ways { "shared" } else { "slave" },
    })
}

fn device(node: &Node) -> Value {
    json!({"path": node.path, "type": node.kind.letter(), "major": node.major, "minor": node.minor,
           "fileMode": node.mode, "uid": node.uid, "gid": node.gid})
}

/// The list of devices. Limits are not in it: the group has them before the first process enters.
fn resources(spec: &ContainerSpec, devices: &[Node]) -> Value {
    let mut allowed = vec![json!({"allow": spec.privileged, "access": "rwm"})];
    allowed.extend(devices.iter().filter(|_| !spec.privileged).map(|node| {
        json!({"allow": true, "type": node.kind.letter(), "major": node.major, "minor": node.minor,
               "access": node.access})
    }));
    json!({"devices": allowed})
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ids::PodUid;

    fn sandbox() -> PodSandbox {
        serde_json::from_value(json!({"uid": PodUid::new("u").unwrap(), "namespace": "default", "name": "p",
            "hostname": "web-0", "host_network": false, "log_dir": "/l"}))
        .unwrap()
    }

    pub(crate) fn spec() -> ContainerSpec {
        serde_json::from_value(json!({
            "name": "c", "attempt": 0, "image": format!("sha256:{}", "0".repeat(64)), "image_ref": "i",
            "args": ["sh"], "env": ["A=1"], "cwd": "", "user": {"uid": 1, "gid": 2, "groups": [3]}, "mounts": [],
            "rootfs_readonly": false, "capabilities": ["NET_RAW", "CAP_CHOWN", "CAP_SYS_TIME"], "privileged": false,
            "no_new_privileges": false, "seccomp": "runtime_default", "resources": {}, "oom_score_adj": null,
            "tty": false, "stdin": false, "stdin_once": false, "stop_signal": "", "log_path": "/l/0.log"}))
        .unwrap()
    }

    fn configure(spec: &ContainerSpec, sandbox: &PodSandbox) -> Value {
        let around = Surroundings {
            sandbox,
            rootfs: Path::new("/r"),
            shm: Path::new("/s"),
            sources: Path::new("/m"),
            cgroup: "/skiff/u/c",
            cgroup_views: &[("memory".into(), "/sys/fs/cgroup/memory/skiff/u/c".into())],
            masked: &["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
            pids: Pids::Own,
            users: None,
            devices: &[],
        };
        configuration(spec, &around, "/")
    }

    #[test]
    fn only_capabilities_we_have_are_given() {
        assert_eq!(capabilities(&spec(), (1 << 14) - 1), ["CAP_CHOWN", "CAP_NET_RAW"]);
    }

    #[test]
    fn missing_environment_is_filled_in() {
        assert_eq!(environment(&spec(), &sandbox()), [DEFAULT_PATH, "HOSTNAME=web-0", "A=1"]);
        let mut with_path = spec();
        (with_path.env, with_path.tty) = (vec!["PATH=/x".into()], true);
        assert_eq!(environment(&with_path, &sandbox()), ["HOSTNAME=web-0", "TERM=xterm", "PATH=/x"]);
    }

    #[test]
    fn privileged_containers_are_not_confined() {
        let mut spec = spec();
        spec.privileged = true;
        let config = configure(&spec, &sandbox());
        assert_eq!(config["linux"]["maskedPaths"], json!([]));
        assert_eq!(seccomp_filter(&spec, &[]), None);
        assert_eq!(config["linux"]["resources"]["devices"][0]["allow"], json!(true));
    }

    #[test]
    fn an_unmasked_container_is_confined_otherwise() {
        let unmasked = ContainerSpec { unmasked: true, ..spec() };
        let config = configure(&unmasked, &sandbox());
        assert_eq!(config["linux"]["maskedPaths"], json!([]));
        assert_eq!(config["linux"]["readonlyPaths"], json!([TREES]), "on v1 its groups stay as they are");
        assert_eq!(config["linux"]["resources"]["devices"][0]["allow"], json!(false));
        assert!(seccomp_filter(&unmasked, &[]).is_some());
    }

    #[test]
    fn own_mounts_replace_defaults_and_nest() {
        let bind = |destination: &str| Mount {
            kind: MountKind::bind("/h"),
            destination: destination.into(),
            readonly: true,
            recursive: false,
            propagation: Propagation::Private,
        };
        let mut spec = spec();
        spec.mounts = vec![bind("/a/b"), bind("/dev/shm"), bind("/a")];
        let config = configure(&spec, &sandbox());
        let destinations: Vec<_> =
            config["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect();
        assert_eq!(destinations[5..], ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/a", "/a/b", "/dev/shm"]);
    }
}
