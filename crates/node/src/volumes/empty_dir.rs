//! Directories that begin empty and end with their pod: on disk or in memory.

use super::content::ContentContext;
use super::ownership::{Ownership, in_memory};
use super::{Place, Remark, Shown, Volume, VolumeError};
use crate::quantity::units;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume as ApiVolume};
use skiff_rooted::Owner;
use skiff_runtime::FileIds;

/// An emptyDir; also a volume without any source.
pub(super) struct EmptyDir<'a> {
    pub(super) volume: &'a ApiVolume,
    pub(super) source: EmptyDirVolumeSource,
}

impl Volume for EmptyDir<'_> {
    fn publish(
        &self,
        place: &Place<'_>,
        context: &ContentContext<'_>,
    ) -> Result<Option<Remark>, VolumeError> {
        let owners = Ownership::of(context.pod, self.volume, context.users);
        let (mode, owner) = writable_for_all(owners);
        let made = match self.source.medium.as_deref() {
            None | Some("") => place.directory(mode, owner),
            Some("Memory") => {
                let limit = self.source.size_limit.as_ref().and_then(units).filter(|limit| *limit > 0);
                // Without a group, as the kubelet's: nobody removes what is another's.
                let sticky = if owners.has_group() { 0 } else { 0o1000 };
                place.memory(limit, mode | sticky, owner)
            }
            Some(medium) => return Err(VolumeError::Medium { medium: medium.into() }),
        };
        made.map(|_| None)
    }

    fn shown(&self, place: &Place<'_>) -> Shown {
        let ids = if in_memory(self.volume) { FileIds::Node } else { FileIds::Container };
        Shown { ids, ..Shown::of(place.path()) }
    }
}

/// Mode and owner of a directory that every user of the pod may write to. With an `fsGroup` what is made in it belongs to
/// that group; it is empty when it is made, so there is nothing below whose group would have to change.
pub(super) fn writable_for_all(owners: Ownership) -> (u32, Owner) {
    (if owners.has_group() { 0o2777 } else { 0o777 }, owners.owner(None))
}
