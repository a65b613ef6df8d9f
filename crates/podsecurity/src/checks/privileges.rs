//! What containers may do.

use super::Finding;
use crate::pod::{Pod, items, text};
use crate::text::{Values, named, quoted};

/// No container is privileged.
pub(super) fn privileged(pod: Pod<'_>) -> Option<Finding> {
    let bad = pod.containers_with(|container| container["securityContext"]["privileged"] == true);
    let detail = "must not set securityContext.privileged=true";
    (!bad.is_empty()).then(|| Finding::new("privileged", format!("{} {detail}", named("container", &bad))))
}

/// Every container says that it gains no privileges.
pub(super) fn escalation(pod: Pod<'_>) -> Option<Finding> {
    let bad = pod.containers_with(|c| c["securityContext"]["allowPrivilegeEscalation"] != false);
    let detail = "must set securityContext.allowPrivilegeEscalation=false";
    let reason = "allowPrivilegeEscalation != false";
    (!bad.is_empty()).then(|| Finding::new(reason, format!("{} {detail}", named("container", &bad))))
}

/// Capabilities that runtimes give by default, without NET_RAW.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// No container adds other capabilities than the default ones.
pub(super) fn capabilities_baseline(pod: Pod<'_>) -> Option<Finding> {
    let added = added(pod, DEFAULT_CAPABILITIES)?;
    Some(Finding::new("non-default capabilities", added))
}

/// Every container drops all capabilities, and adds NET_BIND_SERVICE at most.
pub(super) fn capabilities_restricted(pod: Pod<'_>) -> Option<Finding> {
    let keeping = pod.containers_with(|container| {
        let dropped = items(&container["securityContext"]["capabilities"]["drop"]);
        !dropped.iter().any(|capability| capability == "ALL")
    });
    let keeps = (!keeping.is_empty()).then(|| {
        format!(r#"{} must set securityContext.capabilities.drop=["ALL"]"#, named("container", &keeping))
    });
    let parts: Vec<String> = keeps.into_iter().chain(added(pod, &["NET_BIND_SERVICE"])).collect();
    (!parts.is_empty()).then(|| Finding::new("unrestricted capabilities", parts.join("; ")))
}

/// Which containers add capabilities beyond these.
fn added(pod: Pod<'_>, allowed: &[&str]) -> Option<String> {
    let mut forbidden = Values::new();
    let bad = pod.containers_with(|container| {
        let added = items(&container["securityContext"]["capabilities"]["add"]).iter().map(text);
        let beyond: Vec<&str> = added.filter(|capability| !allowed.contains(capability)).collect();
        forbidden.extend(&beyond);
        !beyond.is_empty()
    });
    let who = (!bad.is_empty()).then(|| named("container", &bad))?;
    Some(format!("{who} must not include {} in securityContext.capabilities.add", quoted(forbidden)))
}
