//! Starts one container: image, configuration, creation. The events and errors are those of the kubelet.

use super::local::{LocalContainer, LocalPod};
use super::observed::{ImageRef, StartError};
use crate::container::config::{Parts, container_spec};
use crate::container::env::{EnvContext, environment};
use crate::container::error::ConfigError;
use crate::container::keyring::Keyring;
use crate::container::references::Sources;
use crate::container::security::user;
use crate::container::services;
use crate::directory;
use crate::paths::{HOSTNAME, HOSTS, RESOLV_CONF, message_file};
use crate::shared::Shared;
use crate::time::go_duration;
use crate::volumes::claims::Claims;
use crate::volumes::mounts::{Volumes, volume_devices, volume_mounts};
use jiff::Timestamp;
use skiff_informer::EventType::{Normal, Warning};
use skiff_rooted::Kind;
use skiff_runtime::{
    ContainerId, ContainerSpec, ContainerStatus, FileIds, Image, ImageError, Images, Mount, MountKind,
    PodHandle, Propagation, PullCredentials, PullPolicy, RuntimeError, UserSpec,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a start needs besides the pod.
pub(crate) struct StartInputs<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pod: &'a LocalPod,
    pub(crate) container: &'a LocalContainer,
    pub(crate) attempt: u32,
    pub(crate) handle: &'a PodHandle,
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) sources: &'a Sources,
}

/// A container that runs.
pub(crate) struct StartedContainer {
    pub(crate) id: ContainerId,
    pub(crate) at: Timestamp,
    /// Whom its first process started as.
    pub(crate) user: UserSpec,
}

/// Why a container does not run.
pub(crate) enum StartRefusal {
    /// It could not be made; may be tried again without counting as a run.
    NotMade { reason: StartError, message: String },
    /// It was made, but its command could not be run.
    NotRun { message: String },
}

const POLICY_NEVER: &str = "Never";

/// Labels under which facts about a container are kept with it, for a later agent.
pub(crate) const STOP_SIGNAL_LABEL: &str = "stop-signal";

/// Finds the image, pulling it if the policy says so.
pub(crate) async fn resolve_image(inputs: &StartInputs<'_>) -> Result<Image, StartRefusal> {
    let StartInputs { shared, pod, container, .. } = inputs;
    let reference = container.spec.image.as_deref().unwrap_or_default();
    let policy = match container.spec.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some(POLICY_NEVER) => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    };
    let images = shared.runtime.images();
    let credentials = credentials(inputs, reference)?;
    let refusal = |error: &ImageError| image_refusal(inputs, reference, error);
    let available = images.available(reference, policy, &credentials).await;
    if let Some(image) = available.map_err(|error| refusal(&error))? {
        let message = format!(
            "Container image \"{reference}\" already present on machine and can be accessed by the pod"
        );
        shared.container_event(pod, container, Normal, "Pulled", message);
        return Ok(image);
    }
    shared.container_event(pod, container, Normal, "Pulling", format!("Pulling image \"{reference}\""));
    let began = Instant::now();
    let image = images.pull(reference, &credentials).await.map_err(|error| refusal(&error))?;
    let took = go_duration(Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(0)));
    let message = format!(
        "Successfully pulled image \"{reference}\" in {took} ({took} including waiting). Image size: {} bytes.",
        image.size
    );
    shared.container_event(pod, container, Normal, "Pulled", message);
    Ok(image)
}

/// The credentials for an image out of the pod's image pull secrets. A Secret that is missing is told and no obstacle:
/// the image may be there, or for everyone.
fn credentials(inputs: &StartInputs<'_>, reference: &str) -> Result<Vec<PullCredentials>, StartRefusal> {
    let StartInputs { shared, pod, sources, .. } = inputs;
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
    let refused = |reason: String| image_refusal(inputs, reference, &pull_error(reference, reason));
    let keyring = keyring.map_err(|error| refused(error.to_string()))?;
    // A name that cannot be understood is refused later, in its own words.
    Ok(Images::repository(reference).map_or_else(|_| Vec::new(), |repository| keyring.lookup(&repository)))
}

fn pull_error(reference: &str, reason: String) -> ImageError {
    ImageError::Pull { reference: reference.to_owned(), reason }
}

/// The events and the waiting reason of an image that cannot be had.
fn image_refusal(inputs: &StartInputs<'_>, reference: &str, error: &ImageError) -> StartRefusal {
    let StartInputs { shared, pod, container, .. } = inputs;
    let warn = |reason, message: String| shared.container_event(pod, container, Warning, reason, message);
    match error {
        ImageError::InvalidReference { .. } => {
            let message = format!(
                "Failed to apply default image tag \"{reference}\": couldn't parse image name \"{reference}\": invalid reference format"
            );
            warn("InspectFailed", message.clone());
            warn("Failed", "Error: InvalidImageName".into());
            StartRefusal::NotMade { reason: StartError::InvalidImageName, message }
        }
        ImageError::NeverPull { .. } | ImageError::NoAccess { .. } => {
            let message = error.to_string();
            warn("ErrImageNeverPull", message.clone());
            warn("Failed", "Error: ErrImageNeverPull".into());
            StartRefusal::NotMade { reason: StartError::ErrImageNeverPull, message }
        }
        error => {
            let message = error.to_string();
            let text = if message.starts_with("failed to pull") {
                message
            } else {
                format!("failed to pull and unpack image \"{reference}\": {message}")
            };
            warn("Failed", format!("Failed to pull image \"{reference}\": {text}"));
            warn("Failed", "Error: ErrImagePull".into());
            StartRefusal::NotMade { reason: StartError::ErrImagePull, message: text }
        }
    }
}

/// The image as statuses name it.
pub(crate) fn image_ref(image: &Image, reference: &str) -> ImageRef {
    ImageRef {
        name: image.names.first().cloned().unwrap_or_else(|| reference.to_owned()),
        id: image.digests.first().cloned().unwrap_or_else(|| image.id.to_string()),
    }
}

/// Configures, creates and starts the container.
pub(crate) async fn create_and_start(
    inputs: &StartInputs<'_>,
    image: &Image,
) -> Result<StartedContainer, StartRefusal> {
    let StartInputs { shared, pod, container, handle, .. } = inputs;
    let spec = match configure(inputs, image).await {
        Ok(spec) => spec,
        Err(ConfigRefusal(message)) => {
            shared.container_event(pod, container, Warning, "Failed", format!("Error: {message}"));
            return Err(StartRefusal::NotMade { reason: StartError::CreateContainerConfigError, message });
        }
    };
    let user = spec.user.clone();
    match handle.start_container(spec).await {
        Ok(id) => {
            shared.container_event(pod, container, Normal, "Created", "Container created".into());
            shared.container_event(pod, container, Normal, "Started", "Container started".into());
            Ok(StartedContainer { id, at: Timestamp::now(), user })
        }
        Err(RuntimeError::Start { reason, .. }) => {
            shared.container_event(pod, container, Normal, "Created", "Container created".into());
            shared.container_event(pod, container, Warning, "Failed", format!("Error: {reason}"));
            Err(StartRefusal::NotRun { message: reason })
        }
        Err(RuntimeError::Hung { reason: message, .. }) => {
            shared.container_event(pod, container, Normal, "Created", "Container created".into());
            shared.container_event(pod, container, Warning, "Failed", format!("Error: {message}"));
            Err(StartRefusal::NotMade { reason: StartError::RunContainerError, message })
        }
        Err(error) => {
            let message = match error {
                RuntimeError::Create { reason, .. } => reason,
                other => other.to_string(),
            };
            shared.container_event(pod, container, Warning, "Failed", format!("Error: {message}"));
            Err(StartRefusal::NotMade { reason: StartError::CreateContainerError, message })
        }
    }
}

/// The text of a `CreateContainerConfigError`.
struct ConfigRefusal(String);

impl From<ConfigError> for ConfigRefusal {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}

async fn configure(inputs: &StartInputs<'_>, image: &Image) -> Result<ContainerSpec, ConfigRefusal> {
    let StartInputs { shared, pod, container, attempt, addresses, sources, .. } = inputs;
    shared.services.synced().await;
    let links = pod.spec.enable_service_links != Some(false);
    let all = shared.services.all();
    let services = services::variables(all.iter().map(AsRef::as_ref), &pod.namespace, links);
    let context = EnvContext {
        pod,
        pod_ips: addresses,
        host_ips: &shared.host_ips,
        allocatable: &shared.allocatable,
        services: &services,
        sources,
    };
    let environment = environment(&container.spec, &context)?;
    let user = resolve_user(inputs, image).await?;
    let paths = shared.paths(&pod.uid);
    let claims = Claims::load(&paths).map_err(|source| ConfigError::Claims { source })?;
    let volumes = Volumes { paths: &paths, claims: &claims, node: &shared.volumes };
    let mut mounts = volume_mounts(pod, container, &environment, &volumes)?;
    let devices = volume_devices(container, &volumes)?;
    add_managed_files(inputs, &mut mounts)?;
    let hostname = shared.hostname_in(pod);
    let parts = Parts {
        pod,
        container,
        attempt: *attempt,
        image,
        environment,
        user,
        target: target(inputs).await?,
        mounts,
        devices,
        hostname: &hostname,
        node_memory: shared.machine.memory,
        modules: shared.machine.modules,
        log_path: paths.log(&container.name, *attempt),
    };
    let mut spec = container_spec(parts)?;
    spec.labels.insert(STOP_SIGNAL_LABEL.into(), spec.stop_signal.clone());
    Ok(spec)
}

async fn resolve_user(inputs: &StartInputs<'_>, image: &Image) -> Result<UserSpec, ConfigRefusal> {
    let choice = user(inputs.pod, inputs.container, &image.config.user)?;
    let found = inputs.shared.runtime.images().user(&image.id, &choice.user).await;
    Ok(choice.apply(found.map_err(|error| ConfigRefusal(error.to_string()))?))
}

/// The running container that an ephemeral one is to look into.
async fn target(inputs: &StartInputs<'_>) -> Result<Option<ContainerId>, ConfigError> {
    let Some(name) = &inputs.container.target else { return Ok(None) };
    let state = inputs.handle.state().await;
    let running = state
        .containers
        .into_iter()
        .find(|run| run.name == name.to_string() && matches!(run.status, ContainerStatus::Running { .. }));
    running.map(|run| Some(run.id)).ok_or_else(|| ConfigError::NoTarget { name: name.to_string() })
}

/// Adds the files the node manages, unless the pod mounts something at their places.
fn add_managed_files(inputs: &StartInputs<'_>, mounts: &mut Vec<Mount>) -> Result<(), ConfigError> {
    let StartInputs { shared, pod, container, attempt, .. } = inputs;
    let paths = shared.paths(&pod.uid);
    directory::new_message(&paths, &container.name, *attempt).map_err(|source| {
        let path = paths.termination_message(&container.name, *attempt).display().to_string();
        ConfigError::File { path, source }
    })?;
    let message_target = container.spec.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    let files = [
        (PathBuf::from(HOSTS), Path::new("/etc/hosts")),
        (PathBuf::from(HOSTNAME), Path::new("/etc/hostname")),
        (PathBuf::from(RESOLV_CONF), Path::new("/etc/resolv.conf")),
        (message_file(&container.name, *attempt), Path::new(message_target)),
    ];
    for (below, destination) in files {
        if mounts.iter().all(|mount| mount.destination != destination) {
            mounts.push(Mount {
                kind: MountKind::Bind {
                    source: paths.root().to_owned(),
                    below,
                    expected: Some(Kind::File),
                    ids: FileIds::Container,
                },
                destination: destination.to_owned(),
                readonly: false,
                recursive: false,
                propagation: Propagation::Private,
            });
        }
    }
    Ok(())
}
