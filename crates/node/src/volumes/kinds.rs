//! Which volume a pod's specification means.

use super::claims::{Bound, Claims, NodeVolumes};
use super::content::ContentContext;
use super::empty_dir::EmptyDir;
use super::host_path::HostPath;
use super::image::OfImage;
use super::objects::Objects;
use super::{Place, Remark, Volume, VolumeError};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume as ApiVolume};

/// The volume as its kind treats it. `claims` are those that the pod's claims were found to be.
pub(crate) fn of<'a>(
    volume: &'a ApiVolume,
    claims: &'a Claims,
    node: &'a NodeVolumes,
) -> Box<dyn Volume + 'a> {
    if let Some(source) = &volume.host_path {
        return Box::new(HostPath(source));
    }
    if volume.image.is_some() {
        return Box::new(OfImage);
    }
    if volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
    {
        return Box::new(Objects(volume));
    }
    if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
        return match claims.get(&volume.name) {
            Some(bound) => Box::new(Bound { volume: bound, node }),
            None => Box::new(Other { kind: "persistentVolumeClaim (not resolved)".into() }),
        };
    }
    match &volume.empty_dir {
        Some(source) => Box::new(EmptyDir { volume, source: source.clone() }),
        None => match source(volume) {
            // A volume without any source is an emptyDir.
            None => Box::new(EmptyDir { volume, source: EmptyDirVolumeSource::default() }),
            Some(kind) => Box::new(Other { kind }),
        },
    }
}

/// The name of the field that says what something is: the one of `object` that is not its name.
fn source(volume: &ApiVolume) -> Option<String> {
    let object = serde_json::to_value(volume).ok()?;
    object.as_object()?.keys().find(|key| *key != "name").cloned()
}

/// A kind that this node does not have.
struct Other {
    kind: String,
}

impl Volume for Other {
    fn publish(&self, _: &Place<'_>, _: &ContentContext<'_>) -> Result<Option<Remark>, VolumeError> {
        Err(VolumeError::Unsupported { kind: self.kind.clone() })
    }
}

/// What a pod's directory holds under the name of a volume, whatever it was.
pub(super) struct Left;

impl Volume for Left {
    fn publish(&self, _: &Place<'_>, _: &ContentContext<'_>) -> Result<Option<Remark>, VolumeError> {
        Ok(None)
    }
}
