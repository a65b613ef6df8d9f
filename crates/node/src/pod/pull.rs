//! Finds the images that a container needs, pulling them if their policies say so: its own, and those that its volumes
//! show. The events and errors are those of the kubelet: at the container for its own image, at the pod for a volume's.

use super::observed::{ImageRef, StartError};
use super::start::{StartInputs, StartRefusal};
use crate::container::keyring::Keyring;
use crate::time::go_duration;
use k8s_openapi::api::core::v1::ImageVolumeSource;
use skiff_informer::EventType::{self, Normal, Warning};
use skiff_ordered::Ordered as _;
use skiff_runtime::{Image, ImageError, Images, PullCredentials, PullPolicy};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The images of a container that is about to start.
pub(crate) struct ContainerImages {
    pub(crate) own: Image,
    /// Those that it mounts, by volume.
    pub(crate) of_volumes: BTreeMap<String, Image>,
}

impl ContainerImages {
    /// What they are as statuses name it, by volume.
    pub(crate) fn volume_refs(&self) -> BTreeMap<String, String> {
        self.of_volumes.iter().map(|(volume, image)| (volume.clone(), image_id(image))).one_by_one()
    }
}

/// An image that is asked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    reference: &'a str,
    policy: PullPolicy,
    purpose: Purpose,
}

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To be run.
    Container,
    /// To be shown by a volume.
    Volume,
}

/// Finds all images of the container, those of its volumes first.
pub(crate) async fn resolve_images(inputs: &StartInputs<'_>) -> Result<ContainerImages, StartRefusal> {
    let mut of_volumes = BTreeMap::new();
    for (volume, source) in image_volumes(inputs) {
        let reference = source.reference.as_deref().unwrap_or_default();
        let policy = policy(source.pull_policy.as_deref());
        let image = resolve(inputs, Wanted { reference, policy, purpose: Purpose::Volume }).await?;
        of_volumes.insert(volume.to_owned(), image);
    }
    let spec = &inputs.container.spec;
    let reference = spec.image.as_deref().unwrap_or_default();
    let policy = policy(spec.image_pull_policy.as_deref());
    let own = resolve(inputs, Wanted { reference, policy, purpose: Purpose::Container }).await?;
    Ok(ContainerImages { own, of_volumes })
}

/// The volumes that the container mounts and that show an image.
fn image_volumes<'a>(inputs: &StartInputs<'a>) -> BTreeMap<&'a str, &'a ImageVolumeSource> {
    let StartInputs { pod, container, .. } = inputs;
    let mounts = |name: &str| container.spec.volume_mounts.iter().flatten().any(|mount| mount.name == name);
    let volumes = pod.spec.volumes.iter().flatten().filter(|volume| mounts(&volume.name));
    volumes.filter_map(|volume| Some((volume.name.as_str(), volume.image.as_ref()?))).one_by_one()
}

fn policy(name: Option<&str>) -> PullPolicy {
    match name {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    }
}

async fn resolve(inputs: &StartInputs<'_>, wanted: Wanted<'_>) -> Result<Image, StartRefusal> {
    let Wanted { reference, policy, .. } = wanted;
    let images = inputs.shared.runtime.images();
    let credentials = credentials(inputs, wanted)?;
    let refusal = |error: &ImageError| image_refusal(inputs, wanted, error);
    let available = images.available(reference, policy, &credentials).await;
    if let Some(image) = available.map_err(|error| refusal(&error))? {
        let message = format!(
            "Container image \"{reference}\" already present on machine and can be accessed by the pod"
        );
        event(inputs, wanted, Normal, "Pulled", message);
        return Ok(image);
    }
    event(inputs, wanted, Normal, "Pulling", format!("Pulling image \"{reference}\""));
    let began = Instant::now();
    let image = images.pull(reference, &credentials).await.map_err(|error| refusal(&error))?;
    let took = go_duration(Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(0)));
    let message = format!(
        "Successfully pulled image \"{reference}\" in {took} ({took} including waiting). Image size: {} bytes.",
        image.size
    );
    event(inputs, wanted, Normal, "Pulled", message);
    Ok(image)
}

/// An event at whatever the image is for.
fn event(
    inputs: &StartInputs<'_>,
    wanted: Wanted<'_>,
    kind: EventType,
    reason: &'static str,
    message: String,
) {
    let StartInputs { shared, pod, container, .. } = inputs;
    match wanted.purpose {
        Purpose::Container => shared.container_event(pod, container, kind, reason, message),
        Purpose::Volume => shared.pod_event(pod, kind, reason, message),
    }
}

/// The credentials for an image out of the pod's image pull secrets. A Secret that is missing is told and no obstacle:
/// the image may be there, or for everyone.
fn credentials(inputs: &StartInputs<'_>, wanted: Wanted<'_>) -> Result<Vec<PullCredentials>, StartRefusal> {
    let StartInputs { shared, pod, sources, .. } = inputs;
    let reference = wanted.reference;
    let names = pod.spec.image_pull_secrets.iter().flatten().map(|reference| reference.name.as_str());
    let named = names.filter(|name| !name.is_empty());
    let (found, missing): (Vec<_>, Vec<_>) =
        named.map(|name| sources.secrets.get(name).ok_or(name)).partition(Result::is_ok);
    let missing: Vec<&str> = missing.into_iter().filter_map(Result::err).collect();
    if !missing.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        shared.pod_event(pod, Warning, "FailedToRetrieveImagePullSecret", message);
    }
    let keyring = Keyring::of(found.into_iter().flatten().map(AsRef::as_ref));
    let refused = |reason: String| image_refusal(inputs, wanted, &pull_error(reference, reason));
    let keyring = keyring.map_err(|error| refused(error.to_string()))?;
    // A name that cannot be understood is refused later, in its own words.
    Ok(Images::repository(reference).map_or_else(|_| Vec::new(), |repository| keyring.lookup(&repository)))
}

fn pull_error(reference: &str, reason: String) -> ImageError {
    ImageError::Pull { reference: reference.to_owned(), reason }
}

/// The events and the waiting reason of an image that cannot be had. That the container cannot be made for it is said at the
/// container, whatever the image is for.
fn image_refusal(inputs: &StartInputs<'_>, wanted: Wanted<'_>, error: &ImageError) -> StartRefusal {
    let StartInputs { shared, pod, container, .. } = inputs;
    let (reference, reason, told, message) =
        (wanted.reference, reason_of(error), told_by(error), error.to_string());
    let (said, message) = match reason {
        StartError::InvalidImageName => {
            let message = format!(
                "Failed to apply default image tag \"{reference}\": couldn't parse image name \"{reference}\": invalid reference format"
            );
            (message.clone(), message)
        }
        StartError::ErrImageNeverPull => (message.clone(), message),
        _ if message.starts_with("failed to pull") => {
            (format!("Failed to pull image \"{reference}\": {message}"), message)
        }
        _ => {
            let message = format!("failed to pull and unpack image \"{reference}\": {message}");
            (format!("Failed to pull image \"{reference}\": {message}"), message)
        }
    };
    event(inputs, wanted, Warning, told, said);
    shared.container_event(pod, container, Warning, "Failed", format!("Error: {}", reason.as_str()));
    let image = (wanted.purpose == Purpose::Volume).then(|| reference.to_owned());
    StartRefusal::NotMade { reason, message, image }
}

/// What a container waits for whose image failed so.
fn reason_of(error: &ImageError) -> StartError {
    match error {
        ImageError::InvalidReference { .. } => StartError::InvalidImageName,
        ImageError::NeverPull { .. } | ImageError::NoAccess { .. } => StartError::ErrImageNeverPull,
        _ => StartError::ErrImagePull,
    }
}

/// The reason of the event that tells of it.
fn told_by(error: &ImageError) -> &'static str {
    match error {
        ImageError::InvalidReference { .. } => "InspectFailed",
        ImageError::NeverPull { .. } | ImageError::NoAccess { .. } => "ErrImageNeverPull",
        _ => "Failed",
    }
}

/// The image as statuses name it.
pub(crate) fn image_ref(image: &Image, reference: &str) -> ImageRef {
    ImageRef {
        name: image.names.first().cloned().unwrap_or_else(|| reference.to_owned()),
        id: image_id(image),
    }
}

/// What an image is, by digest.
fn image_id(image: &Image) -> String {
    image.digests.first().cloned().unwrap_or_else(|| image.id.to_string())
}
