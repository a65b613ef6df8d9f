//! What the plugin decides about namespaces, and what it tells of the pods in them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use crate::admission::{Decision, Denial, Operation, PodSecurity};
use crate::checks::{check, reasons};
use crate::level::{Level, LevelVersion};
use crate::pod::{items, name, text};
use crate::policy::{PREFIX, Policy};

/// Of how many pods a stricter level is checked against at most.
pub const MOST_PODS: usize = 3000;

/// How long that may take at most; less if half of the request's time is less.
pub const POD_CHECK_TIME: Duration = Duration::from_secs(1);

/// What the plugin says to a request for a namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum NamespaceOutcome {
    /// This and no more.
    Decided(Decision),
    /// The request is allowed; the client is warned of [`PodSecurity::existing_pods`] at this level.
    CheckPods(LevelVersion),
}

impl PodSecurity {
    /// Creates and updates of a namespace itself, not of its subresources. `labels` is `metadata.labels` as it
    /// would be stored.
    pub fn namespace(&self, name: &str, operation: Operation<'_>, labels: &Value) -> NamespaceOutcome {
        let (new, errors) = Policy::from_labels(labels, &self.defaults);
        let (mut is_new_error, mut may_violate) = (!errors.is_empty(), None);
        if let Operation::Update { old } = operation {
            let (old, old_errors) = Policy::from_labels(old, &self.defaults);
            is_new_error &= errors != old_errors;
            may_violate = Some(is_stricter(new.enforce, old.enforce));
        }
        if is_new_error {
            let denied = Some(Denial::Invalid(errors));
            return NamespaceOutcome::Decided(Decision { denied, ..Decision::default() });
        }
        match (may_violate, self.exempts_namespace(name)) {
            (Some(false), _) | (None, false) => NamespaceOutcome::Decided(Decision::default()),
            (_, true) => {
                let warnings = self.ignored(name, &new, labels).into_iter().collect();
                NamespaceOutcome::Decided(Decision { warnings, ..Decision::default() })
            }
            (Some(true), false) => NamespaceOutcome::CheckPods(new.enforce),
        }
    }

    /// The warning that labels of an exempt namespace have no effect; it names what they set and is not privileged.
    fn ignored(&self, name: &str, policy: &Policy, labels: &Value) -> Option<String> {
        if policy.is_privileged() || policy.same_as(&self.defaults) {
            return None;
        }
        let set = |mode: &str| {
            let label = format!("{PREFIX}{mode}");
            labels.get(&label).is_some() || labels.get(format!("{label}-version")).is_some()
        };
        let modes = policy.modes().into_iter();
        let told = modes.filter(|(mode, policy)| policy.level != Level::Privileged && set(mode));
        let told: Vec<String> = told.map(|(mode, policy)| format!("{mode}={policy}")).collect();
        let told = told.join(", ");
        Some(format!(
            "namespace \"{name}\" is exempt from Pod Security, and the policy ({told}) will be ignored"
        ))
    }

    /// Warnings of pods that are in a namespace and violate what it will enforce. The first pod of each controller
    /// is checked before all others; after [`MOST_PODS`], or when `expired` says so after a pod, the rest is left
    /// out and the warnings say so.
    pub fn existing_pods<'a>(
        &self,
        namespace: &str,
        enforce: LevelVersion,
        pods: impl IntoIterator<Item = &'a Value>,
        mut expired: impl FnMut() -> bool,
    ) -> Vec<String> {
        let pods = self.first_of_each_controller(pods);
        let mut violations = HashMap::<String, Violators<'_>>::new();
        let mut checked = 0;
        for pod in pods.iter().take(MOST_PODS) {
            let found = check(enforce, pod);
            if !found.is_empty() {
                let name = name(&pod["metadata"]);
                violations.entry(reasons(&found)).or_insert(Violators { first: name, count: 0 }).add(name);
            }
            checked += 1;
            if expired() {
                break;
            }
        }
        let mut warnings = Vec::new();
        if checked < pods.len() {
            let all = pods.len();
            let text = "new PodSecurity enforce level only checked against the first";
            warnings.push(format!("{text} {checked} of {all} existing pods"));
        }
        if !violations.is_empty() {
            let text = "violate the new PodSecurity enforce level";
            warnings.push(format!("existing pods in namespace \"{namespace}\" {text} \"{enforce}\""));
        }
        let mut lines: Vec<String> = violations.iter().map(|(why, who)| format!("{who}: {why}")).collect();
        lines.sort();
        warnings.append(&mut lines);
        warnings
    }

    /// Pods that are not exempt; those whose controller has been seen come last.
    fn first_of_each_controller<'a>(&self, pods: impl IntoIterator<Item = &'a Value>) -> Vec<&'a Value> {
        let mut seen = HashSet::new();
        let checked = pods.into_iter().filter(|pod| !self.exempts_runtime_class_of(pod));
        let (mut first, others): (Vec<_>, Vec<_>) =
            checked.partition(|pod| controller(pod).is_none_or(|uid| seen.insert(uid)));
        first.extend(others);
        first
    }
}

/// Whether pods that the old level allowed may violate the new one.
fn is_stricter(new: LevelVersion, old: LevelVersion) -> bool {
    new.level != Level::Privileged && (new.version != old.version || new.level > old.level)
}

/// The UID of the owner that controls a pod.
fn controller(pod: &Value) -> Option<&str> {
    let owners = items(&pod["metadata"]["ownerReferences"]);
    owners.iter().find(|owner| owner["controller"] == true).map(|owner| text(&owner["uid"]))
}

/// Pods with the same violations.
struct Violators<'a> {
    /// The first by name.
    first: &'a str,
    count: usize,
}

impl<'a> Violators<'a> {
    fn add(&mut self, name: &'a str) {
        self.first = self.first.min(name);
        self.count += 1;
    }
}

impl std::fmt::Display for Violators<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.count) {
            (first, 1) => f.write_str(first),
            (first, 2) => write!(f, "{first} (and 1 other pod)"),
            (first, count) => write!(f, "{first} (and {} other pods)", count - 1),
        }
    }
}
