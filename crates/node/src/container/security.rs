//! The security settings of a container: the pod's, overridden by its own.

use super::error::ConfigError;
use crate::node::modules::SecurityModules;
use crate::pod::local::{LocalContainer, LocalPod};
use k8s_openapi::api::core::v1::{AppArmorProfile, PodSecurityContext, SELinuxOptions, SecurityContext};
use skiff_ordered::Ordered as _;
use skiff_runtime::{Seccomp, UserSpec};
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
    /// The whole of `/proc`, as the pod's user namespace may use it.
    pub(crate) unmasked: bool,
    pub(crate) rootfs_readonly: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Seccomp,
    /// With the `CAP_` prefix, sorted.
    pub(crate) capabilities: Vec<String>,
}

impl UserChoice {
    /// The user in numbers, where the image knows it as `found`. The primary group is also a supplementary one, so that
    /// whoever drops it still is refused what it is refused (CVE-2022-36109).
    pub(crate) fn apply(self, found: UserSpec) -> UserSpec {
        let gid = self.group.unwrap_or(found.gid);
        let of_image = found.groups.into_iter().filter(|_| !self.only_listed);
        let mut groups = vec![gid];
        for group in of_image.chain(self.groups) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        UserSpec { uid: found.uid, gid, groups }
    }
}

/// Why the node cannot isolate a pod as it asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One word for the pod's status.
    pub(crate) reason: &'static str,
    pub(crate) text: String,
}

impl Refusal {
    fn new(reason: &'static str, text: impl Into<String>) -> Option<Self> {
        Some(Self { reason, text: text.into() })
    }
}

/// Annotation by which profiles were chosen before there was a field for it.
const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What the pod asks for to be isolated by and this node does not give. Running it without would be a promise broken
/// where nobody looks; but labels mean nothing on a machine without SELinux, and there every runtime leaves them out.
pub(crate) fn isolation_refused(pod: &LocalPod, modules: SecurityModules) -> Option<Refusal> {
    let context = pod.spec.security_context.clone().unwrap_or_default();
    let annotated = pod.meta.annotations.iter().flatten();
    let annotated = annotated.into_iter().any(|(key, value)| {
        key.starts_with(APPARMOR_ANNOTATION) && !value.is_empty() && value != "unconfined"
    });
    if annotated || is_enforced(context.app_armor_profile.as_ref()) {
        return no_apparmor(modules);
    }
    if modules.selinux && is_labelled(context.se_linux_options.as_ref()) {
        return no_selinux();
    }
    pod.containers.iter().find_map(|container| container_refused(pod, container, modules))
}

/// The same for one container: ephemeral ones come after the pod was admitted.
fn container_refused(
    pod: &LocalPod,
    container: &LocalContainer,
    modules: SecurityModules,
) -> Option<Refusal> {
    let context = container.spec.security_context.clone().unwrap_or_default();
    if is_enforced(context.app_armor_profile.as_ref()) {
        return no_apparmor(modules);
    }
    if modules.selinux && is_labelled(context.se_linux_options.as_ref()) {
        return no_selinux();
    }
    match context.proc_mount.as_deref() {
        None | Some("Default") => None,
        // Ephemeral containers come past the API's check of the pod.
        Some("Unmasked") if pod.spec.host_users == Some(false) => None,
        Some(kind) => Refusal::new(
            "ProcMount",
            format!(
                "procMount {kind} of container {:?} needs a user namespace, but hostUsers of the pod is not false",
                container.name.to_string()
            ),
        ),
    }
}

fn is_enforced(profile: Option<&AppArmorProfile>) -> bool {
    profile.is_some_and(|profile| profile.type_ != "Unconfined")
}

fn no_apparmor(modules: SecurityModules) -> Option<Refusal> {
    let why = if modules.apparmor {
        "profiles are not applied on this node"
    } else {
        "AppArmor is not enabled on the host"
    };
    Refusal::new("AppArmor", format!("Cannot enforce AppArmor: {why}"))
}

fn is_labelled(options: Option<&SELinuxOptions>) -> bool {
    options.is_some_and(|options| *options != SELinuxOptions::default())
}

fn no_selinux() -> Option<Refusal> {
    Refusal::new("SELinux", "Cannot enforce SELinux: labels are not applied on this node")
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
pub(crate) fn confinement(
    pod: &LocalPod,
    container: &LocalContainer,
    modules: SecurityModules,
) -> Result<Confinement, ConfigError> {
    if let Some(Refusal { text, .. }) = container_refused(pod, container, modules) {
        return Err(ConfigError::Isolation { text });
    }
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
        unmasked: own.proc_mount.as_deref() == Some("Unmasked"),
        rootfs_readonly: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
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
    let mut set: BTreeSet<String> = start.iter().map(|name| (*name).to_owned()).to_set();
    set.retain(|name| !drop.contains(name));
    set.extend(add.into_iter().filter(|name| name != "ALL"));
    set.into_iter().map(|name| format!("CAP_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    /// A machine without security modules.
    const NONE: SecurityModules = SecurityModules { apparmor: false, selinux: false };

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
    fn the_primary_group_is_a_supplementary_one() {
        let found = || UserSpec { uid: 101, gid: 102, groups: vec![33, 5] };
        let choice =
            |group, only_listed| UserChoice { user: String::new(), group, groups: vec![5, 6], only_listed };
        let groups = |group, only_listed| choice(group, only_listed).apply(found()).groups;
        assert_eq!(groups(None, false), [102, 33, 5, 6]);
        assert_eq!(groups(Some(3000), false), [3000, 33, 5, 6]);
        assert_eq!(groups(Some(3000), true), [3000, 5, 6]);
        assert_eq!(choice(Some(3000), true).apply(found()).gid, 3000);
    }

    #[test]
    fn isolation_that_is_not_there_is_refused() {
        let with_selinux = SecurityModules { selinux: true, apparmor: false };
        let check = |pod_wide: &str, own: &str, expected: Option<&str>| {
            let pod = pod_of(&format!(
                r#"{{{pod_wide} "containers": [{{"name": "c", "securityContext": {own}}}]}}"#
            ));
            assert_eq!(
                isolation_refused(&pod, with_selinux).map(|refusal| refusal.reason),
                expected,
                "{pod_wide} {own}"
            );
        };
        check("", "{}", None);
        check(r#""hostUsers": true,"#, r#"{"procMount": "Default", "seLinuxOptions": {}}"#, None);
        check("", r#"{"appArmorProfile": {"type": "Unconfined"}}"#, None);
        check(r#""hostUsers": false,"#, "{}", None);
        check(r#""hostUsers": false,"#, r#"{"procMount": "Unmasked"}"#, None);
        check("", r#"{"procMount": "Unmasked"}"#, Some("ProcMount"));
        check("", r#"{"appArmorProfile": {"type": "RuntimeDefault"}}"#, Some("AppArmor"));
        check(
            r#""securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "x"}},"#,
            "{}",
            Some("AppArmor"),
        );
        check("", r#"{"seLinuxOptions": {"level": "s0:c1"}}"#, Some("SELinux"));
        check(r#""securityContext": {"seLinuxOptions": {"type": "t"}},"#, "{}", Some("SELinux"));
        let labelled = pod_of(
            r#"{"securityContext": {"seLinuxOptions": {"level": "s0:c1"}},
                "containers": [{"name": "c", "securityContext": {"seLinuxOptions": {"type": "t"}}}]}"#,
        );
        assert_eq!(isolation_refused(&labelled, NONE), None, "no runtime labels without SELinux");
        let armoured = pod_of(
            r#"{"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}, "containers": []}"#,
        );
        let text = |modules| isolation_refused(&armoured, modules).unwrap().text;
        assert_eq!(text(NONE), "Cannot enforce AppArmor: AppArmor is not enabled on the host");
        let with_apparmor = SecurityModules { apparmor: true, selinux: false };
        assert_eq!(text(with_apparmor), "Cannot enforce AppArmor: profiles are not applied on this node");
        let late = pod_of(
            r#"{"containers": [{"name": "c"}],
                "ephemeralContainers": [{"name": "e", "securityContext": {"procMount": "Unmasked"}}]}"#,
        );
        assert!(confinement(&late, &late.containers[0], NONE).is_ok_and(|confined| !confined.unmasked));
        assert!(confinement(&late, &late.containers[1], NONE).is_err());
        let mut apart = late;
        apart.spec.host_users = Some(false);
        assert!(confinement(&apart, &apart.containers[1], NONE).is_ok_and(|confined| confined.unmasked));
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
        let first = confinement(&pod, &pod.containers[0], NONE).unwrap();
        assert!(first.privileged && first.rootfs_readonly && first.seccomp == Seccomp::Unconfined);
        let second = confinement(&pod, &pod.containers[1], NONE).unwrap();
        assert!(second.no_new_privileges && second.seccomp == Seccomp::RuntimeDefault);
    }
}
