//! Files that hold a volume: a file system of a size, or the blocks of a device. They take room on the node's disk only where
//! something was written.

use super::super::VolumeError;
use super::NodeVolumes;
use super::bound::{DEFAULT_FILE_SYSTEM, OF_IMAGES};
use skiff_rooted::{Detached, Follow, Lasting, LoopDevice, Owner, Root};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file of a volume, in its directory.
pub(crate) const FILE: &str = "disk";
/// The directory of a volume whose size nobody enforces, in its directory.
pub(crate) const FILES: &str = "files";
/// Bytes of the smallest file system that is made.
const LEAST: u64 = 1 << 20;
/// Files are whole blocks.
const BLOCK: u64 = 4096;

/// Where programs of administrators are.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Makes a volume that is a directory; what is there stays.
pub(crate) fn make_directory(node: &NodeVolumes, volume: &str) -> Result<PathBuf, VolumeError> {
    let path = node.made_path(volume).join(FILES);
    let make = || {
        let own = node.made()?.ensure_directory(volume, 0o700, Owner::AS_MADE)?;
        own.ensure_directory(FILES, 0o777, Owner::AS_MADE).map(drop)
    };
    make().map_err(VolumeError::io("create", &path))?;
    Ok(path)
}

/// Makes a volume that is a file of `bytes`; what is there stays. One that pods do not get as a device has a file
/// system, empty and open to every user.
pub(crate) fn make(
    node: &NodeVolumes,
    volume: &str,
    bytes: u64,
    block: bool,
) -> Result<PathBuf, VolumeError> {
    // It gets its name once it is whole.
    const NEW: &str = "new";
    let path = node.made_path(volume).join(FILE);
    let io = || VolumeError::io("create", &path);
    let own = node.made().and_then(|made| made.ensure_directory(volume, 0o700, Owner::AS_MADE));
    let own = own.map_err(io())?;
    if own.find(FILE, Follow::Nothing).is_ok() {
        return Ok(path);
    }
    remove_unfinished(&own, NEW).map_err(io())?;
    drop(own.create(NEW, 0o600, Owner::AS_MADE).map_err(io())?);
    let file = own.edit(NEW).and_then(alone).map_err(io())?;
    lengthen(&file, bytes).map_err(io())?;
    let made = if block { Ok(()) } else { make_file_system(&own, NEW, &file, &path.with_file_name(NEW)) };
    if let Err(error) = made {
        // What cannot be mounted is no volume.
        own.remove_file(NEW).map_err(io())?;
        return Err(error);
    }
    file.sync_all().map_err(io())?;
    own.rename(NEW, &own, FILE).map_err(io())?;
    Ok(path)
}

/// Removes what an agent before this one has begun, when nothing works on it any more.
fn remove_unfinished(directory: &Root, name: &str) -> io::Result<()> {
    match directory.edit(name).and_then(alone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        begun => begun.and_then(|_alone| directory.remove_file(name)),
    }
}

/// A file on which nobody else works until it is closed. A program that works on it keeps it so, also when the agent is killed
/// that has started it.
pub(super) fn alone(file: File) -> io::Result<File> {
    file.lock()?;
    Ok(file)
}

/// Makes a file system and mounts it once: empty means without `lost+found`, and every user may write to it, as to an emptyDir.
fn make_file_system(directory: &Root, name: &str, file: &File, path: &Path) -> Result<(), VolumeError> {
    let settings =
        ["-q", "-F", "-m", "0", "-b", "4096", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"];
    run("mkfs.ext4", settings.iter().map(OsStr::new).chain([path.as_os_str()]), file, &[0])?;
    // Opened once more: the kernel keeps what it shows open for a moment longer than this takes, and with it the lock.
    let shown = directory.edit(name).and_then(|file| LoopDevice::attach(&file, Lasting::WhileUsed));
    let device = shown.map_err(VolumeError::io("attach a loop device to", path))?;
    let open = || {
        let mounted = Detached::file_system(DEFAULT_FILE_SYSTEM, &device.path(), &OF_IMAGES)?;
        let top = mounted.directory()?;
        top.remove_tree("lost+found")?;
        top.set_mode(0o777)
    };
    let what = || format!("{} as {DEFAULT_FILE_SYSTEM}", device.path().display());
    open().map_err(|source| VolumeError::Mount { what: what(), source })
}

/// Gives a file at least `bytes`.
pub(super) fn lengthen(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = bytes.max(LEAST).next_multiple_of(BLOCK);
    if file.metadata()?.len() >= bytes {
        return Ok(());
    }
    file.set_len(bytes)
}

/// Makes the file system in a file that nothing shows as large as the file, if it is smaller: it could not grow while it
/// was mounted, or not to the end. Nobody else may work on the file.
pub(super) fn fit(file: &File, path: &Path) -> Result<(), VolumeError> {
    let io = || VolumeError::io("look at", path);
    let has = file_system_bytes(file).map_err(io())?;
    // Less than a block more is of no use to it.
    if file.metadata().map_err(io())?.len() < has.saturating_add(BLOCK) {
        return Ok(());
    }
    run("e2fsck", [OsStr::new("-f"), OsStr::new("-p"), path.as_os_str()].into_iter(), file, &[0, 1])?;
    run("resize2fs", [path.as_os_str()].into_iter(), file, &[0])
}

/// Bytes of the ext4 file system in a file, by its superblock.
fn file_system_bytes(file: &File) -> io::Result<u64> {
    let mut superblock = [0; 1024];
    file.read_exact_at(&mut superblock, 1024)?;
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| superblock[at + index]));
    let wide = number(INCOMPATIBLE) & WIDE != 0;
    let upper = if wide { u64::from(number(BLOCKS_UPPER)) << 32 } else { 0 };
    Ok((upper | u64::from(number(BLOCKS))) << (10 + number(BLOCK_SIZE).min(6)))
}

/// Where the superblock says what.
const BLOCKS: usize = 0x4;
const BLOCKS_UPPER: usize = 0x150;
const BLOCK_SIZE: usize = 0x18;
const INCOMPATIBLE: usize = 0x60;
/// The feature `64bit`.
const WIDE: u32 = 0x80;

/// Makes the file system on a device that is mounted, and shows `file`, as large as the device.
pub(super) fn grow_file_system(device: &Path, file: &File) -> Result<(), VolumeError> {
    run("resize2fs", [device.as_os_str()].into_iter(), file, &[0])
}

/// Runs a program of e2fsprogs that works on `file`, which it has open itself; what it complains of is the error.
fn run<'a>(
    program: &'static str,
    arguments: impl Iterator<Item = &'a OsStr>,
    file: &File,
    good: &[i32],
) -> Result<(), VolumeError> {
    let mut found = DIRECTORIES.iter().map(|directory| Path::new(directory).join(program));
    let path = found.find(|path| skiff_rooted::Handle::open(path).is_ok());
    let path = path.ok_or(VolumeError::NoProgram { program })?;
    let ended = file.try_clone().and_then(|held| Command::new(&path).args(arguments).stdin(held).output());
    let ended = ended.map_err(VolumeError::io("run", &path))?;
    if ended.status.code().is_some_and(|code| good.contains(&code)) {
        return Ok(());
    }
    let said = if ended.stderr.is_empty() { &ended.stdout } else { &ended.stderr };
    let said = String::from_utf8_lossy(said);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(VolumeError::Program { program, text: format!("{}: {}", ended.status, said.join("; ")) })
}

/// Removes everything that was made for a volume.
pub(crate) fn remove(node: &NodeVolumes, volume: &str) -> Result<(), VolumeError> {
    let path = node.made_path(volume);
    node.made().and_then(|made| made.remove_tree(volume)).map_err(VolumeError::io("remove", &path))
}
