//! Images as volumes. They are found, and pulled, when a container that mounts them starts (`pod/pull.rs`), and mounted for
//! that container alone, by the runtime: the pod's directory has nothing of them.

use super::content::ContentContext;
use super::{Measure, Place, Remark, Volume, VolumeError};
use std::io;

/// A volume that shows an image.
pub(super) struct OfImage;

impl Volume for OfImage {
    fn publish(&self, _: &Place<'_>, _: &ContentContext<'_>) -> Result<Option<Remark>, VolumeError> {
        Ok(None)
    }

    /// What is mounted ends with each container.
    fn unpublish(&self, _: &Place<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn stats(&self, _: &Place<'_>) -> io::Result<Option<Measure>> {
        Ok(None)
    }
}
