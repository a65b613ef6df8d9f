//! Checks of security contexts and of sharing with the host.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, SecurityContext};
use serde_json::{Value, json};

use crate::shared::check::{one_of, one_of_optional};
use skiff_machinery::{FieldError, FieldErrors};

/// Checks what a pod spec at `path` says of its processes' rights.
pub(super) fn pod(path: &str, spec: &PodSpec) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        let path = format!("{path}.securityContext.shareProcessNamespace");
        errors.push(FieldError::invalid(path, true, detail));
    }
    errors.extend(proc_mounts(path, spec));
    errors.extend(host_namespaces(path, spec));
    let Some(context) = &spec.security_context else { return errors };
    let path = format!("{path}.securityContext");
    let ids = [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ];
    for (field, id) in ids {
        errors.extend(id.iter().flat_map(|id| self::id(&format!("{path}.{field}"), *id)));
    }
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        errors.extend(id(&format!("{path}.supplementalGroups[{index}]"), *group));
    }
    let mut known = BTreeSet::new();
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let path = format!("{path}.sysctls[{index}].name");
        let name = sysctl.name.replace('/', ".");
        let parts = |separator| sysctl.name.split(separator);
        let shaped = parts(['.', '/']).all(|part| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let ends = [part.bytes().next(), part.bytes().last()];
            ends.iter().all(|b| b.is_some_and(inner)) && part.bytes().all(|b| inner(b) || b"-_".contains(&b))
        });
        if sysctl.name.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !shaped {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(path, sysctl.name.as_str(), detail));
        } else if !known.insert(name) {
            errors.push(FieldError::duplicate(path, sysctl.name.as_str()));
        }
    }
    let policy = context.fs_group_change_policy.as_deref();
    errors.extend(one_of_optional(
        &format!("{path}.fsGroupChangePolicy"),
        policy,
        &["Always", "OnRootMismatch"],
    ));
    errors.extend(seccomp(&path, context.seccomp_profile.as_ref()));
    errors.extend(app_armor(&path, context.app_armor_profile.as_ref()));
    let policy = context.supplemental_groups_policy.as_deref();
    errors.extend(one_of_optional(&format!("{path}.supplementalGroupsPolicy"), policy, &["Merge", "Strict"]));
    errors
}

/// Of the node's namespaces a pod has all that it asks for, or none of its processes are anybody there.
fn host_namespaces(path: &str, spec: &PodSpec) -> FieldErrors {
    if spec.host_users != Some(false) {
        return FieldErrors::new();
    }
    let shared = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    let shared = shared.into_iter().filter(|(_, asked)| *asked == Some(true));
    shared
        .map(|(field, _)| FieldError::forbidden(format!("{path}.{field}"), "when `hostUsers` is false"))
        .collect()
}

/// The whole of `/proc` is only for processes that are nobody on the node.
fn proc_mounts(path: &str, spec: &PodSpec) -> FieldErrors {
    let of = |list: &'static str, index: usize, context: &Option<SecurityContext>| {
        let kind = context.as_ref()?.proc_mount.clone()?;
        Some((format!("{path}.{list}[{index}].securityContext.procMount"), kind))
    };
    let inits = spec.init_containers.iter().flatten().enumerate();
    let inits = inits.filter_map(|(index, c)| of("initContainers", index, &c.security_context));
    let mains = spec.containers.iter().enumerate();
    let mains = mains.filter_map(|(index, c)| of("containers", index, &c.security_context));
    let check = |(field, kind): (String, String)| match kind.as_str() {
        "Unmasked" if spec.host_users != Some(false) => {
            [FieldError::invalid(field, kind, "`hostUsers` must be false to use `Unmasked`")].into()
        }
        _ => one_of_optional(&field, Some(&kind), &["Default", "Unmasked"]),
    };
    inits.chain(mains).flat_map(check).collect()
}

/// Checks a container's security context at `path`.
pub(super) fn container(path: &str, context: &SecurityContext) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        errors.extend(id.iter().flat_map(|id| self::id(&format!("{path}.{field}"), *id)));
    }
    errors.extend(seccomp(path, context.seccomp_profile.as_ref()));
    errors.extend(app_armor(path, context.app_armor_profile.as_ref()));
    if context.allow_privilege_escalation != Some(false) {
        return errors;
    }
    let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    let admin = added.into_iter().any(|name| name == "CAP_SYS_ADMIN");
    let conflict = match (context.privileged, admin) {
        (Some(true), _) => "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        (_, true) => "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        _ => return errors,
    };
    errors.push(FieldError::invalid(path, Value::Null, conflict).showing(shown(context)));
    errors
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

fn app_armor(path: &str, profile: Option<&AppArmorProfile>) -> FieldErrors {
    let Some(profile) = profile else { return FieldErrors::new() };
    let path = format!("{path}.appArmorProfile");
    let types = ["Localhost", "RuntimeDefault", "Unconfined"];
    let mut errors = one_of(&format!("{path}.type"), Some(&profile.type_), &types);
    let name = format!("{path}.localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None) => {
            errors.push(FieldError::required(name, "must be set when AppArmor type is Localhost"));
        }
        ("Localhost", Some(given)) if given.trim().is_empty() => {
            errors.push(FieldError::required(name, "must be set when AppArmor type is Localhost"));
        }
        ("Localhost", Some(given)) if given.trim() != given => {
            errors.push(FieldError::invalid(name, given, "must not be padded with whitespace"));
        }
        ("Localhost", _) | (_, None) => {}
        (_, Some(given)) => {
            let detail = "can only be set when AppArmor type is Localhost";
            errors.push(FieldError::invalid(name, given, detail));
        }
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
    let path = format!("{path}.seccompProfile");
    let types = ["Localhost", "RuntimeDefault", "Unconfined"];
    let mut errors = one_of(&format!("{path}.type"), Some(&profile.type_), &types);
    let file = format!("{path}.localhostProfile");
    let given = profile.localhost_profile.as_ref().is_some_and(|file| !file.is_empty());
    if profile.type_ == "Localhost" && !given {
        errors.push(FieldError::required(file, "must be set when seccomp type is Localhost"));
    } else if profile.type_ != "Localhost" && given {
        let value = profile.localhost_profile.clone();
        errors.push(FieldError::invalid(file, value, "can only be set when seccomp type is Localhost"));
    }
    errors
}
