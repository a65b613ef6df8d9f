//! What somebody who can write a directory may try against whoever works in it as root.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rustix::fs::{CWD, FileType, Mode, RenameFlags};
use skiff_rooted::{Detached, Follow, Handle, Kind, Owner, Root, Spread};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory to work in, and one beside it that nothing may touch.
struct Place {
    directory: tempfile::TempDir,
    root: Root,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("volume")).unwrap();
        fs::create_dir(directory.path().join("host")).unwrap();
        fs::write(directory.path().join("host/secret"), "secret").unwrap();
        let root = Root::open(directory.path().join("volume")).unwrap();
        Self { directory, root }
    }

    fn volume(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    fn host(&self) -> PathBuf {
        self.directory.path().join("host")
    }

    fn assert_host_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(self.host()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read_to_string(self.host().join("secret")).unwrap(), "secret");
    }
}

/// Swaps two names as fast as it can while `work` runs.
fn while_swapped(directory: &Path, one: &str, other: &str, work: impl FnOnce()) {
    let (one, other) = (directory.join(one), directory.join(other));
    let over = Arc::new(AtomicBool::new(false));
    let seen = over.clone();
    let attacker = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            let _gone_for_a_moment = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
        }
    });
    work();
    over.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
}

const ROUNDS: usize = 3000;

#[test]
fn links_are_followed_as_far_as_they_may() {
    let place = Place::new();
    let volume = place.volume();
    fs::create_dir_all(volume.join("real/deep")).unwrap();
    fs::write(volume.join("real/file"), "inside").unwrap();
    symlink("real", volume.join("near")).unwrap();
    symlink("/real", volume.join("absolute")).unwrap();
    symlink("../host", volume.join("out")).unwrap();
    symlink("/proc/self/root", volume.join("magic")).unwrap();
    let read = |path: &str, follow| place.root.read(path, follow, 100).map_err(|error| error.kind());
    let inside = || Ok(b"inside".to_vec());
    assert_eq!(read("real/file", Follow::Nothing), inside());
    assert_eq!(read("near/file", Follow::Nothing), Err(ErrorKind::PermissionDenied));
    assert_eq!(read("near/file", Follow::Inside), inside());
    assert_eq!(read("absolute/file", Follow::Inside), Err(ErrorKind::PermissionDenied));
    assert_eq!(read("absolute/file", Follow::InRoot), inside());
    assert_eq!(read("/../../near/file", Follow::InRoot), inside());
    for follow in [Follow::Nothing, Follow::Inside, Follow::InRoot] {
        assert!(read("out/secret", follow).is_err(), "{follow:?}");
        assert!(read("magic/etc/hostname", follow).is_err(), "{follow:?}");
    }
    assert_eq!(read("/etc/hostname", Follow::Inside), Err(ErrorKind::PermissionDenied));
    assert_eq!(read("real/../../host/secret", Follow::Inside), Err(ErrorKind::PermissionDenied));
    assert_eq!(read("real/file", Follow::Nothing).map(|bytes| bytes.len()), Ok(6));
    assert_eq!(place.root.read("real/file", Follow::Nothing, 5).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(place.root.read_start("real/file", Follow::Nothing, 5).unwrap(), b"insid");
    let made =
        place.root.ensure_directories("absolute/new/er", Follow::InRoot, 0o750, Owner::AS_MADE).unwrap();
    made.write("x", b"", 0o600, Owner::AS_MADE).unwrap();
    assert!(volume.join("real/new/er/x").exists());
    assert!(place.root.ensure_directories("out/new", Follow::Inside, 0o750, Owner::AS_MADE).is_err());
    place.root.ensure_directories("/out/new", Follow::InRoot, 0o750, Owner::AS_MADE).unwrap_err();
    place.assert_host_untouched();
}

#[test]
fn changes_stay_in_their_directory() {
    let place = Place::new();
    let root = &place.root;
    for name in ["", ".", "..", "a/b", "/etc/passwd", "../host"] {
        assert_eq!(
            root.create(name, 0o600, Owner::AS_MADE).unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{name}"
        );
        assert_eq!(root.remove_tree(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        assert_eq!(root.rename("x", root, name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
    let secret = place.host().join("secret");
    symlink(&secret, place.volume().join("link")).unwrap();
    symlink(place.host(), place.volume().join("directory")).unwrap();
    assert!(root.create("link", 0o600, Owner::AS_MADE).is_err());
    assert!(root.append("link", 0o600).is_err());
    assert!(root.rewrite("link", 0o600).is_err());
    assert!(root.chmod("link", 0o777).is_err());
    assert!(root.chmod("directory", 0o777).is_err());
    assert!(root.ensure_directory("directory", 0o777, Owner::AS_MADE).is_err());
    root.replace("link", b"new", 0o644, Owner::AS_MADE).unwrap();
    assert_eq!(fs::read(place.volume().join("link")).unwrap(), b"new");
    root.remove_tree("directory").unwrap();
    root.remove_entries().unwrap();
    assert_eq!(fs::read_dir(place.volume()).unwrap().count(), 0);
    place.assert_host_untouched();
}

#[test]
fn pipes_and_devices_are_never_opened() {
    let place = Place::new();
    let own = Mode::from_raw_mode(0o666);
    let pipe = place.volume().join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, own, 0).unwrap();
    assert_eq!(place.root.find("pipe", Follow::Nothing).unwrap().kind(), Kind::Fifo);
    // Opening a pipe that nobody writes would wait for ever.
    assert!(place.root.file("pipe", Follow::Inside).is_err());
    assert!(place.root.read_start("pipe", Follow::Inside, 10).is_err());
    assert!(place.root.append("pipe", 0o600).is_err());
    assert!(place.root.rewrite("pipe", 0o600).is_err());
    assert!(place.root.file("", Follow::Inside).is_err(), "a directory");
    if rustix::process::geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, place.volume().join("null"), FileType::CharacterDevice, own, null).unwrap();
        assert_eq!(place.root.find("null", Follow::Nothing).unwrap().kind(), Kind::CharDevice);
        assert!(place.root.file("null", Follow::Inside).is_err());
    }
    place.root.remove_entries().unwrap();
}

#[test]
fn modes_are_exact_and_a_rewritten_file_is_the_same() {
    let place = Place::new();
    let mode = |name: &str| fs::metadata(place.volume().join(name)).unwrap().permissions().mode() & 0o7777;
    drop(place.root.make_directory("d", 0o2777, Owner::AS_MADE).unwrap());
    place.root.write("f", b"long text", 0o666, Owner::AS_MADE).unwrap();
    assert_eq!((mode("d"), mode("f")), (0o2777, 0o666));
    let before = fs::metadata(place.volume().join("f")).unwrap().ino();
    place.root.rewrite("f", 0o600).unwrap().write_all(b"short").unwrap();
    place.root.append("f", 0o600).unwrap().write_all(b"er").unwrap();
    assert_eq!(fs::metadata(place.volume().join("f")).unwrap().ino(), before);
    assert_eq!(fs::read(place.volume().join("f")).unwrap(), b"shorter");
    drop(place.root.ensure_directory("d", 0o700, Owner::AS_MADE).unwrap());
    assert_eq!(mode("d"), 0o2777, "what is there stays as it is");
    if rustix::process::geteuid().is_root() {
        let owner = Owner { user: Some(1000), group: Some(2000) };
        place.root.write("own", b"", 0o640, owner).unwrap();
        let found = place.root.find("own", Follow::Nothing).unwrap();
        assert_eq!((found.owner(), found.mode(), found.size()), ((1000, 2000), 0o640, 0));
    }
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let place = Place::new();
    let volume = place.volume();
    fs::create_dir(volume.join("dir")).unwrap();
    fs::write(volume.join("dir/secret"), "mine").unwrap();
    symlink(place.host(), volume.join("link")).unwrap();
    while_swapped(&volume, "dir", "link", || {
        for round in 0..ROUNDS {
            if let Ok(bytes) = place.root.read("dir/secret", Follow::Inside, 100) {
                assert_eq!(bytes, b"mine");
            }
            if let Ok(directory) = place.root.directory("dir", Follow::Nothing) {
                let name = format!("f{round}");
                directory.write(&name, b"x", 0o644, Owner::AS_MADE).unwrap();
                directory.remove_file(&name).unwrap();
            }
            let made = place.root.ensure_directories("dir/sub/deeper", Follow::Inside, 0o755, Owner::AS_MADE);
            drop(made);
            let emptied = place.root.directory("dir", Follow::Nothing).and_then(|dir| dir.remove_tree("sub"));
            drop(emptied);
        }
    });
    place.assert_host_untouched();
}

#[test]
fn removing_does_not_follow_what_is_swapped_in() {
    let place = Place::new();
    while_swapped(&place.volume().join("tree"), "dir", "link", || {
        for _ in 0..ROUNDS / 10 {
            let tree = place.root.ensure_directory("tree", 0o755, Owner::AS_MADE).unwrap();
            tree.symlink(place.host(), "link").unwrap();
            // Fails when the swapping meets it half done.
            drop(tree.ensure_directories("dir/a/b/c", Follow::Nothing, 0o755, Owner::AS_MADE));
            place.root.remove_tree("tree").unwrap();
        }
    });
    place.assert_host_untouched();
}

#[test]
fn a_tree_may_be_deeper_than_descriptors_and_stack_reach() {
    const DEPTH: usize = 2000;
    let place = Place::new();
    let mut here = place.root.make_directory("deep", 0o755, Owner::AS_MADE).unwrap();
    for _ in 0..DEPTH {
        here.write("f", b"", 0o644, Owner::AS_MADE).unwrap();
        here = here.make_directory("d", 0o755, Owner::AS_MADE).unwrap();
    }
    drop(here);
    place.root.remove_tree("deep").unwrap();
    assert_eq!(fs::read_dir(place.volume()).unwrap().count(), 0);
}

/// Runs on a thread with mounts of its own.
fn with_own_mounts(work: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: mounts need root");
    }
    let thread = std::thread::spawn(|| {
        // SAFETY: the thread shares no file system state that another relies on.
        #[allow(unsafe_code, reason = "namespaces of the test's own")]
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
        use rustix::mount::MountPropagationFlags as Flags;
        rustix::mount::mount_change("/", Flags::PRIVATE | Flags::REC).unwrap();
        work();
    });
    thread.join().unwrap();
}

#[test]
fn what_is_mounted_is_what_was_looked_at() {
    with_own_mounts(|| {
        let place = Place::new();
        let volume = place.volume();
        fs::create_dir(volume.join("dir")).unwrap();
        fs::write(volume.join("dir/own"), "own").unwrap();
        let handle = place.root.find("dir", Follow::Inside).unwrap();
        fs::rename(volume.join("dir"), volume.join("away")).unwrap();
        symlink(place.host(), volume.join("dir")).unwrap();
        let copy = Detached::copy_of(&handle).unwrap();
        copy.spread(Spread::Private).unwrap();
        copy.read_only().unwrap();
        drop(place.root.make_directory("target", 0o755, Owner::AS_MADE).unwrap());
        copy.attach(&place.root, "target").unwrap();
        assert_eq!(fs::read_to_string(volume.join("target/own")).unwrap(), "own");
        assert!(fs::write(volume.join("target/new"), "").is_err(), "read-only");
        assert!(place.root.is_mount_point("target").unwrap() && !place.root.is_mount_point("away").unwrap());
        place.root.unmount("target").unwrap();
        place.root.unmount("target").unwrap();
        assert!(!place.root.is_mount_point("target").unwrap());
    });
}

#[test]
fn a_mount_below_is_not_removed_but_can_be_unmounted() {
    with_own_mounts(|| {
        let place = Place::new();
        let volume = place.volume();
        fs::create_dir_all(volume.join("tree/a b/memory")).unwrap();
        let inner = place.root.directory("tree/a b", Follow::Nothing).unwrap();
        // A copy of the host's directory, on the same file system.
        let host = Detached::copy_of(&Handle::open(place.host()).unwrap()).unwrap();
        host.attach(&inner, "memory").unwrap();
        let memory = Detached::memory(&[("mode", "1777"), ("size", "65536")]).unwrap();
        fs::create_dir(volume.join("tree/m")).unwrap();
        memory.attach(&place.root.directory("tree", Follow::Nothing).unwrap(), "m").unwrap();
        fs::create_dir(volume.join("tree/m/nested")).unwrap();
        let mut big = fs::File::create(volume.join("tree/m/big")).unwrap();
        assert!(big.write_all(&vec![0; 100_000]).is_err(), "more than its size");
        let again = Detached::memory(&[]).unwrap();
        again.attach(&place.root.directory("tree/m", Follow::Nothing).unwrap(), "nested").unwrap();
        assert!(place.root.remove_tree("tree").is_err());
        place.assert_host_untouched();
        place.root.directory("tree", Follow::Nothing).unwrap().unmount_below().unwrap();
        place.root.remove_tree("tree").unwrap();
        place.assert_host_untouched();
        let mut text = String::new();
        fs::File::open("/proc/thread-self/mountinfo").unwrap().read_to_string(&mut text).unwrap();
        assert!(!text.contains(&*volume.to_string_lossy()), "{text}");
    });
}
