//! Overlay mounts of an image's layers.
//!
//! Layers are opened, and named by descriptors: many whole digests do not fit into the page that the options of a mount
//! may have. What is opened is held over the mount only: the process that does it becomes the container.

use crate::wire::RootfsSource;
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Opens the layers of an image, topmost first.
pub(super) fn open(source: &RootfsSource) -> Result<Vec<OwnedFd>, String> {
    let open = |layer: &String| {
        let path = source.directory.join(layer);
        directory(&path).map_err(|error| format!("image layer {}: {error}", path.display()))
    };
    source.layers.iter().map(open).collect()
}

/// Mounts layers with a writable one on top.
pub(super) fn writable(target: &Path, layers: &[OwnedFd], upper: &Path, work: &Path) -> io::Result<()> {
    let escape = |path: &Path| path.display().to_string().replace('\\', "\\\\").replace([':', ','], "\\:");
    let top = format!("volatile,upperdir={},workdir={}", escape(upper), escape(work));
    mount(target, layers.iter(), &top, MountFlags::empty())
}

/// Mounts layers alone, for reading. Below them is `nothing`, an empty directory: without a writable layer the kernel takes
/// two layers at least.
pub(super) fn read_only(target: &Path, layers: &[OwnedFd], nothing: &Path) -> io::Result<()> {
    let nothing = directory(nothing)?;
    mount(target, layers.iter().chain([&nothing]), "", MountFlags::RDONLY)
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn mount<'a>(
    target: &Path,
    layers: impl Iterator<Item = &'a OwnedFd>,
    more: &str,
    flags: MountFlags,
) -> io::Result<()> {
    let names: Vec<String> = layers.map(|layer| layer.as_raw_fd().to_string()).collect();
    let comma = if more.is_empty() { "" } else { "," };
    let options = CString::new(format!("{more}{comma}lowerdir={}", names.join(":")))?;
    std::env::set_current_dir("/proc/self/fd")?;
    rustix::mount::mount("overlay", target, "overlay", flags, Some(options.as_c_str()))?;
    std::env::set_current_dir("/")
}
