//! The volumes of pods: one trait for every kind of volume ([`Volume`]), and what carries it out for a pod ([`setup`]).
//!
//! What a pod alone has (emptyDir, what shows objects) is in the pod's directory and goes with it. What several pods of the
//! node may have (claims) is staged once, and written down in the directory of each pod that has it before it is
//! touched ([`claims`]): by that, an agent that knows nothing of the pod any more can take it down all the same.

pub(crate) mod atomic;
pub(crate) mod claims;
pub(crate) mod content;
pub(crate) mod empty_dir;
pub(crate) mod env_files;
mod error;
pub(crate) mod host_path;
mod image;
mod kinds;
pub(crate) mod mounts;
mod objects;
pub(crate) mod ownership;
mod place;
pub(crate) mod setup;
pub(crate) mod tokens;

pub(crate) use error::VolumeError;
pub(crate) use kinds::of;
pub(crate) use place::Place;

use crate::node::disk::Room;
use content::ContentContext;
use skiff_rooted::Kind;
use skiff_runtime::FileIds;
use std::io;
use std::path::PathBuf;

/// A volume of a pod. Blocking file work, each step safe to repeat.
pub(crate) trait Volume {
    /// Makes it usable on this node, for all pods that have it.
    fn stage(&self) -> Result<(), VolumeError> {
        Ok(())
    }

    /// Makes it usable for one pod. What is there already stays as containers made it.
    fn publish(&self, place: &Place<'_>, context: &ContentContext<'_>)
    -> Result<Option<Remark>, VolumeError>;

    /// Brings what it shows of objects up to date.
    fn refresh(&self, _place: &Place<'_>, _context: &ContentContext<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    /// Takes from the pod what [`Volume::publish`] gave it. Whatever containers with mount propagation left mounted in it goes, too.
    fn unpublish(&self, place: &Place<'_>) -> Result<(), VolumeError> {
        place.remove()
    }

    /// Undoes [`Volume::stage`].
    fn unstage(&self) -> Result<(), VolumeError> {
        Ok(())
    }

    /// Makes it hold `bytes`, while pods use it.
    fn expand(&self, _bytes: u64) -> Result<(), VolumeError> {
        Err(VolumeError::CannotGrow)
    }

    /// What containers mount of it.
    fn shown(&self, place: &Place<'_>) -> Shown {
        Shown::of(place.path())
    }

    /// What its file system holds; `None` when nobody measures it.
    fn stats(&self, place: &Place<'_>) -> io::Result<Option<Measure>> {
        place.measure().map(Some)
    }
}

/// What a container mounts of a volume.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) path: PathBuf,
    /// What must be there when it is mounted; `None` for anything.
    pub(crate) expected: Option<Kind>,
    pub(crate) ids: FileIds,
    /// Whatever the mount says.
    pub(crate) readonly: bool,
}

impl Shown {
    /// All of a directory, whose files have the pod's IDs.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path, expected: None, ids: FileIds::Container, readonly: false }
    }
}

/// What a file system holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) room: Room,
    /// It is the volume's alone, so that what it holds is what the volume holds.
    pub(crate) own: bool,
}

/// Something that the pod's owner should know of a volume that is there: reason and text of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remark {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}
