//! Puts a container's specification together for the runtime; a pure function of its inputs.

use super::env::Environment;
use super::error::ConfigError;
use super::limits::{oom_score_adj, resources};
use super::security::confinement;
use crate::node::modules::SecurityModules;
use crate::pod::local::{LocalContainer, LocalPod};
use skiff_runtime::{ContainerId, ContainerSpec, Device, Image, ImageConfig, Mount, UserSpec};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything a container's specification is made of.
pub(crate) struct Parts<'a> {
    pub(crate) pod: &'a LocalPod,
    pub(crate) container: &'a LocalContainer,
    pub(crate) attempt: u32,
    pub(crate) image: &'a Image,
    pub(crate) environment: Environment,
    pub(crate) user: UserSpec,
    /// The running container in whose process namespace it is to run.
    pub(crate) target: Option<ContainerId>,
    pub(crate) mounts: Vec<Mount>,
    /// Block devices that are volumes of the pod.
    pub(crate) devices: Vec<Device>,
    /// The host name inside the pod.
    pub(crate) hostname: &'a str,
    /// Bytes of memory of the node.
    pub(crate) node_memory: u64,
    pub(crate) modules: SecurityModules,
    pub(crate) log_path: PathBuf,
}

/// The specification of a container for the runtime.
pub(crate) fn container_spec(parts: Parts<'_>) -> Result<ContainerSpec, ConfigError> {
    let Parts {
        pod,
        container,
        attempt,
        image,
        environment,
        user,
        target,
        mounts,
        devices,
        hostname,
        node_memory,
        modules,
        log_path,
    } = parts;
    let confined = confinement(pod, container, modules)?;
    let spec = &container.spec;
    let stop_signal = spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    Ok(ContainerSpec {
        name: container.name.to_string(),
        attempt,
        image: image.id.clone(),
        image_ref: spec.image.clone().unwrap_or_default(),
        args: command_line(container, &image.config, &environment)?,
        env: complete_environment(&image.config, hostname, &environment),
        cwd: match spec.working_dir.as_deref() {
            Some(dir) if !dir.is_empty() => dir.to_owned(),
            _ => image.config.working_dir.clone(),
        },
        user,
        mounts,
        devices,
        rootfs_readonly: confined.rootfs_readonly,
        capabilities: confined.capabilities,
        privileged: confined.privileged,
        unmasked: confined.unmasked,
        no_new_privileges: confined.no_new_privileges,
        seccomp: confined.seccomp,
        target,
        resources: resources(pod, container),
        oom_score_adj: Some(oom_score_adj(pod, container, node_memory)),
        tty: spec.tty == Some(true),
        stdin: spec.stdin == Some(true),
        stdin_once: spec.stdin_once == Some(true),
        stop_signal: stop_signal.unwrap_or_else(|| image.config.stop_signal.clone()),
        log_path,
        labels: BTreeMap::new(),
    })
}

/// Entrypoint and arguments: `command` replaces both of the image's, `args` alone replaces the second.
fn command_line(
    container: &LocalContainer,
    image: &ImageConfig,
    environment: &Environment,
) -> Result<Vec<String>, ConfigError> {
    let expand = |list: &Option<Vec<String>>| -> Option<Vec<String>> {
        let list = list.as_ref().filter(|list| !list.is_empty())?;
        Some(list.iter().map(|text| environment.expand(text)).collect())
    };
    let command = expand(&container.spec.command);
    let args = expand(&container.spec.args);
    let line = match (command, args) {
        (Some(command), args) => [command, args.unwrap_or_default()].concat(),
        (None, Some(args)) => [image.entrypoint.clone(), args].concat(),
        (None, None) => [image.entrypoint.clone(), image.cmd.clone()].concat(),
    };
    if line.is_empty() { Err(ConfigError::NoCommand) } else { Ok(line) }
}

/// The image's variables, the host name, then the pod's own, which win.
fn complete_environment(image: &ImageConfig, hostname: &str, own: &Environment) -> Vec<String> {
    let overridden = |pair: &&String| own.get(pair.split('=').next().unwrap_or_default()).is_none();
    let mut all: Vec<String> = image.env.iter().filter(overridden).cloned().collect();
    if own.get("HOSTNAME").is_none() {
        all.retain(|pair| !pair.starts_with("HOSTNAME="));
        all.push(format!("HOSTNAME={hostname}"));
    }
    all.extend(own.to_strings());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn image() -> ImageConfig {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        ImageConfig {
            env: strings(&["PATH=/bin", "A=image"]),
            entrypoint: strings(&["/entry"]),
            cmd: strings(&["cmd"]),
            ..ImageConfig::default()
        }
    }

    fn check_command(container: &str, expected: &[&str]) {
        let pod = pod_of(&format!(r#"{{"containers": [{{"name": "c" {container}}}]}}"#));
        let mut environment = Environment::default();
        environment.set("V", "1".into());
        assert_eq!(
            command_line(&pod.containers[0], &image(), &environment).unwrap(),
            expected,
            "{container}"
        );
    }

    #[test]
    fn command_and_args_override_the_image() {
        check_command("", &["/entry", "cmd"]);
        check_command(r#", "args": ["x$(V)"]"#, &["/entry", "x1"]);
        check_command(r#", "command": ["/c"]"#, &["/c"]);
        check_command(r#", "command": ["/c"], "args": ["$$(V)"]"#, &["/c", "$(V)"]);
        check_command(r#", "command": [], "args": []"#, &["/entry", "cmd"]);
    }

    #[test]
    fn no_command_at_all_is_an_error() {
        let pod = pod_of(r#"{"containers": [{"name": "c"}]}"#);
        let result = command_line(&pod.containers[0], &ImageConfig::default(), &Environment::default());
        assert!(matches!(result, Err(ConfigError::NoCommand)));
    }

    #[test]
    fn the_pods_variables_win() {
        let mut own = Environment::default();
        own.set("A", "pod".into());
        assert_eq!(complete_environment(&image(), "h", &own), ["PATH=/bin", "HOSTNAME=h", "A=pod"]);
    }
}
