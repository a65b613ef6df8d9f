//! Where a volume that only its pod has is: in a directory of the pod's, named by volume.

use super::{Measure, VolumeError};
use crate::directory;
use crate::node::disk::Room;
use crate::paths::{PodPaths, VOLUMES};
use skiff_rooted::{Detached, Follow, Owner, Root};
use std::io;
use std::path::PathBuf;

/// A volume's place in its pod's directory.
pub(crate) struct Place<'a> {
    pub(crate) paths: &'a PodPaths,
    /// The volume's name.
    pub(crate) name: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) fn new(paths: &'a PodPaths, name: &'a str) -> Self {
        Self { paths, name }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.paths.volume(self.name)
    }

    /// The directory of the pod's volumes; made when missing.
    fn volumes(&self) -> io::Result<Root> {
        directory::make(self.paths)?.ensure_directory(VOLUMES, 0o755, Owner::AS_MADE)
    }

    /// The same; `None` when it is missing.
    fn existing(&self) -> io::Result<Option<Root>> {
        let Some(pod) = directory::open(self.paths)? else { return Ok(None) };
        match pod.directory(VOLUMES, Follow::Nothing) {
            Ok(volumes) => Ok(Some(volumes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the volume's directory, which must be there.
    pub(crate) fn open(&self) -> io::Result<Root> {
        let volumes = self.existing()?.ok_or(io::ErrorKind::NotFound)?;
        volumes.directory(self.name, Follow::Nothing)
    }

    /// Opens the volume's directory; makes it when missing, whole or not at all.
    pub(crate) fn directory(&self, mode: u32, owner: Owner) -> Result<Root, VolumeError> {
        let made = || {
            let volumes = self.volumes()?;
            self.make(&volumes, mode, owner)
        };
        made().map_err(VolumeError::io("create", &self.path()))
    }

    fn make(&self, volumes: &Root, mode: u32, owner: Owner) -> io::Result<Root> {
        match volumes.directory(self.name, Follow::Nothing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        // No volume's name begins so.
        let new = format!("..{}", self.name);
        volumes.remove_tree(&new)?;
        drop(volumes.make_directory(&new, mode, owner)?);
        volumes.rename(&new, volumes, self.name)?;
        volumes.directory(self.name, Follow::Nothing)
    }

    /// Opens the volume's memory, at most `limit` bytes; makes it when missing.
    pub(crate) fn memory(&self, limit: Option<i64>, mode: u32, owner: Owner) -> Result<Root, VolumeError> {
        let made = || {
            let volumes = self.volumes()?;
            drop(self.make(&volumes, 0o700, Owner::AS_MADE)?);
            if !volumes.is_mount_point(self.name)? {
                let mode = format!("{mode:o}");
                let [uid, gid] = [owner.user, owner.group].map(|id| id.unwrap_or(0).to_string());
                let limit = limit.map(|limit| limit.to_string());
                let mut options = vec![("mode", mode.as_str()), ("uid", uid.as_str()), ("gid", gid.as_str())];
                options.extend(limit.as_deref().map(|limit| ("size", limit)));
                Detached::memory(&options)?.attach(&volumes, self.name)?;
            }
            volumes.directory(self.name, Follow::Nothing)
        };
        made().map_err(VolumeError::io("create", &self.path()))
    }

    /// Unmounts and removes the volume; not there is no error.
    pub(crate) fn remove(&self) -> Result<(), VolumeError> {
        let io = |error| VolumeError::io("remove", &self.path())(error);
        let Some(volumes) = self.existing().map_err(io)? else { return Ok(()) };
        // What is no directory (a pod with too many rights made that of it) has nothing below.
        if let Ok(own) = volumes.directory(self.name, Follow::Nothing) {
            own.unmount_below().map_err(VolumeError::io("unmount what is below", &self.path()))?;
        }
        volumes.unmount(self.name).map_err(VolumeError::io("unmount", &self.path()))?;
        volumes.remove_tree(self.name).map_err(io)
    }

    /// What the file system there holds.
    pub(crate) fn measure(&self) -> io::Result<Measure> {
        let volumes = self.existing()?.ok_or(io::ErrorKind::NotFound)?;
        let own = volumes.is_mount_point(self.name)?;
        let room = Room::around(volumes.directory(self.name, Follow::Nothing)?)?;
        Ok(Measure { room, own })
    }
}
