//! A claim that is bound, as a volume of one pod.

use super::super::content::ContentContext;
use super::super::ownership::fs_group;
use super::super::{Measure, Place, Remark, Shown, Volume, VolumeError, host_path};
use super::group::{self, Policy};
use super::{ClaimVolume, NodeVolumes, Source, image, options};
use crate::node::disk::Room;
use crate::pod::local::LocalPod;
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use skiff_rooted::{Detached, Handle, Kind, Lasting, LoopDevice, Owner, Restriction, Root, Spread};
use std::io;
use std::path::{Path, PathBuf};

/// The file system of a block device of which nothing is said.
pub(super) const DEFAULT_FILE_SYSTEM: &str = "ext4";

/// What file systems in our own files are told besides what the user says: room that files leave goes back to the node's disk,
/// and what was never written is not written either. The file reads as zeros where nobody has written.
pub(super) const OF_IMAGES: [(&str, Option<&str>); 2] = [("discard", None), ("noinit_itable", None)];

/// A persistent volume of this node.
pub(crate) struct Bound<'a> {
    pub(crate) volume: &'a ClaimVolume,
    pub(crate) node: &'a NodeVolumes,
}

impl Volume for Bound<'_> {
    fn stage(&self) -> Result<(), VolumeError> {
        let volume = self.volume;
        match &volume.source {
            Source::Image { path } if volume.block => self.device_of(path, Lasting::UntilDetached).map(drop),
            Source::Image { path } => self.mount_once(|| {
                // Never while something shows it: it may still be mounted elsewhere.
                if self.shown_by(path)?.is_none() {
                    image::fit(&self.image_alone(path)?, path)?;
                }
                let device = self.device_of(path, Lasting::WhileUsed)?;
                self.file_system(DEFAULT_FILE_SYSTEM, &device.path(), &OF_IMAGES)
            }),
            Source::Local { path, fs_type } => self.stage_local(path, fs_type.as_deref()),
            Source::HostPath { path, kind } => {
                let source = HostPathVolumeSource { path: path.clone(), type_: kind.clone() };
                match volume.options.first() {
                    Some(option) => {
                        Err(VolumeError::MountOption { option: option.clone(), what: "a hostPath volume" })
                    }
                    None => host_path::check(&source),
                }
            }
        }
    }

    /// Gives the files to the pod's group, if it is the only pod that has the volume.
    fn publish(
        &self,
        place: &Place<'_>,
        context: &ContentContext<'_>,
    ) -> Result<Option<Remark>, VolumeError> {
        let volume = self.volume;
        let managed = !volume.block && !volume.readonly && !matches!(volume.source, Source::HostPath { .. });
        let Some(group) = fs_group(context.pod).filter(|_| managed) else { return Ok(None) };
        let path = self.path();
        let failed = |source| VolumeError::FsGroup { volume: volume.volume.clone(), source };
        let directory = Root::open(&path).map_err(failed)?;
        let others = self.node.others(&volume.volume, Some(&context.pod.uid)).map_err(failed)?;
        if others.is_empty() {
            group::give(&directory, group, policy(context.pod)).map_err(failed)?;
            return Ok(None);
        }
        let has = directory.find("", skiff_rooted::Follow::Nothing).map_err(failed)?.owner().1;
        let message = format!(
            "The requested fsGroup is {group}, but the volume {} has GID {has}. The volume may not be shareable.",
            place.name
        );
        Ok((has != group).then_some(Remark { reason: "AlreadyMountedVolume", message }))
    }

    /// All that the pod has of it is what is written down.
    fn unpublish(&self, _: &Place<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn unstage(&self) -> Result<(), VolumeError> {
        let staged = self.node.staged(&self.volume.volume);
        let staging = self.node.staging().map_err(VolumeError::io("open", &staged))?;
        staging.unmount(&self.volume.volume).map_err(VolumeError::io("unmount", &staged))?;
        staging.remove_tree(&self.volume.volume).map_err(VolumeError::io("remove", &staged))?;
        match &self.volume.source {
            Source::Image { path } => match self.shown_by(path)? {
                Some(device) => device.detach().map_err(VolumeError::io("detach", path)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn expand(&self, bytes: u64) -> Result<(), VolumeError> {
        let Source::Image { path } = &self.volume.source else { return Err(VolumeError::CannotGrow) };
        let file = self.image_alone(path)?;
        image::lengthen(&file, bytes).map_err(VolumeError::io("lengthen", path))?;
        match self.shown_by(path)? {
            None if self.volume.block => Ok(()),
            None => image::fit(&file, path),
            Some(device) => {
                device.grow().map_err(VolumeError::io("grow the device of", path))?;
                if self.volume.block { Ok(()) } else { image::grow_file_system(&device.path(), &file) }
            }
        }
    }

    fn shown(&self, _: &Place<'_>) -> Shown {
        let expected = match &self.volume.source {
            Source::HostPath { path, kind } => {
                host_path::expected(&HostPathVolumeSource { path: path.clone(), type_: kind.clone() })
            }
            _ => Some(Kind::Directory),
        };
        Shown { expected, readonly: self.volume.readonly, ..Shown::of(self.path()) }
    }

    fn stats(&self, _: &Place<'_>) -> io::Result<Option<Measure>> {
        if self.volume.block || matches!(self.volume.source, Source::HostPath { .. }) {
            return Ok(None);
        }
        let room = Room::around(Root::open(self.path())?)?;
        let own = matches!(self.volume.source, Source::Image { .. });
        Ok(Some(Measure { room, own }))
    }
}

impl Bound<'_> {
    /// The directory that containers mount.
    fn path(&self) -> PathBuf {
        let volume = self.volume;
        let staged = || self.node.staged(&volume.volume);
        match &volume.source {
            Source::HostPath { path, .. } => path.into(),
            Source::Image { .. } => staged(),
            Source::Local { path, .. } if !volume.options.is_empty() || !is_directory(Path::new(path)) => {
                staged()
            }
            Source::Local { path, .. } => path.into(),
        }
    }

    /// The block device that containers get.
    pub(crate) fn device(&self) -> Result<PathBuf, VolumeError> {
        match &self.volume.source {
            Source::Image { path } => match self.shown_by(path)? {
                Some(device) => Ok(device.path()),
                None => Err(VolumeError::NoPath { path: path.display().to_string() }),
            },
            Source::Local { path, .. } | Source::HostPath { path, .. } => Ok(path.into()),
        }
    }

    fn stage_local(&self, path: &str, fs_type: Option<&str>) -> Result<(), VolumeError> {
        let handle = match Handle::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VolumeError::NoPath { path: path.into() });
            }
            found => found.map_err(VolumeError::io("look at", Path::new(path)))?,
        };
        match (handle.kind(), self.volume.block) {
            (Kind::BlockDevice, true) => Ok(()),
            (Kind::BlockDevice, false) => self.mount_once(|| {
                self.file_system(fs_type.unwrap_or(DEFAULT_FILE_SYSTEM), Path::new(path), &[])
            }),
            (Kind::Directory, false) if self.volume.options.is_empty() => Ok(()),
            (Kind::Directory, false) => self.mount_once(|| {
                let restrictions = options::parse(&self.volume.options).only_restrictions("a directory")?;
                let bind = || {
                    let copy = Detached::plain_copy_of(&handle)?;
                    copy.spread(Spread::Private)?;
                    copy.restrict(&restrictions)?;
                    Ok(copy)
                };
                bind().map_err(|source| VolumeError::Mount { what: path.into(), source })
            }),
            (found, block) => {
                let mode = if block { "Block" } else { "Filesystem" };
                Err(VolumeError::WrongKind { path: path.into(), found, mode })
            }
        }
    }

    /// Mounts the volume at its place, unless it is mounted there.
    fn mount_once(&self, make: impl FnOnce() -> Result<Detached, VolumeError>) -> Result<(), VolumeError> {
        let name = &self.volume.volume;
        let staged = self.node.staged(name);
        let io = || VolumeError::io("prepare", &staged);
        let staging = self.node.staging().map_err(io())?;
        drop(staging.ensure_directory(name, 0o700, Owner::AS_MADE).map_err(io())?);
        if staging.is_mount_point(name).map_err(io())? {
            return Ok(());
        }
        make()?.attach(&staging, name).map_err(VolumeError::io("mount", &staged))
    }

    fn file_system(
        &self,
        kind: &str,
        device: &Path,
        fixed: &[(&str, Option<&str>)],
    ) -> Result<Detached, VolumeError> {
        let read = options::parse(&self.volume.options);
        let mut told = fixed.to_vec();
        told.extend(read.file_system.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
        // The file system itself, not only this mount of it.
        if read.restrictions.contains(&Restriction::ReadOnly) {
            told.push(("ro", None));
        }
        let mount = || {
            let made = Detached::file_system(kind, device, &told)?;
            made.restrict(&read.restrictions)?;
            Ok(made)
        };
        let what = || format!("{} as {kind}", device.display());
        mount().map_err(|source| VolumeError::Mount { what: what(), source })
    }

    fn open_image(&self, path: &Path) -> Result<std::fs::File, VolumeError> {
        let open = || {
            self.node.made()?.directory(&self.volume.volume, skiff_rooted::Follow::Nothing)?.edit(image::FILE)
        };
        open().map_err(VolumeError::io("open", path))
    }

    /// The image, when no program works on it any more that an agent before this one has started.
    fn image_alone(&self, path: &Path) -> Result<std::fs::File, VolumeError> {
        image::alone(self.open_image(path)?).map_err(VolumeError::io("lock", path))
    }

    fn device_of(&self, path: &Path, lasting: Lasting) -> Result<LoopDevice, VolumeError> {
        let file = self.open_image(path)?;
        LoopDevice::attach(&file, lasting).map_err(VolumeError::io("attach a loop device to", path))
    }

    /// The device that shows the image; none when there is no image either.
    fn shown_by(&self, path: &Path) -> Result<Option<LoopDevice>, VolumeError> {
        match self.open_image(path) {
            Err(VolumeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            file => LoopDevice::of(&file?).map_err(VolumeError::io("find the device of", path)),
        }
    }
}

/// Whether a path of the host is a directory; what cannot be looked at is none.
fn is_directory(path: &Path) -> bool {
    Handle::open(path).is_ok_and(|found| found.kind() == Kind::Directory)
}

fn policy(pod: &LocalPod) -> Policy {
    let context = pod.spec.security_context.as_ref();
    match context.and_then(|context| context.fs_group_change_policy.as_deref()) {
        Some("OnRootMismatch") => Policy::OnRootMismatch,
        _ => Policy::Always,
    }
}
