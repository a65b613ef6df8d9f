//! Images that a container mounts: an overlay of their layers, in the mount namespace of the job's own.
//!
//! Each is made anew for a container and ends with it, as its root file system does, so there is nothing of it on the node
//! to unmount. In a pod with a user namespace the layers are those of the stage, whose owners are mapped already.

use super::overlay;
use crate::ids::ImageId;
use crate::spec::{ContainerSpec, MountKind};
use crate::wire::RootfsSource;
use skiff_rooted::{Detached, Follow, Kind, Owner, Root};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Attaches what the container mounts of images in `directory`, each under its number among the mounts; beside
/// [`super::sources`].
pub(super) fn attach(
    spec: &ContainerSpec,
    images: &BTreeMap<ImageId, RootfsSource>,
    directory: &Path,
) -> Result<(), String> {
    for (index, mount) in spec.mounts.iter().enumerate() {
        let MountKind::Image { image, below } = &mount.kind else { continue };
        let failed = |error: String| {
            format!("mount {} of image {image}: {error}", Path::new("/").join(below).display())
        };
        let layers = images.get(image).ok_or_else(|| failed("its layers are not known".into()))?;
        let layers = overlay::open(layers).map_err(failed)?;
        let whole = directory.join(format!("image-{index}"));
        let nothing = directory.join(format!("nothing-{index}"));
        let shown = || -> io::Result<()> {
            let sources = Root::open(directory)?;
            for path in [&whole, &nothing] {
                let name = path.file_name().unwrap_or_default();
                drop(sources.make_directory(name, 0o755, Owner::AS_MADE)?);
            }
            overlay::read_only(&whole, &layers, &nothing)?;
            show(&sources, &whole, below, &index.to_string())
        };
        shown().map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// Attaches what is `below` a mounted image as `name`.
fn show(sources: &Root, image: &Path, below: &Path, name: &str) -> io::Result<()> {
    let found = Root::open(image)?.find(below, Follow::Inside)?;
    let copy = Detached::copy_of(&found)?;
    copy.read_only()?;
    match found.kind() {
        Kind::Directory => drop(sources.make_directory(name, 0o700, Owner::AS_MADE)?),
        _ => drop(sources.create(name, 0o600, Owner::AS_MADE)?),
    }
    copy.attach(sources, name)
}
