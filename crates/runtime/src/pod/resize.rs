//! New limits for a pod that runs, written in an order that the kernel takes: no group may ask for more than the one
//! above it has, and memory that is in use cannot be taken away.

use super::PodHandle;
use crate::cgroup::{CgroupError, Cgroups};
use crate::error::RuntimeError;
use crate::ids::ContainerId;
use crate::paths;
use crate::runtime::Shared;
use crate::spec::{Change, PodSandbox, Resize, Resources};
use crate::wire::SupervisorConfig;
use std::cmp::Ordering;
use std::io;

impl PodHandle {
    /// Gives a pod and its containers other limits. What fails may have been done in part; it can be done again.
    pub async fn resize(&self, resize: Resize) -> Result<(), RuntimeError> {
        let (shared, config) = (self.inner.shared.clone(), self.inner.config.clone());
        let pod = self.uid().clone();
        let failed = |reason| RuntimeError::Resize { pod, reason };
        match tokio::task::spawn_blocking(move || carry_out(&shared, config, &resize)).await {
            Ok(result) => result.map_err(failed),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn carry_out(shared: &Shared, config: SupervisorConfig, resize: &Resize) -> Result<(), String> {
    let group = crate::supervisor::pod_groups(&config).pod;
    let cgroups = shared.cgroups().map_err(|error| error.to_string())?;
    check_memory(&cgroups, &group, resize)?;
    for (container, change) in order(resize) {
        let group = container.map_or_else(|| group.clone(), |id| format!("{group}/{id}"));
        cgroups.change(&group, &change.from, &change.to).map_err(|error: CgroupError| error.to_string())?;
    }
    match &resize.pod {
        Some(change) => remember(shared, config, &change.to),
        None => Ok(()),
    }
}

/// A supervisor's successor makes the pod's group as its configuration says, and its class is weighed by it.
fn remember(shared: &Shared, config: SupervisorConfig, limits: &Resources) -> Result<(), String> {
    let sandbox = PodSandbox { resources: Some(limits.clone()), ..config.sandbox };
    let config = SupervisorConfig { sandbox, ..config };
    let path = shared.pod_paths(&config.sandbox.uid).config();
    serde_json::to_vec(&config)
        .map_err(io::Error::from)
        .and_then(|text| paths::write_atomically(&path, &text))
        .map_err(|error| format!("write {}: {error}", path.display()))?;
    shared.weigh_in(&config.sandbox).map_err(|error| error.to_string())
}

/// Less memory than is in use would have the kernel kill for it, or refuse: neither is what was asked for.
fn check_memory(cgroups: &Cgroups, group: &str, resize: &Resize) -> Result<(), String> {
    let in_use = |group: &str| cgroups.usage(group).memory_bytes;
    let below = |change: &Change, used: Option<u64>| {
        let limit = change.to.memory_limit.filter(|_| memory(change).is_lt())?;
        let used = used?;
        (used >= u64::try_from(limit).unwrap_or(u64::MAX)).then_some((limit, used))
    };
    let pod = resize.pod.as_ref().and_then(|change| below(change, in_use(group)));
    let pod = pod.map(|(limit, used)| {
        format!("attempting to set pod memory limit ({limit}) below current usage ({used})")
    });
    let containers = resize.containers.iter().filter_map(|resized| {
        let (limit, used) = below(&resized.change, in_use(&format!("{group}/{}", resized.id)))?;
        let name = &resized.name;
        Some(format!(
            "attempting to set container {name:?} memory limit ({limit}) below current usage ({used})"
        ))
    });
    let wrong: Vec<String> = pod.into_iter().chain(containers).collect();
    match &wrong[..] {
        [] => Ok(()),
        [one] => Err(format!("cannot decrease memory limits: {one}")),
        several => Err(format!("cannot decrease memory limits: [{}]", several.join(", "))),
    }
}

/// What is written, one resource after the other: first the pod's group if it grows, then containers, those that shrink
/// before those that grow, then the pod's group if it shrinks. `None` is the pod's own group.
fn order(resize: &Resize) -> Vec<(Option<&ContainerId>, Change)> {
    let mut all = Vec::new();
    for Resource { only, direction } in RESOURCES {
        let part = |change: &Change| Change { from: only(&change.from), to: only(&change.to) };
        let pod = resize.pod.as_ref().map(|change| (direction(change), (None, part(change))));
        let mut containers: Vec<_> = resize.containers.iter().collect();
        skiff_ordered::sort_by_key(&mut containers, |resized| direction(&resized.change));
        let containers = containers.into_iter().map(|resized| (Some(&resized.id), part(&resized.change)));
        let (shrinking, growing) = match pod {
            Some((Ordering::Less, write)) => (Some(write), None),
            Some((_, write)) => (None, Some(write)),
            None => (None, None),
        };
        all.extend(growing.into_iter().chain(containers).chain(shrinking));
    }
    all.retain(|(_, change)| change.from != change.to);
    all
}

/// A resource that has a limit.
struct Resource {
    /// Its part of limits.
    only: fn(&Resources) -> Resources,
    /// Whether its limit shrinks or grows.
    direction: fn(&Change) -> Ordering,
}

const RESOURCES: [Resource; 2] =
    [Resource { only: only_memory, direction: memory }, Resource { only: only_cpu, direction: cpu }];

fn only_memory(limits: &Resources) -> Resources {
    Resources { memory_limit: limits.memory_limit, ..Resources::default() }
}

fn only_cpu(limits: &Resources) -> Resources {
    Resources { memory_limit: None, pids: None, ..limits.clone() }
}

/// Whether the limit shrinks or grows; none is more than any.
fn memory(change: &Change) -> Ordering {
    compare(change.from.memory_limit, change.to.memory_limit)
}

fn cpu(change: &Change) -> Ordering {
    compare(change.from.cpu_quota, change.to.cpu_quota)
}

fn compare(from: Option<i64>, to: Option<i64>) -> Ordering {
    let bound = |limit: Option<i64>| limit.filter(|limit| *limit >= 0).unwrap_or(i64::MAX);
    bound(to).cmp(&bound(from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Resized;

    fn limits(memory: i64, quota: i64) -> Resources {
        let some = |number: i64| Some(number).filter(|number| *number > 0);
        Resources { memory_limit: some(memory), cpu_quota: some(quota), ..Resources::default() }
    }

    fn change(from: (i64, i64), to: (i64, i64)) -> Change {
        Change { from: limits(from.0, from.1), to: limits(to.0, to.1) }
    }

    /// Each write as `group memory/quota`.
    fn check(pod: Option<Change>, containers: &[(&str, Change)], expected: &[&str]) {
        let resized = |(name, change): &(&str, Change)| Resized {
            id: ContainerId::new(*name).unwrap(),
            name: (*name).into(),
            change: change.clone(),
        };
        let resize = Resize { pod, containers: containers.iter().map(resized).collect() };
        let written = order(&resize).into_iter().map(|(container, Change { to, .. })| {
            let name = container.map_or("pod", ContainerId::as_str);
            format!("{name} {}/{}", to.memory_limit.unwrap_or(0), to.cpu_quota.unwrap_or(0))
        });
        assert_eq!(written.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn groups_grow_from_above_and_shrink_from_below() {
        let grows = change((10, 10), (20, 20));
        let shrinks = change((20, 20), (10, 10));
        check(Some(grows.clone()), &[("a", grows.clone())], &["pod 20/0", "a 20/0", "pod 0/20", "a 0/20"]);
        check(
            Some(shrinks.clone()),
            &[("a", shrinks.clone())],
            &["a 10/0", "pod 10/0", "a 0/10", "pod 0/10"],
        );
        check(None, &[("a", grows.clone()), ("b", shrinks)], &["b 10/0", "a 20/0", "b 0/10", "a 0/20"]);
        let crossed = change((10, 20), (20, 10));
        check(Some(crossed.clone()), &[("a", crossed)], &["pod 20/0", "a 20/0", "a 0/10", "pod 0/10"]);
        check(Some(grows.clone()), &[], &["pod 20/0", "pod 0/20"]);
        check(Some(change((0, 0), (10, 0))), &[("a", change((0, 0), (10, 0)))], &["a 10/0", "pod 10/0"]);
        check(Some(change((10, 10), (10, 10))), &[], &[]);
    }
}
