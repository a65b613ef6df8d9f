//! Making a container: runs in a forked child of the supervisor, where libcontainer may change what it likes.

use super::job::{Reporter, failure};
use super::stdio::ContainerSide;
use super::users::Users;
use super::{home, image_mounts, overlay, program, sources, stage};
use crate::cgroup::Cgroups;
use crate::devices;
use crate::ids::{IdRange, ImageId};
use crate::oci::{self, Surroundings};
use crate::paths::{ContainerPaths, PodPaths};
use crate::spec::{ContainerSpec, PodSandbox};
use crate::wire::{Failure, RootfsSource, Stage};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use skiff_rooted::{Follow, Kind, Owner, Root};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Everything a container is made from.
pub(super) struct Plan<'a> {
    pub(super) id: &'a str,
    pub(super) spec: &'a ContainerSpec,
    pub(super) pod: &'a PodPaths,
    /// The pod's user namespace, if it has one.
    pub(super) users: Option<&'a Users>,
    pub(super) paths: &'a ContainerPaths,
    pub(super) rootfs: &'a RootfsSource,
    /// The images that it mounts.
    pub(super) images: &'a BTreeMap<ImageId, RootfsSource>,
    pub(super) around: Surroundings<'a>,
    pub(super) cgroups: &'a Cgroups,
    /// Bit set of the capabilities the runtime itself may hand out.
    pub(super) bounding: u64,
}

/// Mounts the root file system, makes the container, and lets its program go.
pub(super) fn create(plan: &Plan<'_>, stdio: ContainerSide, reporter: Reporter) -> Result<(), Failure> {
    super::detail::report_through(reporter);
    let make = || -> Result<_, Box<dyn Error>> {
        reporter.step("find the sources of mounts");
        let sources = sources::find(plan.spec, plan.users)?;
        reporter.step("mount the root file system");
        if let Some(users) = plan.users {
            check_devices(plan.spec)?;
            make_layer(plan.paths, users.range.first())?;
            stage::enter_mapped(users, plan.pod, plan.paths, plan.rootfs)?;
            // A group of the node's that was left would be one inside, too.
            rustix::thread::set_thread_groups(&[])?;
        }
        mount_rootfs(plan.paths, plan.rootfs).map_err(|error| match plan.users {
            Some(_) => format!("{error} (of layers with other user IDs, which needs Linux 5.19)").into(),
            None => error,
        })?;
        make_mount_points(&plan.paths.rootfs(), plan.owner(0, 0)?)
            .map_err(|error| format!("prepare the root file system: {error}"))?;
        let home = home::find(&plan.paths.rootfs(), plan.spec.user.uid);
        let configuration = oci::configuration(plan.spec, &plan.around, &home);
        fs::write(plan.paths.dir.join("config.json"), serde_json::to_vec(&configuration)?)?;
        super::memory::set_score(plan.spec.oom_score_adj.unwrap_or(0));
        make_cwd(plan)?;
        plan.cgroups.make_container(plan.around.cgroup, &plan.spec.resources)?;
        plan.cgroups.join_other_trees(plan.around.cgroup)?;
        confine_devices(plan)?;
        if plan.users.is_none() {
            stage::enter(plan.paths, plan.directories())?;
        }
        reporter.step("make namespaces and mounts");
        sources
            .attach(plan.around.sources)
            .map_err(|error| format!("attach the sources of mounts: {error}"))?;
        image_mounts::attach(plan.spec, plan.images, plan.around.sources)?;
        build(plan, &home, stdio, reporter)
    };
    let (mut container, console) = make().map_err(|error| failure(Stage::Create, &*error))?;
    let pid = container
        .pid()
        .ok_or(Failure { stage: Stage::Create, reason: "the container has no process".into() })?;
    reporter.process(pid.as_raw());
    if let Some(console) = console {
        let master = console.receive_master().map_err(|error| failure(Stage::Create, &error))?;
        reporter.terminal(std::os::fd::AsFd::as_fd(&master));
    }
    withdraw_devices(plan)
        .and_then(|()| Ok(lock_rootfs(plan)?))
        .map_err(|error| failure(Stage::Create, &*error))?;
    container.start().map_err(|error| failure(Stage::Start, &error))
}

impl Plan<'_> {
    /// What the container is made of besides its own directories.
    fn directories(&self) -> BTreeSet<&Path> {
        // The node's is below `/dev`.
        let shm = Some(self.around.shm).filter(|_| !self.around.sandbox.host_ipc);
        shm.into_iter().chain(self.images.values().map(|image| &*image.directory)).collect()
    }

    /// Whom something of the container's user and group belongs to on the node.
    fn owner(&self, user: u32, group: u32) -> Result<Owner, String> {
        let on_node = |id| on_node(self.around.sandbox, id);
        Ok(Owner { user: Some(on_node(user)?), group: Some(on_node(group)?) })
    }
}

/// The ID on the node of a user or group of a container.
pub(super) fn on_node(sandbox: &PodSandbox, id: u32) -> Result<u32, String> {
    sandbox.on_node(id).ok_or_else(|| {
        format!(
            "user or group {id} is not in the pod's user namespace, which has 0 to {}",
            IdRange::LENGTH - 1
        )
    })
}

/// In a user namespace devices cannot be made, only mounted, and libcontainer looks for each where the container has it.
fn check_devices(spec: &ContainerSpec) -> Result<(), String> {
    let moved = spec.devices.iter().find(|device| device.host_path != device.container_path);
    moved.map_or(Ok(()), |device| {
        let (host, own) = (device.host_path.display(), device.container_path.display());
        Err(format!("device {host} cannot be {own} in a user namespace, only at its own path"))
    })
}

/// Makes the writable layer's directory for a pod whose root has this ID on the node. Files in it have IDs of the node: it
/// goes with the container, and the kernel itself makes files in it as the node's root, whom no mapped mount knows.
fn make_layer(paths: &ContainerPaths, root: u32) -> Result<(), String> {
    let upper = paths.upper();
    let (user, group) = (rustix::fs::Uid::from_raw(root), rustix::fs::Gid::from_raw(root));
    fs::create_dir_all(&upper)
        .and_then(|()| Ok(rustix::fs::chown(&upper, Some(user), Some(group))?))
        .map_err(|error| format!("create {}: {error}", upper.display()))
}

fn build(
    plan: &Plan<'_>,
    home: &str,
    stdio: ContainerSide,
    reporter: Reporter,
) -> Result<(libcontainer::container::Container, Option<Console>), Box<dyn Error>> {
    let mut env = oci::environment(plan.spec, plan.around.sandbox);
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    let executor = Program { reporter, env, spec: plan.spec.clone(), bounding: plan.bounding };
    let mut builder = ContainerBuilder::new(plan.id.to_owned(), SyscallType::default())
        .with_root_path(plan.paths.dir.join("oci"))?
        .with_executor(executor);
    let mut console = None;
    match stdio {
        ContainerSide::Terminal => {
            console = Some(Console::listen(&plan.paths.dir)?);
            builder = builder.with_console_socket(Some(plan.paths.dir.join(Console::NAME)));
        }
        ContainerSide::Streams { stdin, stdout, stderr } => {
            builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
        }
    }
    let container =
        builder.as_init(&plan.paths.dir).with_systemd(false).with_detach(true).as_sibling(true).build()?;
    Ok((container, console))
}

/// Overlays a writable layer over the image's.
fn mount_rootfs(paths: &ContainerPaths, source: &RootfsSource) -> Result<(), Box<dyn Error>> {
    let make = |path: PathBuf| {
        fs::create_dir_all(&path)
            .map(|()| path.clone())
            .map_err(|e| format!("create {}: {e}", path.display()))
    };
    let (upper, work, target) = (make(paths.upper())?, make(paths.work())?, make(paths.rootfs())?);
    let layers = overlay::open(source)?;
    overlay::writable(&target, &layers, &upper, &work)
        .map_err(|error| format!("mount root file system of {} layers: {error}", source.layers.len()))?;
    Ok(())
}

/// Makes sure that the directories of devices, processes and the kernel are directories. Before it enters the container,
/// libcontainer makes and removes things in `<root>/dev` by path: an image in which that is a link would have it work in a
/// directory of the host.
fn make_mount_points(rootfs: &Path, owner: Owner) -> io::Result<()> {
    let root = Root::open(rootfs)?;
    for name in ["dev", "proc", "sys"] {
        match root.find(name, Follow::Nothing) {
            Ok(found) if found.kind() == Kind::Directory => {}
            Ok(_) => {
                root.remove_file(name)?;
                drop(root.make_directory(name, 0o755, owner)?);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                drop(root.make_directory(name, 0o755, owner)?);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The working directory is made when the image lacks it, owned by the container's user, without leaving the root file system.
fn make_cwd(plan: &Plan<'_>) -> Result<(), Box<dyn Error>> {
    if matches!(plan.spec.cwd.as_str(), "" | "/") {
        return Ok(());
    }
    let mounted = |m: &crate::spec::Mount| Path::new(&plan.spec.cwd).starts_with(&m.destination);
    if !plan.spec.mounts.iter().any(mounted) {
        let owner = plan.owner(plan.spec.user.uid, plan.spec.user.gid)?;
        let root = Root::open(plan.paths.rootfs())?;
        drop(root.ensure_directories(&plan.spec.cwd, Follow::InRoot, 0o755, owner)?);
    }
    Ok(())
}

/// On v2 a program in the kernel guards devices; on v1 libcontainer writes the list of the devices controller, of which
/// [`withdraw_devices`] takes away again what containers have no use for.
fn confine_devices(plan: &Plan<'_>) -> Result<(), Box<dyn Error>> {
    if plan.spec.privileged {
        return Ok(());
    }
    if let Some(group) = plan.cgroups.unified_group(plan.around.cgroup) {
        devices::confine(&group, plan.around.devices).map_err(|error| format!("confine devices: {error}"))?;
    }
    Ok(())
}

/// libcontainer also allows network tunnels, as runc did until 1.2.
fn withdraw_devices(plan: &Plan<'_>) -> Result<(), Box<dyn Error>> {
    const TUNNELS: (u32, u32) = (10, 200);
    let asked_for = plan.around.devices.iter().any(|node| (node.major, node.minor) == TUNNELS);
    if !plan.spec.privileged && !asked_for {
        plan.cgroups.deny_device(plan.around.cgroup, &format!("c {}:{} rwm", TUNNELS.0, TUNNELS.1))?;
    }
    Ok(())
}

/// In a user namespace the container's mount of a read-only root file system is its own, and its administrator's to make
/// writable. The file system itself is the node's: it is made read-only when everything in it is made.
fn lock_rootfs(plan: &Plan<'_>) -> Result<(), String> {
    if plan.users.is_none() || !plan.spec.rootfs_readonly {
        return Ok(());
    }
    let locked = rustix::mount::mount_remount(plan.paths.rootfs(), rustix::mount::MountFlags::RDONLY, c"");
    locked.map_err(|error| format!("make the root file system read-only: {error}"))
}

/// Receives the master of the container's terminal.
struct Console {
    listener: OwnedFd,
}

impl Console {
    const NAME: &str = "console.sock";

    /// Listens in the container's directory, entered so that the path is short enough for a socket address.
    fn listen(directory: &Path) -> io::Result<Self> {
        std::env::set_current_dir(directory)?;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(Self::NAME)?)?;
        rustix::net::listen(&listener, 1)?;
        std::env::set_current_dir("/")?;
        Ok(Self { listener })
    }

    fn receive_master(&self) -> io::Result<OwnedFd> {
        let connection = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC)?;
        let (mut bytes, mut fds) = ([0; 64], Vec::new());
        crate::wire::receive_with_fds(&connection, &mut bytes, &mut fds)?;
        fds.pop().ok_or_else(|| io::Error::other("the container sent no terminal"))
    }
}

/// Runs the container's program and reports precisely why it could not.
#[derive(Clone)]
struct Program {
    reporter: Reporter,
    env: Vec<String>,
    spec: ContainerSpec,
    bounding: u64,
}

impl Executor for Program {
    /// Checked when it is executed, as the container's user.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    /// The environment is given at exec.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        if let Err(error) = super::restrict::restrict(&self.spec, self.bounding) {
            let failure = failure(Stage::Create, &*error);
            self.reporter.failed(Stage::Create, failure.reason.clone());
            return Err(ExecutorError::Other(failure.reason));
        }
        self.reporter.step("run the program");
        let cwd = spec.process().as_ref().map(|p| p.cwd().clone()).unwrap_or_default();
        let found = match self.spec.args.first() {
            Some(name) => program::find(name, &cwd, &self.env),
            None => Err("no command specified".into()),
        };
        let reason = match found {
            Ok(_) if !self.reporter.may_run() => "the supervisor has ended".into(),
            Ok(path) => program::execute(&path, &self.spec.args, &self.env),
            Err(reason) => reason,
        };
        self.reporter.failed(Stage::Start, reason.clone());
        Err(ExecutorError::Other(reason))
    }
}
