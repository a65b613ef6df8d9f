//! The checks, and which of them are in force.

mod host;
mod isolation;
mod privileges;
mod users;
mod volumes;

use serde_json::Value;

use crate::level::{Level, LevelVersion, Version};
use crate::pod::Pod;

/// A rule of the standard that a pod breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The check, e.g. `hostPorts`.
    pub id: &'static str,
    /// What is wrong, in few words: `hostPort`.
    pub reason: String,
    /// Who is concerned and by which values: `container "c" uses hostPort 80`.
    pub detail: String,
}

/// What a check found: the reason and the detail of the violation.
struct Finding {
    reason: String,
    detail: String,
}

impl Finding {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }
}

/// How a check looks at a pod as of one version.
type Rule = fn(Pod<'_>) -> Option<Finding>;

struct Check {
    id: &'static str,
    /// Rules with the minor version from which each applies, oldest first.
    rules: &'static [(u64, Rule)],
    /// The baseline check that is left out while a rule of this one applies.
    instead_of: Option<&'static str>,
}

impl Check {
    const fn new(id: &'static str, rules: &'static [(u64, Rule)]) -> Self {
        Self { id, rules, instead_of: None }
    }

    const fn instead_of(self, id: &'static str) -> Self {
        Self { instead_of: Some(id), ..self }
    }

    fn rule(&self, version: Version) -> Option<Rule> {
        let in_force = self.rules.iter().rev().find(|(since, _)| Version::V1(*since) <= version)?;
        Some(in_force.1)
    }
}

/// Checks of both levels, in the order of their messages: by ID, as bytes.
const BASELINE: &[Check] = &[
    Check::new("appArmorProfile", &[(0, isolation::app_armor)]),
    Check::new("capabilities_baseline", &[(0, privileges::capabilities_baseline)]),
    Check::new("hostNamespaces", &[(0, host::namespaces)]),
    Check::new("hostPathVolumes", &[(0, volumes::host_path)]),
    Check::new("hostPorts", &[(0, host::ports)]),
    Check::new("hostProbesAndHostLifecycle", &[(34, host::probes_and_lifecycle)]),
    Check::new("privileged", &[(0, privileges::privileged)]),
    Check::new(
        "procMount",
        &[(0, isolation::proc_mount), (35, |pod| unless_own_users(pod, isolation::proc_mount))],
    ),
    Check::new("seLinuxOptions", &[(0, isolation::se_linux_1_0), (31, isolation::se_linux_1_31)]),
    Check::new(
        "seccompProfile_baseline",
        &[(0, isolation::seccomp_annotations), (19, isolation::seccomp_baseline)],
    ),
    Check::new(
        "sysctls",
        &[
            (0, host::sysctls_1_0),
            (27, host::sysctls_1_27),
            (29, host::sysctls_1_29),
            (32, host::sysctls_1_32),
        ],
    ),
    Check::new("windowsHostProcess", &[(0, host::windows_process)]),
];

/// Checks of the level restricted alone, in the order of their messages.
const RESTRICTED: &[Check] = &[
    Check::new(
        "allowPrivilegeEscalation",
        &[(8, privileges::escalation), (25, |pod| unless_windows(pod, privileges::escalation))],
    ),
    Check::new(
        "capabilities_restricted",
        &[
            (22, privileges::capabilities_restricted),
            (25, |pod| unless_windows(pod, privileges::capabilities_restricted)),
        ],
    )
    .instead_of("capabilities_baseline"),
    Check::new("procMount_restricted", &[(35, isolation::proc_mount)]).instead_of("procMount"),
    Check::new("restrictedVolumes", &[(0, volumes::restricted)]).instead_of("hostPathVolumes"),
    Check::new("runAsNonRoot", &[(0, users::non_root), (35, |pod| unless_own_users(pod, users::non_root))]),
    Check::new("runAsUser", &[(23, users::not_user_0), (35, |pod| unless_own_users(pod, users::not_user_0))]),
    Check::new(
        "seccompProfile_restricted",
        &[
            (19, isolation::seccomp_restricted),
            (25, |pod| unless_windows(pod, isolation::seccomp_restricted)),
        ],
    )
    .instead_of("seccompProfile_baseline"),
];

/// A pod that says that it is for Windows may leave out what only Linux has.
fn unless_windows(pod: Pod<'_>, rule: Rule) -> Option<Finding> {
    if pod.is_windows() { None } else { rule(pod) }
}

/// In a user namespace of its own (KEP-127) a pod may be root, and see all of `/proc`.
fn unless_own_users(pod: Pod<'_>, rule: Rule) -> Option<Finding> {
    if pod.has_user_namespace() { None } else { rule(pod) }
}

/// What a pod, or a pod's template, violates, in the order of Kubernetes' messages. Versions newer than all checks
/// are the newest.
pub fn check(policy: LevelVersion, pod: &Value) -> Vec<Violation> {
    in_force(policy).filter_map(|(id, rule)| run(id, rule, Pod::new(pod))).collect()
}

fn run(id: &'static str, rule: Rule, pod: Pod<'_>) -> Option<Violation> {
    let Finding { reason, detail } = rule(pod)?;
    Some(Violation { id, reason, detail })
}

fn in_force(policy: LevelVersion) -> impl Iterator<Item = (&'static str, Rule)> {
    let (baseline, restricted): (&[Check], &[Check]) = match policy.level {
        Level::Privileged => (&[], &[]),
        Level::Baseline => (BASELINE, &[]),
        Level::Restricted => (BASELINE, RESTRICTED),
    };
    let applies = move |check: &'static Check| Some((check.id, check.rule(policy.version)?));
    let replaced = move |id: &str| {
        restricted.iter().any(|c| c.instead_of == Some(id) && c.rule(policy.version).is_some())
    };
    baseline.iter().filter(move |c| !replaced(c.id)).chain(restricted).filter_map(applies)
}

/// All violations with their details: `hostPort (container "c" uses hostPort 80), privileged (…)`.
pub fn details(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(|v| format!("{} ({})", v.reason, v.detail)).collect();
    texts.join(", ")
}

/// All violations in few words: `hostPort, privileged`.
pub fn reasons(violations: &[Violation]) -> String {
    let texts: Vec<&str> = violations.iter().map(|v| v.reason.as_str()).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(level: Level, version: Version) -> Vec<&'static str> {
        in_force(LevelVersion { level, version }).map(|(id, _)| id).collect()
    }

    #[test]
    fn checks_are_in_the_order_of_their_ids_and_rules_in_that_of_versions() {
        for list in [BASELINE, RESTRICTED] {
            assert!(list.is_sorted_by(|a, b| a.id < b.id));
            assert!(list.iter().all(|check| check.rules.is_sorted_by(|a, b| a.0 < b.0)));
        }
    }

    #[test]
    fn what_a_restricted_check_replaces_is_a_baseline_check() {
        for id in RESTRICTED.iter().filter_map(|check| check.instead_of) {
            assert!(BASELINE.iter().any(|check| check.id == id), "{id}");
        }
    }

    #[test]
    fn baseline_checks_are_left_out_while_a_stricter_one_applies() {
        let restricted = |minor| ids(Level::Restricted, Version::V1(minor));
        assert!(restricted(21).contains(&"capabilities_baseline"));
        assert!(!restricted(22).contains(&"capabilities_baseline"));
        assert!(restricted(34).contains(&"procMount") && !restricted(35).contains(&"procMount"));
        assert!(ids(Level::Baseline, Version::V1(35)).contains(&"procMount"));
        assert!(ids(Level::Privileged, Version::Latest).is_empty());
        assert_eq!(restricted(99), ids(Level::Restricted, Version::Latest));
    }
}
