//! Checks of security contexts: who processes are, and what they may do.
//!
//! Source: `kubernetes/pkg/apis/core/validation`, whose order the errors have.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, SecurityContext, Sysctl};
use serde_json::{Value, json};

use super::validate_windows;
use crate::shared::check::{inside, one_of, one_of_optional};
use skiff_machinery::{FieldError, FieldErrors};

/// Checks the security context of a pod spec at `path`.
pub(super) fn pod(path: &str, spec: &PodSpec) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let context = spec.security_context.clone().unwrap_or_default();
    let at = |field: &str| format!("{path}.securityContext.{field}");
    let ids = [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ];
    for (field, id) in ids {
        errors.extend(id.iter().flat_map(|id| self::id(&at(field), *id)));
    }
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        errors.extend(id(&at(&format!("supplementalGroups[{index}]")), *group));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(at("shareProcessNamespace"), true, detail));
    }
    errors.extend(sysctls(&at("sysctls"), context.sysctls.as_deref().unwrap_or_default(), spec));
    let policy = context.fs_group_change_policy.as_deref();
    errors.extend(one_of_optional(&at("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]));
    errors.extend(seccomp(&at("seccompProfile"), context.seccomp_profile.as_ref()));
    errors.extend(validate_windows::options(&at("windowsOptions"), context.windows_options.as_ref()));
    errors.extend(app_armor(&at("appArmorProfile"), context.app_armor_profile.as_ref()));
    let policy = context.supplemental_groups_policy.as_deref();
    errors.extend(one_of_optional(&at("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]));
    let policy = context.se_linux_change_policy.as_deref();
    errors.extend(one_of_optional(&at("seLinuxChangePolicy"), policy, &["MountOption", "Recursive"]));
    errors
}

/// Parameters of the kernel; those of a namespace that the pod shares with the node are the node's.
fn sysctls(path: &str, sysctls: &[Sysctl], spec: &PodSpec) -> FieldErrors {
    let (mut errors, mut known) = (FieldErrors::new(), BTreeSet::new());
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = format!("{path}[{index}].name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(path.as_str(), ""));
        } else if !is_sysctl(name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(path.as_str(), name, detail));
        } else if known.contains(name) {
            errors.push(FieldError::duplicate(path.as_str(), name));
        }
        known.insert(name);
        let shared = match namespace(name) {
            Some("hostNetwork") if spec.host_network == Some(true) => "hostNetwork",
            Some("hostIPC") if spec.host_ipc == Some(true) => "hostIPC",
            _ => continue,
        };
        let detail = format!("may not be specified when '{shared}' is true");
        errors.push(FieldError::invalid(path.as_str(), name, detail));
    }
    errors
}

fn is_sysctl(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_part = |part: &str| {
        let ends = [part.bytes().next(), part.bytes().last()];
        ends.iter().all(|b| b.is_some_and(inner)) && part.bytes().all(|b| inner(b) || b"-_".contains(&b))
    };
    name.len() <= 253 && name.split(['.', '/']).all(is_part)
}

/// The field with which a pod shares the namespace that a parameter belongs to.
fn namespace(sysctl: &str) -> Option<&'static str> {
    let name = sysctl.replace('/', ".");
    let is_ipc = name == "kernel.sem"
        || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix));
    if name.starts_with("net.") { Some("hostNetwork") } else { is_ipc.then_some("hostIPC") }
}

/// What a pod that is nobody on the node cannot share with it, or use of it.
pub(super) fn host_users(path: &str, spec: &PodSpec) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if spec.host_users != Some(false) {
        return errors;
    }
    let detail = "when `hostUsers` is false";
    let shared = [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
    for (field, _) in shared.into_iter().filter(|(_, asked)| *asked == Some(true)) {
        errors.push(FieldError::forbidden(format!("{path}.{field}"), detail));
    }
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    for (list, containers) in [("initContainers", inits), ("containers", &spec.containers)] {
        let has_devices = |devices: &Option<Vec<_>>| devices.as_ref().is_some_and(|list| !list.is_empty());
        for (index, _) in containers.iter().enumerate().filter(|(_, it)| has_devices(&it.volume_devices)) {
            errors.push(FieldError::forbidden(format!("{path}.{list}[{index}].volumeDevices"), detail));
        }
    }
    errors
}

/// Checks a container's security context at `path`; `host_users` is whether its pod's users are the node's.
pub(super) fn container(path: &str, context: &SecurityContext, host_users: bool) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = |field: &str| format!("{path}.{field}");
    for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        errors.extend(id.iter().flat_map(|id| self::id(&at(field), *id)));
    }
    if let Some(kind) = context.proc_mount.as_deref() {
        errors.extend(proc_mount(&at("procMount"), kind, host_users));
    }
    errors.extend(seccomp(&at("seccompProfile"), context.seccomp_profile.as_ref()));
    if context.allow_privilege_escalation == Some(false) {
        let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        let privileged = (context.privileged == Some(true)).then_some("`privileged` to true");
        let admin = added.filter(|name| *name == "CAP_SYS_ADMIN").map(|_| "`capabilities.Add` CAP_SYS_ADMIN");
        for what in privileged.into_iter().chain(admin) {
            let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            errors.push(FieldError::invalid(path, Value::Null, detail).showing(shown(context)));
        }
    }
    errors.extend(validate_windows::options(&at("windowsOptions"), context.windows_options.as_ref()));
    errors.extend(app_armor(&at("appArmorProfile"), context.app_armor_profile.as_ref()));
    errors
}

/// The whole of `/proc` is only for processes that are nobody on the node.
fn proc_mount(path: &str, kind: &str, host_users: bool) -> FieldErrors {
    let kinds = ["Default", "Unmasked"];
    if !kinds.contains(&kind) {
        return [FieldError::not_supported(path, kind, &kinds)].into();
    }
    if kind == "Unmasked" && host_users {
        return [FieldError::invalid(path, kind, "`hostUsers` must be false to use `Unmasked`")].into();
    }
    FieldErrors::new()
}

/// A security context as Kubernetes' own type has it, as far as its fields are of a simple type there.
fn shown(context: &SecurityContext) -> String {
    let list = |names: &Option<Vec<String>>| json!(names);
    let capabilities = context.capabilities.as_ref().map_or("null".to_owned(), |capabilities| {
        format!(r#"{{"Add":{},"Drop":{}}}"#, list(&capabilities.add), list(&capabilities.drop))
    });
    format!(
        r#"{{"Capabilities":{capabilities},"Privileged":{},"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":{},"RunAsGroup":{},"RunAsNonRoot":{},"ReadOnlyRootFilesystem":{},"AllowPrivilegeEscalation":{},"ProcMount":{},"SeccompProfile":null,"AppArmorProfile":null}}"#,
        json!(context.privileged),
        json!(context.run_as_user),
        json!(context.run_as_group),
        json!(context.run_as_non_root),
        json!(context.read_only_root_filesystem),
        json!(context.allow_privilege_escalation),
        json!(context.proc_mount),
    )
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// The type of a profile, which has to be there; `field` is the profile's.
fn profile_type(path: &str, field: &str, kind: &str) -> FieldErrors {
    match kind {
        "" => [FieldError::required(path, format!("type is required when {field} is set"))].into(),
        kind => one_of(path, Some(kind), &PROFILES),
    }
}

fn app_armor(path: &str, profile: Option<&AppArmorProfile>) -> FieldErrors {
    /// Bytes of the longest path.
    const LONGEST: usize = 4095;
    let Some(profile) = profile else { return FieldErrors::new() };
    let name = format!("{path}.localhostProfile");
    let missing = || FieldError::required(name.as_str(), "must be set when AppArmor type is Localhost");
    let mut errors = FieldErrors::new();
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None) => errors.push(missing()),
        ("Localhost", Some(given)) => {
            if given.trim() != given {
                let detail = "must not be padded with whitespace";
                errors.push(FieldError::invalid(name.as_str(), given, detail));
            } else if given.is_empty() {
                errors.push(missing());
            }
            if given.len() > LONGEST {
                errors.push(FieldError::too_long(name.as_str(), LONGEST));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(given)) => {
            let detail = "can only be set when AppArmor type is Localhost";
            errors.push(FieldError::invalid(name.as_str(), given, detail));
        }
        (kind, _) => errors.extend(profile_type(&format!("{path}.type"), "appArmorProfile", kind)),
    }
    errors
}

fn id(path: &str, id: i64) -> FieldErrors {
    if (0..=i64::from(i32::MAX)).contains(&id) {
        return FieldErrors::new();
    }
    [FieldError::invalid(path, id, format!("must be between 0 and {}, inclusive", i32::MAX))].into()
}

fn seccomp(path: &str, profile: Option<&SeccompProfile>) -> FieldErrors {
    let Some(profile) = profile else { return FieldErrors::new() };
    let mut errors = profile_type(&format!("{path}.type"), "seccompProfile", &profile.type_);
    let file = format!("{path}.localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None) => {
            errors.push(FieldError::required(file, "must be set when seccomp type is Localhost"));
        }
        ("Localhost", Some(given)) => errors.extend(inside(&file, given)),
        (kind, Some(given)) => {
            let shown = format!(r#"{{"Type":{},"LocalhostProfile":{}}}"#, json!(kind), json!(given));
            let detail = "can only be set when seccomp type is Localhost";
            errors.push(FieldError::invalid(file, Value::Null, detail).showing(shown));
        }
        (_, None) => {}
    }
    errors
}
