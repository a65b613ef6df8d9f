//! The default system call filter: an allow list for ordinary programs, compiled to the kernel's packet filter language.
//!
//! What is not allowed but known fails with `EPERM`; what the table does not know (newer system calls) fails with
//! `ENOSYS`, so that C libraries fall back to older ones. `clone3` hides its flags from the filter and therefore also
//! reports `ENOSYS`; `clone` may not make namespaces without `CAP_SYS_ADMIN`.
//!
//! libseccomp only translates names to numbers here: its compiler takes some 13 ms for this list, for each container and
//! each exec, where the binary search below takes a fraction of one.

use libseccomp::{ScmpArch, ScmpSyscall};
use skiff_ordered::Ordered as _;
use std::collections::BTreeMap;
use std::io;

/// Always allowed.
const ALLOWED: &str = "
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname
getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl
ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat
lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64
process_mrelease pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat
renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid
setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid
setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid
setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown
sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink
unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
process_vm_readv process_vm_writev arch_prctl modify_ldt sync_file_range2 arm_fadvise64_64 arm_sync_file_range
breakpoint cacheflush set_tls";

/// Allowed with a capability.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_BPF", "bpf"),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ("CAP_PERFMON", "perf_event_open"),
    ("CAP_SYS_ADMIN", SYS_ADMIN),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYSLOG", "syslog"),
];

const SYS_ADMIN: &str = "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr \
    move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 \
    unshare pivot_root swapon swapoff lsm_get_self_attr lsm_set_self_attr lsm_list_modules";

/// Known and refused (with `EPERM`) unless a capability allows it.
const REFUSED: &str = "acct add_key afs_syscall bdflush bpf break chroot clock_settime clock_settime64 create_module \
    delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick ftime get_kernel_syms get_mempolicy getpmsg gtty \
    init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lock \
    lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind migrate_pages mount mount_setattr move_mount \
    move_pages mpx nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname open_by_handle_at open_tree \
    perf_event_open pidfd_getfd pivot_root process_madvise prof profil putpmsg query_module quotactl quotactl_fd \
    readdir reboot request_key security set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday sgetmask sigaction signal \
    sigpending sigsuspend ssetmask stime stty swapoff swapon _sysctl sysfs syslog tuxcall ulimit umount umount2 \
    unshare uselib userfaultfd ustat vhangup vm86 vm86old vserver";

/// Execution domains a program may choose: Linux, 32-bit Linux, both without address randomisation differences, query.
const PERSONALITIES: [u32; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `CLONE_NEW*` of all namespaces.
const NAMESPACE_FLAGS: u32 = 0x7E02_0000;

/// Address family of host-to-guest sockets, which ignores network namespaces.
const AF_VSOCK: u32 = 40;

/// Set in the numbers of the x32 variant of x86_64, which nobody uses.
const X32_BIT: u32 = 0x4000_0000;

/// What happens to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    /// `EPERM`.
    Refuse,
    /// `ENOSYS`.
    Unknown,
    /// Allowed unless the address family is that of virtual machines.
    UnlessVsock,
    /// Allowed for harmless execution domains.
    KnownPersonality,
    /// Allowed unless it makes namespaces.
    WithoutNamespaces,
}

/// One instruction: `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// Low half of the first argument (little endian).
const FIRST_ARGUMENT: u32 = 16;

const RETURN_ALLOW: u32 = 0x7fff_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_KILL_PROCESS: u32 = 0x8000_0000;

/// The filter for a process with these capabilities.
pub(crate) fn default_filter(capabilities: &[String]) -> Vec<Instruction> {
    compile(architectures(), &verdicts(capabilities))
}

/// The filter for a process that needs nothing but these system calls, in their form of 64 bits; all others fail with
/// `ENOSYS`.
pub(crate) fn only(names: &[&'static str]) -> Vec<Instruction> {
    let names = names.iter().flat_map(|names| names.split_whitespace());
    let native = architectures().get(..1).unwrap_or_default();
    compile(native, &names.map(|name| (name, Verdict::Allow)).to_map())
}

fn compile(
    architectures: &[(ScmpArch, u32)],
    verdicts: &BTreeMap<&'static str, Verdict>,
) -> Vec<Instruction> {
    let mut program = vec![step(LOAD, 0, 0, ARCHITECTURE)];
    for (arch, audit) in architectures {
        let mut section = vec![step(LOAD, 0, 0, NUMBER)];
        if *arch == ScmpArch::X8664 {
            section.extend([step(JUMP_AT_LEAST, 0, 1, X32_BIT), give(Verdict::Unknown)]);
        }
        let number = |name: &str| ScmpSyscall::from_name_by_arch(name, *arch).ok();
        let numbered = verdicts.iter().filter_map(|(name, verdict)| {
            // Negative numbers stand for calls this architecture does not have.
            Some((u32::try_from(i32::from(number(name)?)).ok()?, *verdict))
        });
        section.extend(search(&ranges(numbered.to_map())));
        program.push(step(JUMP_EQUAL, 1, 0, *audit));
        program.push(step(JUMP, 0, 0, length(&section)));
        program.extend(section);
    }
    program.push(step(RETURN, 0, 0, RETURN_KILL_PROCESS));
    program
}

/// Puts a filter on this process, for good. Without "no new privileges" it needs `CAP_SYS_ADMIN`.
pub(crate) fn install(filter: &[Instruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads the program, which lives through the call; `Instruction` has the layout of `sock_filter`.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn architectures() -> &'static [(ScmpArch, u32)] {
    // Numbers of <linux/audit.h>.
    match std::env::consts::ARCH {
        "x86_64" => &[(ScmpArch::X8664, 0xC000_003E), (ScmpArch::X86, 0x4000_0003)],
        "aarch64" => &[(ScmpArch::Aarch64, 0xC000_00B7), (ScmpArch::Arm, 0x4000_0028)],
        _ => &[],
    }
}

fn verdicts(capabilities: &[String]) -> BTreeMap<&'static str, Verdict> {
    let mut verdicts: BTreeMap<&str, Verdict> =
        REFUSED.split_whitespace().map(|name| (name, Verdict::Refuse)).to_map();
    verdicts.extend(ALLOWED.split_whitespace().map(|name| (name, Verdict::Allow)));
    verdicts.extend([
        ("socket", Verdict::UnlessVsock),
        ("personality", Verdict::KnownPersonality),
        ("clone", Verdict::WithoutNamespaces),
        ("clone3", Verdict::Unknown),
    ]);
    for (capability, names) in BY_CAPABILITY {
        if capabilities.iter().any(|c| c == capability) {
            verdicts.extend(names.split_whitespace().map(|name| (name, Verdict::Allow)));
        }
    }
    verdicts
}

/// All numbers as (first number, verdict), each up to the next.
fn ranges(numbered: BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let mut ranges = vec![(0, Verdict::Unknown)];
    for (number, verdict) in numbered {
        // The range before ends here; what follows is unknown until the next number says otherwise.
        if ranges.last().is_some_and(|last| last.0 == number) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|last| last.1 != verdict) {
            ranges.push((number, verdict));
        }
        ranges.push((number + 1, Verdict::Unknown));
    }
    ranges.dedup_by_key(|range| range.1);
    ranges
}

/// A binary search for the verdict of the loaded number.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return decide(*verdict);
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let middle = above.first().map_or(0, |range| range.0);
    let below = search(below);
    let mut program = match u8::try_from(below.len()) {
        Ok(over) => vec![step(JUMP_AT_LEAST, over, 0, middle)],
        Err(_far) => vec![step(JUMP_AT_LEAST, 0, 1, middle), step(JUMP, 0, 0, length(&below))],
    };
    program.extend(below);
    program.extend(search(above));
    program
}

fn decide(verdict: Verdict) -> Vec<Instruction> {
    let (allow, refuse) = (give(Verdict::Allow), give(Verdict::Refuse));
    let argument = step(LOAD, 0, 0, FIRST_ARGUMENT);
    match verdict {
        Verdict::Allow | Verdict::Refuse | Verdict::Unknown => vec![give(verdict)],
        Verdict::UnlessVsock => vec![argument, step(JUMP_EQUAL, 0, 1, AF_VSOCK), refuse, allow],
        Verdict::WithoutNamespaces => {
            vec![argument, step(JUMP_ANY_BIT, 0, 1, NAMESPACE_FLAGS), refuse, allow]
        }
        Verdict::KnownPersonality => {
            let tests =
                PERSONALITIES.iter().zip((1..=5u8).rev()).map(|(one, over)| step(JUMP_EQUAL, over, 0, *one));
            std::iter::once(argument).chain(tests).chain([refuse, allow]).collect()
        }
    }
}

fn give(verdict: Verdict) -> Instruction {
    let result = match verdict {
        Verdict::Allow => RETURN_ALLOW,
        Verdict::Unknown => RETURN_ERRNO | libc::ENOSYS.cast_unsigned(),
        _ => RETURN_ERRNO | libc::EPERM.cast_unsigned(),
    };
    step(RETURN, 0, 0, result)
}

fn step(code: u16, if_true: u8, if_false: u8, operand: u32) -> Instruction {
    Instruction { code, if_true, if_false, operand }
}

fn length(program: &[Instruction]) -> u32 {
    // A filter has at most 4096 instructions.
    u32::try_from(program.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter returns for a system call of this machine, by a small machine of our own.
    fn run(filter: &[Instruction], arch: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, operand } = filter[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { if_true } else { if_false });
            match code {
                LOAD => {
                    value = match operand {
                        NUMBER => number,
                        ARCHITECTURE => arch,
                        FIRST_ARGUMENT => argument,
                        other => panic!("load of {other}"),
                    }
                }
                JUMP => at += operand as usize,
                JUMP_EQUAL => at += jump(value == operand),
                JUMP_AT_LEAST => at += jump(value >= operand),
                JUMP_ANY_BIT => at += jump(value & operand != 0),
                RETURN => return operand,
                other => panic!("code {other:#x}"),
            }
        }
    }

    fn check(capabilities: &[&str], name: &str, argument: u32, expected: Verdict) {
        let capabilities: Vec<String> = capabilities.iter().map(|c| (*c).into()).collect();
        let filter = default_filter(&capabilities);
        for (arch, audit) in architectures() {
            let number = i32::from(ScmpSyscall::from_name_by_arch(name, *arch).unwrap());
            if number >= 0 {
                let got = run(&filter, *audit, number.cast_unsigned(), argument);
                assert_eq!(
                    got,
                    give(expected).operand,
                    "{name}({argument:#x}) of {arch:?} with {capabilities:?}"
                );
            }
        }
    }

    #[test]
    fn ordinary_calls_pass_and_others_fail_as_they_should() {
        for name in ["read", "openat", "execve", "futex", "rseq", "exit_group", "mprotect", "ptrace"] {
            check(&[], name, 0, Verdict::Allow);
        }
        for name in ["mount", "bpf", "reboot", "keyctl", "unshare", "io_uring_setup", "init_module", "setns"]
        {
            check(&[], name, 0, Verdict::Refuse);
        }
        check(&[], "clone3", 0, Verdict::Unknown);
        let filter = default_filter(&[]);
        for (_, audit) in architectures() {
            assert_eq!(run(&filter, *audit, 5000, 0), give(Verdict::Unknown).operand);
        }
        assert_eq!(run(&filter, 1, 0, 0), RETURN_KILL_PROCESS);
    }

    #[test]
    fn arguments_decide() {
        check(&[], "socket", 2, Verdict::Allow);
        check(&[], "socket", AF_VSOCK, Verdict::Refuse);
        check(&[], "clone", 0x0121_0000 | 17, Verdict::Allow);
        check(&[], "clone", 0x1000_0000, Verdict::Refuse);
        check(&[], "personality", 0xffff_ffff, Verdict::Allow);
        check(&[], "personality", 0x8, Verdict::Allow);
        check(&[], "personality", 0x400, Verdict::Refuse);
    }

    #[test]
    fn capabilities_widen_the_list() {
        check(&["CAP_SYS_ADMIN"], "mount", 0, Verdict::Allow);
        check(&["CAP_SYS_ADMIN"], "clone3", 0, Verdict::Allow);
        check(&["CAP_SYS_ADMIN"], "clone", 0x1000_0000, Verdict::Allow);
        check(&["CAP_SYS_TIME"], "clock_settime", 0, Verdict::Allow);
        check(&["CAP_SYS_ADMIN"], "io_uring_setup", 0, Verdict::Refuse);
    }

    #[test]
    fn only_what_is_listed_passes() {
        let filter = only(&["read write", "exit_group"]);
        let [(arch, audit), others @ ..] = architectures() else { return };
        let run = |name: &str| {
            let number = i32::from(ScmpSyscall::from_name_by_arch(name, *arch).unwrap());
            run(&filter, *audit, number.cast_unsigned(), 0)
        };
        for name in ["read", "write", "exit_group"] {
            assert_eq!(run(name), RETURN_ALLOW, "{name}");
        }
        for name in ["openat", "socket", "execve", "clone", "ptrace", "mount", "kill"] {
            assert_eq!(run(name), give(Verdict::Unknown).operand, "{name}");
        }
        for (_, audit) in others {
            assert_eq!(super::tests::run(&filter, *audit, 0, 0), RETURN_KILL_PROCESS);
        }
    }

    #[test]
    fn the_filter_fits_the_kernel() {
        assert!(default_filter(&["CAP_SYS_ADMIN".into()]).len() < 1024);
    }
}
