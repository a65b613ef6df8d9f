//! Running a command inside a container: a forked child joins the container's groups and namespaces and makes the
//! process, which becomes a child of the supervisor, takes on the container's restrictions and executes the command.

use super::job::{Reporter, failure};
use super::{home, program, redirect, restrict, users};
use crate::oci;
use crate::spec::{ContainerSpec, ExecSpec, PodSandbox, TerminalSize};
use crate::wire::{Failure, Stage};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::process::{Pid, PidfdFlags};
use rustix::pty::OpenptFlags;
use rustix::thread::ThreadNameSpaceType;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What to run, and where.
pub(super) struct Plan<'a> {
    /// First process of the container.
    pub(super) init: i32,
    /// The command's user and group as the node knows them.
    pub(super) owner: (u32, u32),
    pub(super) container: &'a ContainerSpec,
    pub(super) sandbox: &'a PodSandbox,
    pub(super) exec: &'a ExecSpec,
    /// Groups to join.
    pub(super) cgroups: &'a crate::cgroup::Cgroups,
    pub(super) cgroup: &'a str,
    /// Bit set of the capabilities the runtime may hand out.
    pub(super) bounding: u64,
    /// The command's streams as far as wanted; none with a terminal.
    pub(super) stdio: [Option<OwnedFd>; 3],
}

/// Runs in the job's child.
pub(super) fn exec(plan: &Plan<'_>, reporter: Reporter) -> Result<(), Failure> {
    reporter.step("enter the container");
    let join = || -> Result<(), Box<dyn Error>> {
        super::memory::set_score(plan.container.oom_score_adj.unwrap_or(0));
        plan.cgroups.join(plan.cgroup)?;
        give_streams(plan)?;
        let own_users = plan.sandbox.users.is_some();
        enter_namespaces(plan.init, own_users)
            .map_err(|error| format!("enter the container's namespaces: {error}"))?;
        Ok(())
    };
    join().map_err(|error| failure(Stage::Create, &*error))?;
    // SAFETY: one thread. Like fork, but the new process is a child of the supervisor, and in the container's process
    // namespace.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
    match pid {
        -1 => Err(failure(Stage::Create, &io::Error::last_os_error())),
        0 => {
            let failed = become_command(plan, reporter);
            reporter.failed(failed.stage, failed.reason);
            // SAFETY: ends this process without running destructors of the supervisor.
            unsafe { libc::_exit(127) }
        }
        pid => {
            reporter.process(i32::try_from(pid).unwrap_or_default());
            Ok(())
        }
    }
}

/// The user owns its pipes, so that it may open `/dev/stdout` by name.
fn give_streams(plan: &Plan<'_>) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(plan.owner.0), Gid::from_raw(plan.owner.1));
    for stream in plan.stdio.iter().flatten() {
        rustix::fs::fchown(stream, Some(user), Some(group))?;
    }
    Ok(())
}

fn enter_namespaces(init: i32, own_users: bool) -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let init = Pid::from_raw(init).ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = rustix::process::pidfd_open(init, PidfdFlags::empty())?;
    let mut all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    all.set(ThreadNameSpaceType::USER, own_users);
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), all)?;
    // Before there is a process that others in the container see: as the node's root it would be nobody there.
    if own_users { users::become_root() } else { Ok(()) }
}

/// Returns only if the command could not be executed.
fn become_command(plan: &Plan<'_>, reporter: Reporter) -> Failure {
    let user = &plan.container.user;
    let prepared = (|| -> Result<_, Box<dyn Error>> {
        rustix::process::setsid()?;
        if plan.exec.tty {
            open_terminal(plan, reporter)
                .map_err(|error| format!("open a terminal in the container: {error}"))?;
        } else {
            connect_streams(plan)?;
        }
        close_on_exec_from(3)?;
        let env = environment(plan);
        let cwd = if plan.container.cwd.is_empty() { "/" } else { plan.container.cwd.as_str() };
        rustix::process::chdir(cwd).map_err(|error| format!("working directory {cwd}: {error}"))?;
        restrict(plan)?;
        Ok((env, cwd))
    })();
    let (env, cwd) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            let mut failed = failure(Stage::Create, &*error);
            failed.reason = format!("prepare user {}: {}", user.uid, failed.reason);
            return failed;
        }
    };
    reporter.step("run the program");
    let name = plan.exec.args.first().map(String::as_str).unwrap_or_default();
    let reason = match program::find(name, Path::new(cwd), &env) {
        Ok(path) => program::execute(&path, &plan.exec.args, &env),
        Err(reason) => reason,
    };
    Failure { stage: Stage::Start, reason }
}

/// Makes a terminal in the container's own `/dev/pts` and hands its master over.
fn open_terminal(plan: &Plan<'_>, reporter: Reporter) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty())?;
    let status = rustix::fs::fstat(&master)?;
    if (rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev)) != (5, 2) {
        return Err(io::Error::other("/dev/ptmx of the container is not the terminal multiplexer"));
    }
    rustix::pty::unlockpt(&master)?;
    let open = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, open)?;
    let user = &plan.container.user;
    rustix::fs::fchown(&slave, Some(Uid::from_raw(user.uid)), None)?;
    if let Some(TerminalSize { width, height }) = plan.exec.size {
        let size = rustix::termios::Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size)?;
    }
    reporter.terminal(master.as_fd());
    rustix::process::ioctl_tiocsctty(&slave)?;
    for target in 0..3 {
        redirect(slave.as_fd(), target)?;
    }
    Ok(())
}

fn connect_streams(plan: &Plan<'_>) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for (target, stream) in (0..).zip(&plan.stdio) {
        let Some(stream) = stream else {
            redirect(null.as_fd(), target)?;
            continue;
        };
        redirect(stream.as_fd(), target)?;
    }
    Ok(())
}

fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only sets a flag on descriptors.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Takes on user, groups, filter and capabilities of the container, in the order the kernel demands.
fn restrict(plan: &Plan<'_>) -> Result<(), Box<dyn Error>> {
    let spec = plan.container;
    let groups: Vec<_> = spec.user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    if spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    let (uid, gid) = (Uid::from_raw(spec.user.uid), Gid::from_raw(spec.user.gid));
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_keep_capabilities(false)?;
    restrict::restrict(spec, plan.bounding)
}

/// The container's environment, overridden by the command's own.
fn environment(plan: &Plan<'_>) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env = oci::environment(plan.container, plan.sandbox);
    env.retain(|entry| !plan.exec.env.iter().any(|own| name(own) == name(entry)));
    env.extend(plan.exec.env.iter().cloned());
    let lacks = |env: &[String], key: &str| !env.iter().any(|e| name(e) == key);
    if plan.exec.tty && lacks(&env, "TERM") {
        env.push("TERM=xterm".into());
    }
    if lacks(&env, "HOME") {
        // In the container's namespaces already.
        env.push(format!("HOME={}", home::find(Path::new("/"), plan.container.user.uid)));
    }
    env
}
