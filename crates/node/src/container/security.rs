//! The security settings of a container: the pod's, overridden by its own.

use super::error::ConfigError;
use crate::pod::local::{LocalContainer, LocalPod};
use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};
use skiff_runtime::Seccomp;
use std::collections::BTreeSet;

/// The user a container is to run as; `user` still has to be looked up in the image.
#[derive(Debug, PartialEq)]
pub(crate) struct UserChoice {
    /// `""`, a name, a number, or either with a group, as images write it.
    pub(crate) user: String,
    /// Replaces the primary group.
    pub(crate) group: Option<u32>,
    /// Supplementary groups besides those of the image.
    pub(crate) groups: Vec<u32>,
    /// Leave out the image's supplementary groups.
    pub(crate) only_listed: bool,
}

/// The other settings.
#[derive(Debug, PartialEq)]
pub(crate) struct Confinement {
    pub(crate) privileged: bool,
    pub(crate) rootfs_readonly: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) unmasked_proc: bool,
    pub(crate) seccomp: Seccomp,
    /// With the `CAP_` prefix, sorted.
    pub(crate) capabilities: Vec<String>,
}

/// Capabilities of a container that asks for nothing.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What `ALL` stands for.
const ALL_CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Decides the user, and refuses one that breaks `runAsNonRoot`. `image_user` is as the image writes it.
pub(crate) fn user(
    pod: &LocalPod,
    container: &LocalContainer,
    image_user: &str,
) -> Result<UserChoice, ConfigError> {
    let (pod_wide, own) = contexts(pod, container);
    let run_as_user = own.run_as_user.or(pod_wide.run_as_user);
    let run_as_group = own.run_as_group.or(pod_wide.run_as_group);
    if own.run_as_non_root.or(pod_wide.run_as_non_root) == Some(true) {
        let (pod, container) = (pod.full_name(), container.name.to_string());
        let image_uid = image_user.split(':').next().unwrap_or_default();
        match (run_as_user, image_uid.parse::<u32>()) {
            (Some(0), _) => return Err(ConfigError::RunsAsRoot { pod, container }),
            (Some(_), _) => {}
            (None, Ok(0)) => return Err(ConfigError::ImageRunsAsRoot { pod, container }),
            (None, Ok(_)) => {}
            (None, Err(_)) if image_uid.is_empty() || image_uid == "root" => {
                return Err(ConfigError::ImageRunsAsRoot { pod, container });
            }
            (None, Err(_)) => {
                return Err(ConfigError::UserUnknown { user: image_uid.into(), pod, container });
            }
        }
    }
    let listed = pod_wide.supplemental_groups.iter().flatten().copied().chain(pod_wide.fs_group);
    Ok(UserChoice {
        user: match run_as_user {
            Some(uid) => number("runAsUser", uid)?.to_string(),
            None => image_user.to_owned(),
        },
        group: run_as_group.map(|gid| number("runAsGroup", gid)).transpose()?,
        groups: listed.map(|gid| number("supplementalGroups", gid)).collect::<Result<_, _>>()?,
        only_listed: pod_wide.supplemental_groups_policy.as_deref() == Some("Strict"),
    })
}

/// Decides everything but the user.
pub(crate) fn confinement(pod: &LocalPod, container: &LocalContainer) -> Result<Confinement, ConfigError> {
    let (pod_wide, own) = contexts(pod, container);
    let privileged = own.privileged == Some(true);
    let profile = own.seccomp_profile.or(pod_wide.seccomp_profile);
    let seccomp = match profile.as_ref().map(|profile| profile.type_.as_str()) {
        _ if privileged => Seccomp::Unconfined,
        None | Some("RuntimeDefault") => Seccomp::RuntimeDefault,
        Some("Unconfined") => Seccomp::Unconfined,
        Some(kind) => return Err(ConfigError::Seccomp { kind: kind.into() }),
    };
    let wanted = own.capabilities.unwrap_or_default();
    Ok(Confinement {
        privileged,
        rootfs_readonly: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
        seccomp,
        capabilities: capabilities(&wanted.add.unwrap_or_default(), &wanted.drop.unwrap_or_default()),
    })
}

fn contexts(pod: &LocalPod, container: &LocalContainer) -> (PodSecurityContext, SecurityContext) {
    let pod_wide = pod.spec.security_context.clone().unwrap_or_default();
    (pod_wide, container.spec.security_context.clone().unwrap_or_default())
}

fn number(what: &'static str, value: i64) -> Result<u32, ConfigError> {
    u32::try_from(value).map_err(|_| ConfigError::Number { what, value })
}

/// The default set without what is dropped, and with what is added; `ALL` works in both lists, and a capability that
/// is in both is kept.
fn capabilities(add: &[String], drop: &[String]) -> Vec<String> {
    let plain = |name: &String| name.to_uppercase().trim_start_matches("CAP_").to_owned();
    let (add, drop): (Vec<_>, Vec<_>) = (add.iter().map(plain).collect(), drop.iter().map(plain).collect());
    let has_all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let start: &[&str] = match (has_all(&add), has_all(&drop)) {
        (true, _) => &ALL_CAPABILITIES,
        (false, true) => &[],
        (false, false) => &DEFAULT_CAPABILITIES,
    };
    let mut set: BTreeSet<String> = start.iter().map(|name| (*name).to_owned()).collect();
    set.retain(|name| !drop.contains(name));
    set.extend(add.into_iter().filter(|name| name != "ALL"));
    set.into_iter().map(|name| format!("CAP_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn check_user(
        pod_wide: &str,
        own: &str,
        image: &str,
        expected: Result<(&str, Option<u32>, &[u32]), &str>,
    ) {
        let pod = pod_of(&format!(
            r#"{{"securityContext": {pod_wide}, "containers": [{{"name": "c", "securityContext": {own}}}]}}"#
        ));
        let actual = user(&pod, &pod.containers[0], image);
        match (actual, expected) {
            (Ok(choice), Ok((user, group, groups))) => {
                assert_eq!(
                    (choice.user.as_str(), choice.group, choice.groups.as_slice()),
                    (user, group, groups)
                );
            }
            (Err(error), Err(text)) => assert_eq!(error.to_string(), text),
            (actual, expected) => panic!("{actual:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_containers_user_wins_over_the_pods_and_the_images() {
        check_user("{}", "{}", "nginx", Ok(("nginx", None, &[])));
        check_user(r#"{"runAsUser": 1, "runAsGroup": 2}"#, "{}", "nginx", Ok(("1", Some(2), &[])));
        check_user(r#"{"runAsUser": 1}"#, r#"{"runAsUser": 3}"#, "", Ok(("3", None, &[])));
        check_user(r#"{"supplementalGroups": [5], "fsGroup": 6}"#, "{}", "", Ok(("", None, &[5, 6])));
    }

    #[test]
    fn root_is_refused_where_it_must_be() {
        let strict = r#"{"runAsNonRoot": true}"#;
        check_user(strict, "{}", "101", Ok(("101", None, &[])));
        check_user(strict, r#"{"runAsUser": 7}"#, "", Ok(("7", None, &[])));
        check_user(
            strict,
            "{}",
            "",
            Err("container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"),
        );
        check_user(
            strict,
            "{}",
            "nginx",
            Err(
                "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root (pod: \"p_ns(u)\", container: c)",
            ),
        );
        check_user(
            strict,
            r#"{"runAsUser": 0}"#,
            "101",
            Err("container's runAsUser breaks non-root policy (pod: \"p_ns(u)\", container: c)"),
        );
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        let check = |add: &[&str], drop: &[&str], has: &[&str], lacks: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let set = capabilities(&owned(add), &owned(drop));
            assert!(has.iter().all(|name| set.contains(&(*name).to_owned())), "{set:?}");
            assert!(!lacks.iter().any(|name| set.contains(&(*name).to_owned())), "{set:?}");
        };
        check(&[], &[], &["CAP_CHOWN"], &["CAP_SYS_ADMIN"]);
        check(&["NET_ADMIN"], &["ALL"], &["CAP_NET_ADMIN"], &["CAP_CHOWN"]);
        check(&["ALL"], &["KILL"], &["CAP_SYS_ADMIN"], &["CAP_KILL"]);
        check(&["cap_sys_time"], &["CAP_CHOWN"], &["CAP_SYS_TIME", "CAP_KILL"], &["CAP_CHOWN"]);
    }

    #[test]
    fn privileged_lifts_the_filter() {
        let pod = pod_of(
            r#"{"containers": [{"name": "c", "securityContext": {"privileged": true, "readOnlyRootFilesystem": true}},
                               {"name": "d", "securityContext": {"allowPrivilegeEscalation": false}}]}"#,
        );
        let first = confinement(&pod, &pod.containers[0]).unwrap();
        assert!(first.privileged && first.rootfs_readonly && first.seccomp == Seccomp::Unconfined);
        let second = confinement(&pod, &pod.containers[1]).unwrap();
        assert!(second.no_new_privileges && second.seccomp == Seccomp::RuntimeDefault);
    }
}
