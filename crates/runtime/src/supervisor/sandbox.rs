//! The pod's own surroundings: namespaces, loopback, host name, kernel parameters, shared memory.

use super::users::Users;
use crate::ids::IdRange;
use crate::paths::PodPaths;
use crate::spec::PodSandbox;
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Bytes of the pod's `/dev/shm`.
const SHM_SIZE: u64 = 64 << 20;

/// Kernel parameters every pod network starts with: ordinary users may listen on any port and ping.
const NETWORK_DEFAULTS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// Moves this process into new namespaces and prepares them.
pub(super) fn create(sandbox: &PodSandbox, paths: &PodPaths) -> Result<(), String> {
    enter_first(sandbox, paths).map_err(|error| format!("make namespaces: {error}"))?;
    if !sandbox.host_network {
        bring_up_loopback().map_err(|error| format!("bring up the loopback interface: {error}"))?;
        for (name, value) in NETWORK_DEFAULTS {
            // Older kernels lack some; the pod then has their behaviour.
            if let Err(error) = set_sysctl(name, value) {
                skiff_print::note(format_args!("kernel parameter {name}: {error}"));
            }
        }
        pin_netns(&paths.netns).map_err(|error| format!("pin {}: {error}", paths.netns.display()))?;
    }
    set_sysctls(sandbox, paths)?;
    if !sandbox.host_ipc {
        mount_shm(&paths.shm(), sandbox.users)
            .map_err(|error| format!("mount {}: {error}", paths.shm().display()))?;
    }
    Ok(())
}

/// Sets what the pod asks for, in a user namespace as its root: the kernel asks for that user, not for rights.
fn set_sysctls(sandbox: &PodSandbox, paths: &PodPaths) -> Result<(), String> {
    if let Some(name) = sandbox.sysctls.keys().find(|name| !is_own(name, sandbox)) {
        return Err(format!("kernel parameter {name:?} is not the pod's own: it would change the node's"));
    }
    let set = || {
        sandbox.sysctls.iter().try_for_each(|(name, value)| {
            set_sysctl(name, value).map_err(|error| format!("set kernel parameter {name}={value}: {error}"))
        })
    };
    match sandbox.users {
        Some(range) if !sandbox.sysctls.is_empty() => Users::open(range, &paths.userns())
            .map_err(|error| format!("open {}: {error}", paths.userns().display()))?
            .as_root(set),
        _ => set(),
    }
}

/// Moves this process into the namespaces of a pod whose supervisor died: the pinned network, and IPC and UTS of a
/// process that still runs, or new ones when none does.
pub(super) fn rejoin(sandbox: &PodSandbox, paths: &PodPaths, survivor: Option<i32>) -> io::Result<()> {
    if !sandbox.host_network {
        join(&paths.netns, LinkNameSpaceType::Network)?;
    }
    let Some(pid) = survivor else {
        return match sandbox.users {
            None => enter_new(sandbox, false),
            Some(range) => {
                Users::open(range, &paths.userns())?
                    .make_more(UnshareFlags::NEWUTS | UnshareFlags::NEWIPC)?;
                Ok(rustix::system::sethostname(sandbox.hostname.as_bytes())?)
            }
        };
    };
    let namespace = |name: &str| format!("/proc/{pid}/ns/{name}");
    if !sandbox.host_ipc {
        join(Path::new(&namespace("ipc")), LinkNameSpaceType::InterProcessCommunication)?;
    }
    if !sandbox.host_network {
        join(Path::new(&namespace("uts")), LinkNameSpaceType::HostNameAndNISDomainName)?;
    }
    Ok(())
}

fn join(path: &Path, kind: LinkNameSpaceType) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind))?)
}

/// The namespaces of a new pod. Those of a pod with a user namespace belong to it.
fn enter_first(sandbox: &PodSandbox, paths: &PodPaths) -> io::Result<()> {
    let Some(range) = sandbox.users else { return enter_new(sandbox, !sandbox.host_network) };
    if sandbox.host_network || sandbox.host_pid || sandbox.host_ipc {
        let reason = "a user namespace cannot be had together with the node's network, processes or IPC";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let owned = UnshareFlags::NEWNET | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    Users::make(range, owned, &paths.userns())?;
    Ok(rustix::system::sethostname(sandbox.hostname.as_bytes())?)
}

fn enter_new(sandbox: &PodSandbox, network: bool) -> io::Result<()> {
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWNET, network);
    flags.set(UnshareFlags::NEWUTS, !sandbox.host_network);
    flags.set(UnshareFlags::NEWIPC, !sandbox.host_ipc);
    // SAFETY: one thread; none of these flags touches descriptors or memory.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    if !sandbox.host_network {
        rustix::system::sethostname(sandbox.hostname.as_bytes())?;
    }
    Ok(())
}

fn bring_up_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use std::os::fd::AsRawFd;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: an all-zero request is valid; the name fits and stays terminated.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: the kernel reads one `ifreq` that lives through the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether a kernel parameter belongs to a namespace that the pod has for itself.
fn is_own(name: &str, sandbox: &PodSandbox) -> bool {
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix));
    let ipc = ipc || name == "kernel.sem";
    (name.starts_with("net.") && !sandbox.host_network) || (ipc && !sandbox.host_ipc)
}

fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    if name.contains('/') || name.split('.').any(|part| part.is_empty()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a dotted name"));
    }
    fs::write(Path::new("/proc/sys").join(name.replace('.', "/")), value)
}

fn pin_netns(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(rustix::mount::mount_bind("/proc/self/ns/net", path)?)
}

fn mount_shm(path: &Path, users: Option<IdRange>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let root = users.map_or(0, IdRange::first);
    let options = CString::new(format!("mode=1777,size={SHM_SIZE},uid={root},gid={root}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("shm", path, "tmpfs", flags, Some(options.as_c_str()))?)
}
