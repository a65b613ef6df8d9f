//! Volumes in files on the real kernel, in mount namespaces of their own.

use super::*;
use crate::container::references::Sources;
use crate::node::disk::Room;
use crate::pod::local::LocalPod;
use crate::pod::testing::pod;
use crate::volumes::content::ContentContext;
use crate::volumes::mounts::{Volumes, volume_devices};
use crate::volumes::setup::{self, SetUpError};
use crate::volumes::{Remark, Volume as _, VolumeError};
use skiff_rooted::{LoopDevice, Root};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// A node with one volume.
struct Node {
    directory: tempfile::TempDir,
    volumes: NodeVolumes,
    volume: ClaimVolume,
}

impl Node {
    fn new(bytes: u64, block: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        crate::directory::prepare(directory.path()).unwrap();
        let volumes = NodeVolumes::new(directory.path(), Default::default());
        let path = image::make(&volumes, "pv", bytes, block).unwrap();
        let (source, options) = (Source::Image { path }, Vec::new());
        let volume = ClaimVolume { volume: "pv".into(), source, block, readonly: false, options };
        Self { directory, volumes, volume }
    }

    /// Another agent on the same machine.
    fn restarted(self) -> Self {
        let volumes = NodeVolumes::new(self.directory.path(), Default::default());
        Self { volumes, ..self }
    }

    fn paths(&self, uid: &str) -> PodPaths {
        PodPaths::new(self.directory.path(), &skiff_runtime::PodUid::new(uid).unwrap())
    }

    fn set_up(&self, uid: &str, context: &str) -> Result<Vec<Remark>, SetUpError> {
        let pod = claimant(uid, context);
        let (sources, tokens, allocatable) = (Sources::default(), Default::default(), Default::default());
        let context = ContentContext {
            pod: &pod,
            sources: &sources,
            tokens: &tokens,
            allocatable: &allocatable,
            users: None,
        };
        let claims = [("v".to_owned(), self.volume.clone())].into_iter().collect();
        setup::set_up(&self.paths(uid), &context, &claims, &self.volumes)
    }

    fn tear_down(&self, uid: &str) {
        setup::tear_down(&self.paths(uid), &self.volumes).unwrap();
    }

    fn staged(&self) -> PathBuf {
        self.volumes.staged("pv")
    }

    fn device(&self) -> Option<LoopDevice> {
        let own = Root::open(self.volumes.made_path("pv")).unwrap();
        LoopDevice::of(&own.edit(image::FILE).unwrap()).unwrap()
    }

    /// Whether nothing of it is left in the kernel.
    fn is_clean(&self) -> bool {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        !mounts.contains(&self.directory.path().display().to_string()) && self.device().is_none()
    }
}

/// A pod that has the volume.
fn claimant(uid: &str, context: &str) -> LocalPod {
    pod(&format!(
        r#"{{"metadata": {{"name": "p", "namespace": "ns", "uid": "{uid}"}}, "spec": {{
            "securityContext": {{{context}}},
            "containers": [{{"name": "c", "volumeDevices": [{{"name": "v", "devicePath": "/dev/x"}}]}}],
            "volumes": [{{"name": "v", "persistentVolumeClaim": {{"claimName": "c"}}}}]}}}}"#
    ))
}

/// Runs where mounts are the test's own, on machines that have block devices for files.
fn with_own_mounts(work: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        return println!("skipped: needs root and loop devices");
    }
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        use rustix::mount::MountPropagationFlags as Flags;
        rustix::mount::mount_change("/", Flags::PRIVATE | Flags::REC).unwrap();
        work();
    });
    thread.join().unwrap();
}

/// Whether this process may let a mounted file system grow: a container may lack `CAP_SYS_RESOURCE`.
fn may_grow_mounted() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & (1 << 24) != 0
}

#[test]
fn a_volume_is_mounted_as_long_as_a_pod_has_it() {
    with_own_mounts(|| {
        let node = Node::new(16 * MIB, false);
        assert!(node.is_clean());
        node.set_up("a", "").unwrap();
        assert_eq!(fs::read_dir(node.staged()).unwrap().count(), 0, "it begins empty");
        assert_eq!(fs::metadata(node.staged()).unwrap().mode() & 0o7777, 0o777);
        fs::write(node.staged().join("data"), "of a").unwrap();
        node.set_up("b", "").unwrap();
        node.set_up("b", "").unwrap();
        node.tear_down("a");
        assert_eq!(fs::read_to_string(node.staged().join("data")).unwrap(), "of a", "b has it");
        let full = fs::write(node.staged().join("big"), vec![1; 20 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        node.tear_down("b");
        assert!(node.is_clean());
        node.tear_down("b");
        node.set_up("c", "").unwrap();
        assert_eq!(fs::read_to_string(node.staged().join("data")).unwrap(), "of a");
        // The agent ends without a word; the next one knows by what it wrote down.
        let node = node.restarted();
        node.set_up("c", "").unwrap();
        setup::remove_pod_files(&node.paths("c"), &node.volumes).unwrap();
        assert!(node.is_clean());
    });
}

#[test]
fn a_volume_grows_while_it_is_used() {
    with_own_mounts(|| {
        let node = Node::new(16 * MIB, false);
        let bound = Bound { volume: &node.volume, node: &node.volumes };
        let bytes = || Room::at(&node.staged()).unwrap().bytes;
        node.set_up("a", "").unwrap();
        let before = bytes();
        fs::write(node.staged().join("kept"), "kept").unwrap();
        let grown = bound.expand(64 * MIB);
        if may_grow_mounted() {
            grown.unwrap();
            assert!(before < 16 * MIB && bytes() > 48 * MIB, "{before} {}", bytes());
        } else {
            assert!(matches!(grown, Err(VolumeError::Program { program: "resize2fs", .. })), "{grown:?}");
            assert_eq!(bytes(), before);
        }
        // What could not be done then is done before the next pod has it.
        node.tear_down("a");
        node.set_up("b", "").unwrap();
        assert!(bytes() > 48 * MIB, "{}", bytes());
        bound.expand(64 * MIB).unwrap();
        bound.expand(32 * MIB).unwrap();
        assert!(bytes() > 48 * MIB, "it never shrinks");
        assert_eq!(fs::read_to_string(node.staged().join("kept")).unwrap(), "kept");
        let measure = bound.stats(&crate::volumes::Place::new(&node.paths("b"), "v")).unwrap().unwrap();
        assert!(measure.own && measure.room.bytes == bytes());
        node.tear_down("b");
        bound.expand(96 * MIB).unwrap();
        node.set_up("c", "").unwrap();
        assert!(bytes() > 80 * MIB, "it grew while no pod had it");
        node.tear_down("c");
        assert!(node.is_clean());
    });
}

/// `/dev` as containers and machines without udev have it.
#[test]
fn nodes_of_devices_are_made_where_nobody_else_does() {
    with_own_mounts(|| {
        use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
        let node = Node::new(16 * MIB, false);
        rustix::mount::mount("none", "/dev", "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        for (path, minor) in [("/dev/random", 8), ("/dev/urandom", 9)] {
            let readable = Mode::from_raw_mode(0o444);
            mknodat(CWD, path, FileType::CharacterDevice, readable, makedev(1, minor)).unwrap();
        }
        node.set_up("a", "").unwrap();
        assert!(node.device().unwrap().path().exists());
        node.tear_down("a");
        assert!(node.is_clean());
    });
}

/// Whether somebody waits for the lock of a file.
fn is_waited_for(file: &fs::File) -> bool {
    let inode = format!(":{} ", file.metadata().unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("->") && line.contains(&inode))
}

/// An agent is killed while it makes a volume, or lets one grow, and the program that it has started goes on.
#[test]
fn nobody_works_on_a_volume_together_with_what_a_killed_agent_left() {
    with_own_mounts(|| {
        let directory = tempfile::tempdir().unwrap();
        crate::directory::prepare(directory.path()).unwrap();
        let volumes = NodeVolumes::new(directory.path(), Default::default());
        let held = |name: &str, work: &(dyn Fn() + Sync)| {
            let own = volumes.made().unwrap().ensure_directory("pv", 0o700, skiff_rooted::Owner::AS_MADE);
            let path = volumes.made_path("pv").join(name);
            drop(own.unwrap());
            let file = fs::File::options().create(true).append(true).open(path).unwrap();
            file.lock().unwrap();
            std::thread::scope(|scope| {
                let next = scope.spawn(work);
                while !is_waited_for(&file) {
                    assert!(!next.is_finished(), "it does not wait for {name}");
                    std::thread::yield_now();
                }
                drop(file);
                next.join().unwrap();
            });
        };
        held("new", &|| drop(image::make(&volumes, "pv", 16 * MIB, false).unwrap()));
        let own = volumes.made_path("pv");
        assert!(!own.join("new").exists());
        let source = Source::Image { path: own.join(image::FILE) };
        let (volume, options) = ("pv".to_owned(), Vec::new());
        let volume = ClaimVolume { volume, source, block: false, readonly: false, options };
        let bound = Bound { volume: &volume, node: &volumes };
        held(image::FILE, &|| bound.expand(32 * MIB).unwrap());
        held(image::FILE, &|| bound.stage().unwrap());
        assert!(Room::at(&volumes.staged("pv")).unwrap().bytes > 24 * MIB);
        bound.unstage().unwrap();
    });
}

#[test]
fn a_device_is_there_as_long_as_a_pod_has_it() {
    with_own_mounts(|| {
        let node = Node::new(8 * MIB, true);
        node.set_up("a", r#""fsGroup": 7"#).unwrap();
        let (paths, pod) = (node.paths("a"), claimant("a", ""));
        let claims = Claims::load(&paths).unwrap();
        let volumes =
            Volumes { paths: &paths, claims: &claims, node: &node.volumes, images: &Default::default() };
        let devices = volume_devices(&pod.containers[0], &volumes).unwrap();
        assert_eq!(devices[0].container_path, Path::new("/dev/x"));
        assert_eq!(Some(&devices[0].host_path), node.device().map(|device| device.path()).as_ref());
        let size = || {
            fs::read_to_string(format!(
                "/sys/block/{}/size",
                devices[0].host_path.file_name().unwrap().display()
            ))
            .unwrap()
        };
        assert_eq!(size().trim(), (8 * MIB / 512).to_string());
        Bound { volume: &node.volume, node: &node.volumes }.expand(12 * MIB).unwrap();
        assert_eq!(size().trim(), (12 * MIB / 512).to_string());
        let node = node.restarted();
        node.tear_down("a");
        assert!(node.is_clean());
    });
}

#[test]
fn a_volume_is_the_pods_groups() {
    with_own_mounts(|| {
        let node = Node::new(16 * MIB, false);
        assert_eq!(node.set_up("a", r#""fsGroup": 7"#).unwrap(), []);
        let top = fs::metadata(node.staged()).unwrap();
        assert_eq!((top.gid(), top.mode() & 0o7777), (7, 0o2777));
        // Another pod with another group: the files stay as they are, and it is told.
        let told = node.set_up("b", r#""fsGroup": 8"#).unwrap();
        assert_eq!(told[0].reason, "AlreadyMountedVolume");
        assert_eq!(fs::metadata(node.staged()).unwrap().gid(), 7);
        node.tear_down("a");
        node.tear_down("b");
        assert!(node.is_clean());
    });
}

#[test]
fn directories_are_mounted_only_for_their_options() {
    with_own_mounts(|| {
        let mut node = Node::new(MIB, true);
        let path = node.directory.path().join("local");
        fs::create_dir(&path).unwrap();
        let of = |path: &Path, options: &[&str]| ClaimVolume {
            volume: "pv".into(),
            source: Source::Local { path: path.display().to_string(), fs_type: None },
            block: false,
            readonly: false,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        node.volume = of(&path, &[]);
        node.set_up("a", "").unwrap();
        assert!(node.is_clean());
        node.tear_down("a");
        node.volume = of(&path, &["ro"]);
        node.set_up("a", "").unwrap();
        assert!(fs::write(node.staged().join("x"), "").is_err() && fs::write(path.join("x"), "").is_ok());
        node.tear_down("a");
        assert!(node.is_clean() && path.join("x").exists(), "what is the host's stays");
        node.volume = of(&path, &["commit=5"]);
        let refused = node.set_up("a", "").unwrap_err().to_string();
        assert!(refused.contains("mount option \"commit=5\" is not supported"), "{refused}");
        node.volume = of(&path.join("absent"), &[]);
        let refused = node.set_up("a", "").unwrap_err();
        assert!(matches!(refused, SetUpError::Stage { source: VolumeError::NoPath { .. }, .. }), "{refused}");
        node.tear_down("a");
        assert!(node.is_clean());
    });
}
