//! Starts that hang in the kernel, on this machine's kernel, as root: a file system whose server never answers.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Machine, PATIENCE, supervisors_of};
use rustix::mount::{MountFlags, UnmountFlags};
use skiff_runtime::{
    ContainerSpec, ExecSpec, FileIds, Mount, MountKind, PodHandle, Propagation, Runtime, RuntimeError,
};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The bound of a start here: long enough for one that does not hang, on a machine with other work.
const LIMIT: Duration = Duration::from_secs(5);

/// A file system that answers nothing, as one does whose server is gone. Whoever looks for a file in it waits.
struct Silent {
    at: PathBuf,
    _server: File,
}

impl Silent {
    /// None, with the reason printed, where there is no FUSE.
    fn mount(at: PathBuf) -> Option<Self> {
        let server = match File::options().read(true).write(true).open("/dev/fuse") {
            Ok(server) => server,
            Err(error) => {
                println!("skipped: /dev/fuse: {error}");
                return None;
            }
        };
        std::fs::create_dir(&at).unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = CString::new(options).unwrap();
        rustix::mount::mount("silent", &at, "fuse", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        Some(Self { at, _server: server })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.at, UnmountFlags::DETACH).unwrap();
    }
}

fn hasty(machine: &Machine) -> Runtime {
    machine.with_start_limit(LIMIT)
}

/// A container with a volume on the silent file system.
async fn hanging(machine: &Machine, pod: &PodHandle, silent: &Silent) -> ContainerSpec {
    let mut spec = machine.shell(pod, "hangs", "exec sleep 1000").await;
    let kind = MountKind::Bind {
        source: silent.at.clone(),
        below: "volume".into(),
        expected: None,
        ids: FileIds::Container,
    };
    spec.mounts.push(Mount {
        kind,
        destination: "/volume".into(),
        readonly: true,
        recursive: false,
        propagation: Propagation::Private,
    });
    spec
}

fn assert_hung(refused: RuntimeError) {
    match refused {
        RuntimeError::Hung { container, reason, .. } => {
            assert_eq!(container, "hangs");
            assert_eq!(reason, "context deadline exceeded: find the sources of mounts");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_start_that_hangs_is_given_up_and_its_supervisor_serves_on() {
    let Some(machine) = Machine::new().await else { return };
    let Some(silent) = Silent::mount(machine.directory.path().join("silent")) else { return };
    let runtime = hasty(&machine);
    let pod = runtime.start_pod(machine.sandbox("hung")).await.unwrap();
    let first = pod.start_container(machine.shell(&pod, "c", "exec sleep 1000").await).await.unwrap();

    let spec = hanging(&machine, &pod, &silent).await;
    let mut start = std::pin::pin!(pod.start_container(spec));
    let hostname = ExecSpec { args: vec!["hostname".into()], ..ExecSpec::default() };
    tokio::select! {
        biased;
        started = &mut start => panic!("{started:?}"),
        output = pod.exec_captured(&first, hostname.args, PATIENCE, 100) => {
            assert_eq!(output.unwrap().output, b"hung\n");
        }
    }
    assert_hung(tokio::time::timeout(PATIENCE, start).await.expect("it is given up").unwrap_err());

    let left: Vec<_> = pod.state().await.containers.into_iter().map(|c| c.id).collect();
    assert_eq!(left, [first], "nothing of it is left");
    let next = machine.shell(&pod, "next", "exec sleep 1000").await;
    pod.start_container(next).await.expect("others start");
    drop(silent);
    machine.finish().await;
}

#[tokio::test]
async fn a_start_that_not_even_a_kill_ends_is_given_up_too() {
    let Some(machine) = Machine::new().await else { return };
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    if !freezer.join("cgroup.procs").exists() {
        return println!("skipped: only the freezer of cgroup v1 holds processes that are killed");
    }
    let Some(silent) = Silent::mount(machine.directory.path().join("silent")) else { return };
    let runtime = hasty(&machine);
    let pod = runtime.start_pod(machine.sandbox("frozen")).await.unwrap();
    let supervisor = supervisors_of(machine.directory.path());
    let spec = hanging(&machine, &pod, &silent).await;
    let mut start = std::pin::pin!(pod.start_container(spec));
    let mut watch = pod.watch();
    tokio::select! {
        biased;
        started = &mut start => panic!("{started:?}"),
        begun = watch.wait_for(|state| !state.containers.is_empty()) => drop(begun.unwrap()),
    }
    let group = freezer.join(format!("{}-frozen", machine.cgroup));
    std::fs::create_dir(&group).unwrap();
    // What the supervisor forked to do the work still has its command line.
    let all = supervisors_of(machine.directory.path());
    let [job] = all.iter().filter(|pid| !supervisor.contains(pid)).collect::<Vec<_>>()[..] else {
        panic!("one job: {all:?}")
    };
    std::fs::write(group.join("cgroup.procs"), job.to_string()).unwrap();
    std::fs::write(group.join("freezer.state"), "FROZEN").unwrap();

    let refused = tokio::time::timeout(PATIENCE, start).await;
    let state = pod.state().await;
    std::fs::write(group.join("freezer.state"), "THAWED").unwrap();
    assert_hung(refused.expect("it is given up").unwrap_err());
    assert!(state.supervised && state.containers.is_empty(), "{state:?}");
    drop(silent);
    machine.finish().await;
    std::fs::remove_dir(group).unwrap();
}
