//! Volumes that show objects of the API: configMap, secret, downwardAPI, projected.

use super::content::{ContentContext, Payload, payload};
use super::empty_dir::writable_for_all;
use super::ownership::{Ownership, in_memory};
use super::{Place, Remark, Shown, Volume, VolumeError, atomic};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Volume as ApiVolume;
use skiff_rooted::Root;
use skiff_runtime::FileIds;

/// A volume that shows objects.
pub(super) struct Objects<'a>(pub(super) &'a ApiVolume);

impl Volume for Objects<'_> {
    fn publish(
        &self,
        place: &Place<'_>,
        context: &ContentContext<'_>,
    ) -> Result<Option<Remark>, VolumeError> {
        let Some(files) = payload(self.0, context) else { return Ok(None) };
        let (files, owners) = (files?, Ownership::of(context.pod, self.0, context.users));
        let (mode, owner) = writable_for_all(owners);
        let directory = if in_memory(self.0) {
            place.memory(None, mode | 0o1000, owner)
        } else {
            place.directory(mode, owner)
        };
        fill(&directory?, place, &files, owners).map(|()| None)
    }

    /// Only what is there: a pod that ends meanwhile gets no volume again.
    fn refresh(&self, place: &Place<'_>, context: &ContentContext<'_>) -> Result<(), VolumeError> {
        let Some(files) = payload(self.0, context) else { return Ok(()) };
        let (files, owners) = (files?, Ownership::of(context.pod, self.0, context.users));
        let directory = place.open().map_err(VolumeError::io("open", &place.path()))?;
        fill(&directory, place, &files, owners)
    }

    fn shown(&self, place: &Place<'_>) -> Shown {
        let ids = if in_memory(self.0) { FileIds::Node } else { FileIds::Container };
        // Nobody but the agent writes it.
        Shown { ids, readonly: true, ..Shown::of(place.path()) }
    }
}

fn fill(directory: &Root, place: &Place<'_>, files: &Payload, owners: Ownership) -> Result<(), VolumeError> {
    let written = atomic::write(directory, files, owners, Timestamp::now());
    written.map_err(VolumeError::io("write", &place.path()))
}
