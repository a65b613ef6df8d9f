//! Giving up rights: what an unpacker can reach and do once it reads what strangers made.

use crate::images::layer;
use crate::images::limits::{Bound, ImageLimits};
use crate::seccomp;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What an unpacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Reads its input and writes its output.
    Expand,
    /// Also writes files below its root.
    Extract,
}

/// Memory beyond what the program has at its start, in bytes: the largest window of zstd is 128 MiB.
const MEMORY: u64 = 256 << 20;

/// Open files: a removal opens each directory on its way down.
const FILES: u64 = 1024;

/// System calls of both kinds of work, after the start of the program.
const ALWAYS: &str = "read readv write writev close mmap munmap mremap mprotect madvise brk futex getrandom \
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack exit exit_group gettid getpid sched_yield clock_gettime \
    clock_nanosleep restart_syscall fstat newfstatat statx lseek poll";

/// Those that make files.
const FILE_SYSTEM: &str = "openat openat2 mkdirat mknodat symlinkat linkat unlinkat readlinkat fchownat fchmodat \
    fchmodat2 fchown fchmod utimensat ftruncate fsetxattr fgetxattr flistxattr getdents64 fcntl dup copy_file_range \
    sendfile splice";

/// Makes the layer's directory the root of this process, in namespaces of its own, with no device usable below it.
/// Returns the root and what lies below the layer.
pub(super) fn enter(target: &Path, below: &[PathBuf]) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
    // SAFETY: the only thread leaves its namespaces; it shares no file descriptor table.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    let harmless = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let below = if below.is_empty() { None } else { Some(mount_below(target, below, harmless)?) };
    rustix::mount::mount_bind(target, target)?;
    rustix::mount::mount_remount(target, MountFlags::BIND | harmless, c"")?;
    rustix::process::chdir(target)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok((layer::open_directory(Path::new("/"))?, below))
}

/// The layers below as one read-only tree, as the kernel would show them: the topmost comes first.
fn mount_below(target: &Path, layers: &[PathBuf], harmless: MountFlags) -> io::Result<OwnedFd> {
    let read_only = harmless | MountFlags::RDONLY;
    if let [only] = layers {
        rustix::mount::mount_bind(only, target)?;
        rustix::mount::mount_remount(target, MountFlags::BIND | read_only, c"")?;
    } else {
        let opened =
            layers.iter().map(|layer| layer::open_directory(layer)).collect::<io::Result<Vec<_>>>()?;
        overlay(&opened, target, read_only)?;
    }
    let below = layer::open_directory(target)?;
    rustix::mount::unmount(target, UnmountFlags::DETACH)?;
    Ok(below)
}

/// Layers are named by descriptors: many names of whole digests do not fit into the page that a mount may have.
fn overlay(layers: &[OwnedFd], target: &Path, flags: MountFlags) -> io::Result<()> {
    let before = rustix::process::getcwd(Vec::new())?;
    rustix::process::chdir("/proc/self/fd")?;
    let names: Vec<String> = layers.iter().map(|layer| layer.as_raw_fd().to_string()).collect();
    let options = CString::new(format!("lowerdir={}", names.join(":")))?;
    rustix::mount::mount("overlay", target, "overlay", flags, Some(options.as_c_str()))?;
    Ok(rustix::process::chdir(&*before)?)
}

/// Gives up for good what the work does not need.
pub(super) fn confine(work: Work, limits: &ImageLimits, address_space: u64) -> io::Result<()> {
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, limits.get(Bound::Seconds))?;
    limit(Resource::As, address_space.saturating_add(MEMORY))?;
    limit(Resource::Nofile, FILES)?;
    limit(Resource::Fsize, if work == Work::Extract { limits.get(Bound::ImageBytes) } else { 0 })?;
    rustix::process::umask(rustix::fs::Mode::empty());
    drop_capabilities(match work {
        Work::Expand => CapabilitySet::empty(),
        Work::Extract => {
            CapabilitySet::CHOWN
                | CapabilitySet::DAC_OVERRIDE
                | CapabilitySet::FOWNER
                | CapabilitySet::FSETID
                | CapabilitySet::MKNOD
                | CapabilitySet::SETFCAP
        }
    })?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    seccomp::install(&seccomp::only(&match work {
        Work::Expand => vec![ALWAYS],
        Work::Extract => vec![ALWAYS, FILE_SYSTEM],
    }))
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let value = rustix::process::getrlimit(resource).maximum.map_or(value, |most| most.min(value));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

/// Bytes of addresses in use, the program itself included. Asked before [`enter`], which leaves `/proc` behind.
pub(super) fn address_space() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    let bytes = pages.and_then(|pages| pages.checked_mul(rustix::param::page_size() as u64));
    bytes.ok_or_else(|| io::Error::other(format!("/proc/self/statm says {text:?}")))
}

fn drop_capabilities(kept: CapabilitySet) -> io::Result<()> {
    for capability in CapabilitySet::all() & !kept {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
