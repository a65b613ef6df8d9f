//! The default system call filter: an allow list for ordinary programs.
//!
//! What is not allowed but known fails with `EPERM`; what the table does not know (newer system calls) fails with
//! `ENOSYS`, so that C libraries fall back to older ones. `clone3` hides its flags from the filter and therefore also
//! reports `ENOSYS`; `clone` may not make namespaces without `CAP_SYS_ADMIN`.

use serde_json::{Value, json};

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

/// Allowed with a capability: `fork`-like and `socket` rules with arguments are added in [`default_profile`].
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

const SYS_ADMIN: &str = "bpf clone fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr \
    move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 \
    unshare pivot_root swapon swapoff lsm_get_self_attr lsm_set_self_attr lsm_list_modules";

/// Known and refused (with `EPERM`) unless a capability allows it.
const REFUSED: &str = "acct add_key afs_syscall bdflush bpf break chroot clock_settime clock_settime64 create_module \
    delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick ftime get_kernel_syms get_mempolicy getpmsg gtty \
    init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lock \
    lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind migrate_pages mount mount_setattr move_mount \
    move_pages mpx nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname open_by_handle_at open_tree \
    perf_event_open personality pidfd_getfd pivot_root process_madvise prof profil putpmsg query_module quotactl quotactl_fd \
    readdir reboot request_key security set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday sgetmask sigaction signal \
    sigpending sigsuspend ssetmask stime stty swapoff swapon _sysctl sysfs syslog tuxcall ulimit umount umount2 \
    unshare uselib userfaultfd ustat vhangup vm86 vm86old vserver socket";

/// Execution domains a program may choose: Linux, 32-bit Linux, both without address randomisation differences, query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `CLONE_NEW*` of all namespaces.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;

/// Address family of host-to-guest sockets, which ignores network namespaces.
const AF_VSOCK: u64 = 40;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The filter for a process with these capabilities, in OCI form.
pub(crate) fn default_profile(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|c| c == name);
    let mut allowed: Vec<&str> = ALLOWED.split_whitespace().collect();
    for (capability, names) in BY_CAPABILITY {
        if has(capability) {
            allowed.extend(names.split_whitespace());
        }
    }
    allowed.sort_unstable();
    allowed.dedup();
    let refused: Vec<&str> = REFUSED
        .split_whitespace()
        .filter(|n| !allowed.contains(n) && !matches!(*n, "personality" | "socket"))
        .collect();
    let mut rules = vec![
        json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"}]}),
    ];
    rules.extend(PERSONALITIES.map(|value| {
        json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
    }));
    if has("CAP_SYS_ADMIN") {
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ALLOW"}));
    } else {
        rules.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn architectures() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &["SCMP_ARCH_NATIVE"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(capabilities: &[&str], name: &str) -> bool {
        let capabilities: Vec<String> = capabilities.iter().map(|c| (*c).into()).collect();
        let profile = default_profile(&capabilities);
        profile["syscalls"].as_array().unwrap().iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW" && rule["names"].as_array().unwrap().iter().any(|n| n == name)
        })
    }

    #[test]
    fn capabilities_widen_the_list() {
        assert!(allows(&[], "openat") && allows(&[], "socket"));
        assert!(!allows(&[], "mount") && allows(&["CAP_SYS_ADMIN"], "mount"));
        assert!(!allows(&[], "clone3") && allows(&["CAP_SYS_ADMIN"], "clone3"));
        assert!(!allows(&["CAP_SYS_ADMIN"], "io_uring_setup"));
    }

    #[test]
    fn nothing_is_both_allowed_and_refused_without_arguments() {
        for capabilities in [vec![], vec!["CAP_SYS_ADMIN".to_owned()]] {
            let profile = default_profile(&capabilities);
            let names = |i: usize| profile["syscalls"][i]["names"].as_array().unwrap().clone();
            assert!(names(0).iter().all(|n| !names(1).contains(n)));
        }
    }
}
