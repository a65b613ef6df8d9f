//! Checks of containers: names, images, ports and volume mounts.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, VolumeDevice, VolumeMount};

use super::subject::Subject;
use super::validate_probes::{self, Role};
use super::validate_volumes::{PULL_POLICIES, Volumes};
use super::{validate_claims, validate_env, validate_resources, validate_security};
use crate::shared::check::{self, inside, one_of, one_of_optional};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors};

const MESSAGE_POLICIES: &[&str] = &["File", "FallbackToLogsOnError"];
/// Of restart rules, and of exit codes in one of them.
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;
const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];

/// Checks every container of a pod spec at `path`.
pub(super) fn validate(path: &str, spec: &PodSpec, volumes: &Volumes) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = |list: &str| format!("{path}.{list}");
    let mut pod = PodFacts {
        spec,
        names: BTreeSet::new(),
        volumes,
        claims: validate_claims::names(spec),
        grace: spec.termination_grace_period_seconds.unwrap_or(0),
    };
    if spec.containers.is_empty() {
        errors.push(FieldError::required(at("containers"), ""));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        errors.extend(common(&pod, &path, container));
        errors.extend(pod.name(&path, &container.name));
        errors.extend(validate_probes::container(&path, container, Role::App, pod.grace));
        errors.extend(restart(&path, container));
    }
    errors.extend(host_port_conflicts(&at("containers"), &spec.containers));
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let is_kept = container.restart_policy.as_deref() == Some("Always");
        let role = if is_kept { Role::Sidecar } else { Role::Init };
        let path = format!("{path}.initContainers[{index}]");
        errors.extend(common(&pod, &path, container));
        errors.extend(restart(&path, container));
        errors.extend(pod.name(&path, &container.name));
        // They run one after the other, and Kubernetes counts each as the first.
        errors.extend(host_port_conflicts(&at("initContainers"), std::slice::from_ref(container)));
        errors.extend(validate_probes::container(&path, container, role, pod.grace));
        if role == Role::Init {
            errors.extend(restarted_while_resized(&path, container));
        }
    }
    errors
}

/// What a container may collide with in its pod.
struct PodFacts<'a> {
    spec: &'a PodSpec,
    names: BTreeSet<&'a str>,
    volumes: &'a Volumes,
    /// The names of what it claims.
    claims: BTreeSet<&'a str>,
    /// How long containers have to end, in seconds.
    grace: i64,
}

impl<'a> PodFacts<'a> {
    /// Notes the name of the container at `path`.
    fn name(&mut self, path: &str, name: &'a str) -> FieldErrors {
        let is_new = self.names.insert(name);
        (!is_new).then(|| FieldError::duplicate(format!("{path}.name"), name)).into_iter().collect()
    }
}

/// What all containers have in common.
fn common(pod: &PodFacts<'_>, path: &str, container: &Container) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = name(&at("name"), &container.name);
    if container.image.as_ref().is_none_or(String::is_empty) {
        errors.push(FieldError::required(at("image"), ""));
    }
    let message_policy = container.termination_message_policy.as_deref();
    errors.extend(one_of(&at("terminationMessagePolicy"), message_policy, MESSAGE_POLICIES));
    errors.extend(ports(&at("ports"), container.ports.as_deref().unwrap_or_default()));
    errors.extend(validate_env::validate(path, container));
    let privileged = container.security_context.as_ref().and_then(|sc| sc.privileged) == Some(true);
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    errors.extend(self::mounts(&at("volumeMounts"), mounts, devices, pod.volumes, privileged));
    errors.extend(self::devices(&at("volumeDevices"), devices, mounts, pod.volumes));
    errors.extend(one_of(&at("imagePullPolicy"), container.image_pull_policy.as_deref(), PULL_POLICIES));
    if let Some(resources) = &container.resources {
        errors.extend(validate_resources::requirements(&at("resources"), resources));
        let claims = resources.claims.as_deref().unwrap_or_default();
        errors.extend(validate_claims::of_container(&at("resources.claims"), claims, &pod.claims));
    }
    errors.extend(resize(&at("resizePolicy"), container, pod.spec.restart_policy.as_deref()));
    if let Some(context) = &container.security_context {
        let host_users = pod.spec.host_users != Some(false);
        errors.extend(validate_security::container(&at("securityContext"), context, host_users));
    }
    errors
}

/// What only containers of pods, not of templates, may not have: blanks around an image.
pub(super) fn of_pod(path: &str, spec: &PodSpec) -> FieldErrors {
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let lists = [("containers", &spec.containers[..]), ("initContainers", inits)];
    let each = lists.into_iter().flat_map(|(list, containers)| {
        containers.iter().enumerate().map(move |(index, container)| (list, index, container))
    });
    let padded = each.filter_map(|(list, index, container)| {
        let image = container.image.as_deref().filter(|image| image.trim() != *image)?;
        let detail = "must not have leading or trailing whitespace";
        Some(FieldError::invalid(format!("{path}.{list}[{index}].image"), image, detail))
    });
    padded.collect()
}

/// Containers that share the node's network have their ports on the node as well; templates may leave that open.
pub(super) fn host_network(path: &str, spec: &PodSpec, subject: Subject) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if spec.host_network != Some(true) {
        return errors;
    }
    for (index, container) in spec.containers.iter().enumerate() {
        for (port_index, port) in container.ports.iter().flatten().enumerate() {
            let host_port = port.host_port.unwrap_or(0);
            if (subject == Subject::Pod || host_port != 0) && host_port != port.container_port {
                let field = format!("{path}.containers[{index}].ports[{port_index}].hostPort");
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(field, host_port, detail));
            }
        }
    }
    errors
}

/// When a container is started again: by its policy, or by rules before that.
fn restart(path: &str, container: &Container) -> FieldErrors {
    const ACTIONS: [&str; 2] = ["Restart", "RestartAllContainers"];
    let at = |field: &str| format!("{path}.{field}");
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let policy = container.restart_policy.as_deref();
    let mut errors = one_of_optional(&at("restartPolicy"), policy, RESTART_POLICIES);
    if policy.is_none() && !rules.is_empty() {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(at("restartPolicy"), detail));
    }
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(at("restartPolicyRules"), rules.len(), MOST_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}.restartPolicyRules[{index}]");
        if !ACTIONS.contains(&rule.action.as_str()) {
            errors.push(FieldError::not_supported(format!("{path}.action"), rule.action.as_str(), &ACTIONS));
        }
        let path = format!("{path}.exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.push(FieldError::required(path, "must be specified"));
            continue;
        };
        let operator = codes.operator.as_str();
        if !["In", "NotIn"].contains(&operator) {
            errors.push(FieldError::not_supported(format!("{path}.operator"), operator, &["In", "NotIn"]));
        }
        let count = codes.values.iter().flatten().count();
        if count > MOST_CODES {
            errors.push(FieldError::too_many(format!("{path}.values"), count, MOST_CODES));
        }
    }
    errors
}

/// What a change of each resource does to a running container.
fn resize(path: &str, container: &Container, of_pod: Option<&str>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        let (resource, restart) = (policy.resource_name.as_str(), policy.restart_policy.as_str());
        if !seen.insert(resource) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), resource));
        }
        errors.extend(one_of(path, Some(resource), &["cpu", "memory"]));
        errors.extend(one_of(path, Some(restart), &["NotRequired", "RestartContainer"]));
        if of_pod == Some("Never") && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(path, restart, detail));
        }
    }
    errors
}

/// An init container that ends by itself is not started again for a resize.
fn restarted_while_resized(path: &str, container: &Container) -> FieldErrors {
    let policies = container.resize_policy.iter().flatten().enumerate();
    let restarted = policies.filter(|(_, policy)| policy.restart_policy == "RestartContainer");
    let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
    let refuse = |index| {
        FieldError::invalid(format!("{path}.resizePolicy[{index}].restartPolicy"), "RestartContainer", detail)
    };
    restarted.map(|(index, _)| refuse(index)).collect()
}

fn name(path: &str, name: &str) -> FieldErrors {
    if name.is_empty() { [FieldError::required(path, "")].into() } else { Form::DnsLabel.check(path, name) }
}

/// The image of a container.
pub(super) fn image(path: &str, image: &str) -> FieldErrors {
    if image.is_empty() {
        return [FieldError::required(path, "")].into();
    }
    if image.trim() != image {
        return [FieldError::invalid(path, image, "must not have leading or trailing whitespace")].into();
    }
    FieldErrors::new()
}

fn ports(path: &str, ports: &[ContainerPort]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let problems = Form::PortName.check(&at("name"), name);
            if problems.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(at("name"), name));
            }
            errors.extend(problems);
        }
        match port.container_port {
            0 => errors.push(FieldError::required(at("containerPort"), "")),
            number => errors.extend(check::port(&at("containerPort"), number.into())),
        }
        let host_port = port.host_port.unwrap_or(0);
        if host_port != 0 {
            errors.extend(check::port(&at("hostPort"), host_port.into()));
        }
        errors.extend(one_of(&at("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]));
    }
    errors
}

/// No two containers of a pod may ask for the same port of the node.
fn host_port_conflicts(path: &str, containers: &[Container]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (port_index, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let wanted = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
            if !seen.insert(wanted.clone()) {
                let field = format!("{path}[{index}].ports[{port_index}].hostPort");
                errors.push(FieldError::duplicate(field, wanted));
            }
        }
    }
    errors
}

fn mounts(
    path: &str,
    mounts: &[VolumeMount],
    devices: &[VolumeDevice],
    volumes: &Volumes,
    privileged: bool,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut paths = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        if mount.name.is_empty() {
            errors.push(FieldError::required(at("name"), ""));
        }
        if !volumes.contains_key(&mount.name) {
            errors.push(FieldError::new(FieldErrorKind::NotFound, at("name"), mount.name.as_str(), ""));
        }
        if mount.mount_path.is_empty() {
            errors.push(FieldError::required(at("mountPath"), ""));
        } else if !paths.insert(mount.mount_path.as_str()) {
            errors.push(FieldError::invalid(at("mountPath"), mount.mount_path.as_str(), "must be unique"));
        }
        if devices.iter().any(|device| device.name == mount.name) {
            let detail = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(at("name"), mount.name.as_str(), detail));
        }
        if devices.iter().any(|device| device.device_path == mount.mount_path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(at("mountPath"), mount.mount_path.as_str(), detail));
        }
        let sub_path = mount.sub_path.as_deref().unwrap_or("");
        let expression = mount.sub_path_expr.as_deref().unwrap_or("");
        // Kubernetes does not say of some fields which mount they are of.
        errors.extend(inside(&format!("{path}.subPath"), sub_path));
        errors.extend(inside(&format!("{path}.subPathExpr"), expression));
        if !sub_path.is_empty() && !expression.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(at("subPathExpr"), expression, detail));
        }
        let propagation = mount.mount_propagation.as_deref();
        let supported = ["Bidirectional", "HostToContainer", "None"];
        errors.extend(one_of_optional(&at("mountPropagation"), propagation, &supported));
        if propagation == Some("Bidirectional") && !privileged {
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            errors.push(FieldError::forbidden(at("mountPropagation"), detail));
        }
        errors.extend(recursive(&format!("{path}.recursiveReadOnly"), mount));
    }
    errors
}

/// Claims that a container has as block devices.
fn devices(path: &str, devices: &[VolumeDevice], mounts: &[VolumeMount], volumes: &Volumes) -> FieldErrors {
    let (mut names, mut paths, mut errors) = (BTreeSet::new(), BTreeSet::new(), FieldErrors::new());
    for (index, VolumeDevice { name, device_path }) in devices.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let wrong = |field: &str, value: &str, detail: &str| FieldError::invalid(at(field), value, detail);
        if name.is_empty() {
            errors.push(FieldError::required(at("name"), ""));
        } else if !names.insert(name) {
            errors.push(wrong("name", name, "must be unique"));
        }
        match volumes.get(name) {
            Some(true) => {}
            Some(false) => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(wrong("name", name, detail));
            }
            None => errors.push(FieldError::new(FieldErrorKind::NotFound, at("name"), name.as_str(), "")),
        }
        if device_path.is_empty() {
            errors.push(FieldError::required(at("devicePath"), ""));
        }
        if paths.contains(device_path) {
            errors.push(wrong("devicePath", device_path, "must be unique"));
        }
        if device_path.split('/').any(|part| part == "..") {
            errors.push(wrong("devicePath", device_path, "can not contain backsteps ('..')"));
        } else {
            paths.insert(device_path);
        }
        if mounts.iter().any(|mount| mount.name == *name) {
            errors.push(wrong("name", name, "must not already exist in volumeMounts"));
        }
        if mounts.iter().any(|mount| mount.mount_path == *device_path) {
            errors.push(wrong("devicePath", device_path, "must not already exist as a path in volumeMounts"));
        }
    }
    errors
}

/// Mounts below a mount are read-only with it where nothing can be mounted there later.
fn recursive(path: &str, mount: &VolumeMount) -> FieldErrors {
    let supported = ["Disabled", "Enabled", "IfPossible"];
    let mut errors = one_of_optional(path, mount.recursive_read_only.as_deref(), &supported);
    if !matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")) {
        return errors;
    }
    if mount.read_only != Some(true) {
        errors.push(FieldError::forbidden(path, "may only be specified when readOnly is true"));
    }
    if mount.mount_propagation.as_deref().is_some_and(|propagation| propagation != "None") {
        let detail = "may only be specified when mountPropagation is None or not specified";
        errors.push(FieldError::forbidden(path, detail));
    }
    errors
}
