//! How the kernel confines containers: AppArmor, SELinux, seccomp, what `/proc` shows.

use serde_json::Value;

use super::Finding;
use crate::pod::{Pod, name, text};
use crate::text::{Setters, Values, go_quoted, named, plural, quoted};

const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_ANNOTATION: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Profiles are the runtime's or the node's, for seccomp and AppArmor alike.
fn is_confined(profile: &Value) -> bool {
    matches!(text(&profile["type"]), "RuntimeDefault" | "Localhost")
}

/// AppArmor's default profile is kept, or another profile of the node is taken.
pub(super) fn app_armor(pod: Pod<'_>) -> Option<Finding> {
    let (setters, values) = bad_profiles(pod, "appArmorProfile");
    let mut who = setters.parts();
    let mut values: Vec<String> = values.into_iter().map(str::to_owned).collect();

    let allowed = |v: &str| v.is_empty() || v == "runtime/default" || v.starts_with("localhost/");
    let annotations = pod.annotations().filter(|(k, v)| k.starts_with(APP_ARMOR_ANNOTATION) && !allowed(v));
    let mut annotations: Vec<String> = annotations.map(|(k, v)| format!("{k}={}", go_quoted(v))).collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", annotations.len()));
        annotations.sort();
        values.append(&mut annotations);
    }
    if who.is_empty() {
        return None;
    }
    let reason = plural("forbidden AppArmor profile", values.len());
    let who = who.join(" and ");
    Some(Finding::new(reason, format!("{who} must not set AppArmor profile type to {}", quoted(values))))
}

/// Who sets a profile that does not confine, and the types of those profiles.
fn bad_profiles<'a>(pod: Pod<'a>, field: &str) -> (Setters<'a>, Values<'a>) {
    let mut values = Values::new();
    let setters = pod.setters(|context| {
        let profile = &context[field];
        let bad = !profile.is_null() && !is_confined(profile);
        if bad {
            values.insert(text(&profile["type"]));
        }
        bad
    });
    (setters, values)
}

/// Annotations, which versions before 1.19 had instead of fields.
pub(super) fn seccomp_annotations(pod: Pod<'_>) -> Option<Finding> {
    let allowed = |v: &str| matches!(v, "runtime/default" | "docker/default") || v.starts_with("localhost/");
    let read = |key: &str| {
        key == SECCOMP_POD_ANNOTATION
            || key.strip_prefix(SECCOMP_ANNOTATION).is_some_and(|c| pod.containers().any(|o| name(o) == c))
    };
    let bad = pod.annotations().filter(|(key, value)| read(key) && !allowed(value));
    let mut bad: Vec<String> = bad.map(|(key, value)| format!("{key}={}", go_quoted(value))).collect();
    bad.sort();
    let noun = plural("annotation", bad.len());
    (!bad.is_empty()).then(|| Finding::new("seccompProfile", format!("forbidden {noun} {}", bad.join(", "))))
}

/// Seccomp is not turned off.
pub(super) fn seccomp_baseline(pod: Pod<'_>) -> Option<Finding> {
    let (setters, values) = bad_profiles(pod, "seccompProfile");
    let detail = || {
        let (who, values) = (setters.text(), quoted(values));
        format!("{who} must not set securityContext.seccompProfile.type to {values}")
    };
    (!setters.none()).then(|| Finding::new("seccompProfile", detail()))
}

/// Seccomp is turned on, for every container or for the pod.
pub(super) fn seccomp_restricted(pod: Pod<'_>) -> Option<Finding> {
    let explicit = seccomp_baseline(pod);
    if explicit.is_some() || !pod.security_context()["seccompProfile"].is_null() {
        return explicit;
    }
    let silent = pod.containers_with(|c| c["securityContext"]["seccompProfile"].is_null());
    (!silent.is_empty()).then(|| {
        let must = r#"must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost""#;
        Finding::new("seccompProfile", format!("pod or {} {must}", named("container", &silent)))
    })
}

/// `/proc` is masked as runtimes do by default.
pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Finding> {
    let mut values = Values::new();
    let bad = pod.containers_with(|container| {
        let value = container["securityContext"]["procMount"].as_str().filter(|v| *v != "Default");
        values.extend(value);
        value.is_some()
    });
    (!bad.is_empty()).then(|| {
        let who = named("container", &bad);
        let detail = format!("{who} must not set securityContext.procMount to {}", quoted(values));
        Finding::new("procMount", detail)
    })
}

const SE_LINUX_TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t"];

pub(super) fn se_linux_1_0(pod: Pod<'_>) -> Option<Finding> {
    se_linux(pod, &|kind| SE_LINUX_TYPES.contains(&kind))
}

pub(super) fn se_linux_1_31(pod: Pod<'_>) -> Option<Finding> {
    se_linux(pod, &|kind| SE_LINUX_TYPES.contains(&kind) || kind == "container_engine_t")
}

/// SELinux types are those of containers; users and roles are not set.
fn se_linux(pod: Pod<'_>, allowed: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let (mut types, mut user_set, mut role_set) = (Values::new(), false, false);
    let setters = pod.setters(|context| {
        let options = &context["seLinuxOptions"];
        let kind = text(&options["type"]);
        let (user, role) = (!text(&options["user"]).is_empty(), !text(&options["role"]).is_empty());
        if !allowed(kind) {
            types.insert(kind);
        }
        user_set |= user;
        role_set |= role;
        user || role || !allowed(kind)
    });
    if setters.none() {
        return None;
    }
    let types: Vec<&str> = types.into_iter().collect();
    let types = (!types.is_empty()).then(|| named("type", &types));
    let user = user_set.then(|| "user may not be set".to_owned());
    let role = role_set.then(|| "role may not be set".to_owned());
    let what: Vec<String> = types.into_iter().chain(user).chain(role).collect();
    let detail =
        format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.text(), what.join("; "));
    Some(Finding::new("seLinuxOptions", detail))
}
