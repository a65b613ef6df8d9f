//! What keeps a container from being configured. The texts are those users know from the kubelet.

/// A container cannot be configured as its specification asks; shown as `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{} {name:?} not found", kind.to_lowercase())]
    NoSource { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    #[error("couldn't parse env file {path:?}: {why}")]
    EnvFile { path: String, why: String },
    #[error("environment variable key {key:?} not found in file {path:?}")]
    NoFileKey { key: String, path: String },
    #[error("unsupported fieldPath: {path}")]
    Field { path: String },
    #[error("invalid resourceFieldRef {resource:?} for container {container:?}")]
    Resource { container: String, resource: String },
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RunsAsRoot { pod: String, container: String },
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    ImageRunsAsRoot { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
    )]
    UserUnknown { user: String, pod: String, container: String },
    #[error("invalid {what} {value}: not a user or group number")]
    Number { what: &'static str, value: i64 },
    #[error("seccomp profile type {kind} is not supported on this node")]
    Seccomp { kind: String },
    #[error("unable to find target container {name}: it does not run")]
    NoTarget { name: String },
    #[error("{text}")]
    Isolation { text: String },
    #[error("no command specified")]
    NoCommand,
    #[error("container {container:?} mounts volume {volume:?}, which the pod does not have")]
    NoVolume { container: String, volume: String },
    #[error("missing value for {name:?} in subPathExpr {expression:?}")]
    SubPathName { name: String, expression: String },
    #[error("subPath {path:?} must stay within the volume and may not be absolute")]
    SubPath { path: String },
    #[error("failed to prepare subPath for volumeMount {volume:?} of container {container:?}: {source}")]
    SubPathIo { volume: String, container: String, source: std::io::Error },
    #[error("failed to find the device of volume {volume:?}: {source}")]
    Device { volume: String, source: crate::volumes::VolumeError },
    #[error("failed to read what the pod's claims are: {source}")]
    Claims { source: std::io::Error },
    #[error("failed to prepare {path}: {source}")]
    File { path: String, source: std::io::Error },
}
