//! Starts one container, whose images are here: configuration, creation. The events and errors are those of the kubelet.

use super::local::{LocalContainer, LocalPod};
use super::observed::StartError;
use super::pull::ContainerImages;
use crate::container::config::{Parts, container_spec};
use crate::container::env::{EnvContext, environment};
use crate::container::error::ConfigError;
use crate::container::references::Sources;
use crate::container::security::user;
use crate::container::services;
use crate::directory;
use crate::paths::{HOSTNAME, HOSTS, RESOLV_CONF, message_file};
use crate::shared::Shared;
use crate::volumes::claims::Claims;
use crate::volumes::env_files;
use crate::volumes::mounts::{Volumes, volume_devices, volume_mounts};
use jiff::Timestamp;
use skiff_informer::EventType::{Normal, Warning};
use skiff_rooted::Kind;
use skiff_runtime::{
    ContainerId, ContainerSpec, ContainerStatus, FileIds, Image, Mount, MountKind, PodHandle, Propagation,
    RuntimeError, UserSpec,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

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
    NotMade {
        reason: StartError,
        message: String,
        /// The image that cannot be had, when it is one that a volume shows.
        image: Option<String>,
    },
    /// It was made, but its command could not be run.
    NotRun { message: String },
}

/// Labels under which facts about a container are kept with it, for a later agent.
pub(crate) const STOP_SIGNAL_LABEL: &str = "stop-signal";

/// Configures, creates and starts the container.
pub(crate) async fn create_and_start(
    inputs: &StartInputs<'_>,
    images: &ContainerImages,
) -> Result<StartedContainer, StartRefusal> {
    let StartInputs { shared, pod, container, handle, .. } = inputs;
    let spec = match configure(inputs, images).await {
        Ok(spec) => spec,
        Err(ConfigRefusal(message)) => {
            shared.container_event(pod, container, Warning, "Failed", format!("Error: {message}"));
            return Err(StartRefusal::NotMade {
                reason: StartError::CreateContainerConfigError,
                message,
                image: None,
            });
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
            Err(StartRefusal::NotMade { reason: StartError::RunContainerError, message, image: None })
        }
        Err(error) => {
            let message = match error {
                RuntimeError::Create { reason, .. } => reason,
                other => other.to_string(),
            };
            shared.container_event(pod, container, Warning, "Failed", format!("Error: {message}"));
            Err(StartRefusal::NotMade { reason: StartError::CreateContainerError, message, image: None })
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

async fn configure(
    inputs: &StartInputs<'_>,
    images: &ContainerImages,
) -> Result<ContainerSpec, ConfigRefusal> {
    let image = &images.own;
    let StartInputs { shared, pod, container, attempt, addresses, sources, .. } = inputs;
    shared.services.synced().await;
    let links = pod.spec.enable_service_links != Some(false);
    let all = shared.services.all();
    let services = services::variables(all.iter().map(AsRef::as_ref), &pod.namespace, links);
    let paths = shared.paths(&pod.uid);
    let files = env_files::read(pod, &container.spec, &paths)?;
    let context = EnvContext {
        pod,
        pod_ips: addresses,
        host_ips: &shared.host_ips,
        allocatable: &shared.allocatable,
        services: &services,
        sources,
        files: &files,
    };
    let environment = environment(&container.spec, &context)?;
    let user = resolve_user(inputs, image).await?;
    let claims = Claims::load(&paths).map_err(|source| ConfigError::Claims { source })?;
    let volumes =
        Volumes { paths: &paths, claims: &claims, node: &shared.volumes, images: &images.of_volumes };
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
