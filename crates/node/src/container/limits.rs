//! Turns resource requests and limits into the numbers the kernel works with.

use crate::pod::admission::{at_the_same_time, requested};
use crate::pod::local::{LocalContainer, LocalPod, Role};
use crate::quantity::{Amounts, amount, milli};
use skiff_runtime::{Resources, ServiceClass};

/// Microseconds of the CPU accounting period.
const PERIOD: u64 = 100_000;
/// The least CPU time per period the kernel accepts, in microseconds.
const LEAST_QUOTA: i64 = 1_000;
/// The least CPU weight.
const LEAST_SHARES: u64 = 2;
/// From this priority on a pod is critical for its node.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Processes and threads of one pod, so that a fork bomb is the pod's trouble and not the node's.
const POD_PIDS: i64 = 8192;

/// The limits of one container. Where it has none of its own, the pod's bound it.
pub(crate) fn resources(pod: &LocalPod, container: &LocalContainer) -> Resources {
    let pod_wide = pod.spec.resources.as_ref().and_then(|r| r.limits.as_ref());
    let own = container.spec.resources.as_ref();
    let limits = own.and_then(|r| r.limits.as_ref());
    let given =
        |amounts: Option<&Amounts>, name: &str| Some(amount(amounts, name)).filter(|value| *value > 0);
    let limit = |name: &str| given(limits, name).or_else(|| given(pod_wide, name));
    let requests = own.and_then(|r| r.requests.as_ref());
    let cpu_request = requests.and_then(|r| r.get("cpu")).and_then(milli).or(given(limits, "cpu"));
    Resources {
        cpu_shares: Some(shares(cpu_request.unwrap_or(0))),
        pids: None,
        ..quota_and_memory(limit("cpu"), limit("memory"))
    }
}

/// The limits of the pod's own group, in which all its containers are: the sum of theirs as far as all have them, or
/// the pod's own, as the kubelet's `ResourceConfigForPod`.
pub(crate) fn pod_resources(pod: &LocalPod) -> Resources {
    Resources {
        cpu_shares: Some(shares(requested(pod, "cpu"))),
        pids: Some(POD_PIDS),
        ..quota_and_memory(pod_limit(pod, "cpu"), pod_limit(pod, "memory"))
    }
}

/// The limit of a resource that holds for the pod as a whole, with its overhead.
pub(crate) fn pod_limit(pod: &LocalPod, name: &str) -> Option<i64> {
    let limit = match amount(pod.spec.resources.as_ref().and_then(|r| r.limits.as_ref()), name) {
        0 => sum_of_limits(pod, name)?,
        own => own,
    };
    Some(limit.saturating_add(amount(pod.spec.overhead.as_ref(), name)))
}

/// What the containers may use at the same time; `None` when one has no limit.
fn sum_of_limits(pod: &LocalPod, name: &str) -> Option<i64> {
    let of = |c: &LocalContainer| amount(c.spec.resources.as_ref().and_then(|r| r.limits.as_ref()), name);
    let mut counted = pod.containers.iter().filter(|c| c.role != Role::Ephemeral);
    counted.all(|c| of(c) > 0).then(|| at_the_same_time(pod, of))
}

fn quota_and_memory(cpu: Option<i64>, memory: Option<i64>) -> Resources {
    Resources {
        cpu_quota: cpu.map(|milli| milli.saturating_mul(100).max(LEAST_QUOTA)),
        cpu_period: cpu.map(|_| PERIOD),
        memory_limit: memory,
        ..Resources::default()
    }
}

/// 1024 shares per CPU.
fn shares(milli: i64) -> u64 {
    u64::try_from(milli).unwrap_or(0).saturating_mul(1024).div_euclid(1000).clamp(LEAST_SHARES, 262_144)
}

/// The pod's quality of service: by its own requests and limits if it has some, else by its containers'.
pub(crate) fn qos(pod: &LocalPod) -> ServiceClass {
    let own = pod.spec.resources.as_ref().map(|r| (r.requests.as_ref(), r.limits.as_ref()));
    let own =
        own.filter(|(requests, limits)| [requests, limits].iter().any(|a| a.is_some_and(|a| !a.is_empty())));
    let counted = pod.containers.iter().filter(|c| c.role != Role::Ephemeral);
    let of_container = |c: &'_ LocalContainer| {
        let resources = c.spec.resources.clone().unwrap_or_default();
        (resources.requests, resources.limits)
    };
    let all: Vec<(Option<Amounts>, Option<Amounts>)> = match own {
        Some((requests, limits)) => vec![(requests.cloned(), limits.cloned())],
        None => counted.map(of_container).collect(),
    };
    let names = ["cpu", "memory"];
    let any = all.iter().any(|(requests, limits)| {
        names.iter().any(|name| amount(requests.as_ref(), name) > 0 || amount(limits.as_ref(), name) > 0)
    });
    let full = all.iter().all(|(requests, limits)| {
        names.iter().all(|name| {
            let (request, limit) = (amount(requests.as_ref(), name), amount(limits.as_ref(), name));
            limit > 0 && (request == 0 || request == limit)
        })
    });
    match (any, full) {
        (false, _) => ServiceClass::BestEffort,
        (true, true) => ServiceClass::Guaranteed,
        (true, false) => ServiceClass::Burstable,
    }
}

/// The container's badness for the kernel's out-of-memory killer, on a node with `memory` bytes.
pub(crate) fn oom_score_adj(pod: &LocalPod, container: &LocalContainer, memory: u64) -> i32 {
    if pod.spec.priority.is_some_and(|priority| priority >= CRITICAL_PRIORITY) {
        return -997;
    }
    match qos(pod) {
        ServiceClass::Guaranteed => -997,
        ServiceClass::BestEffort => 1000,
        ServiceClass::Burstable => {
            let asked = u64::try_from(memory_share(pod, container)).unwrap_or(0);
            let share = u128::from(asked) * 1000 / u128::from(memory.max(1));
            i32::try_from(1000u128.saturating_sub(share)).unwrap_or(1000).clamp(3, 999)
        }
    }
}

/// Bytes a container may count on: its request, and its part of what the pod asks for beyond those of its containers.
fn memory_share(pod: &LocalPod, container: &LocalContainer) -> i64 {
    let of =
        |c: &LocalContainer| amount(c.spec.resources.as_ref().and_then(|r| r.requests.as_ref()), "memory");
    let pod_wide = amount(pod.spec.resources.as_ref().and_then(|r| r.requests.as_ref()), "memory");
    let containers = || pod.containers.iter().filter(|c| c.role != Role::Ephemeral);
    let asked = containers().map(of).fold(0i64, i64::saturating_add);
    let count = i64::try_from(containers().count()).unwrap_or(i64::MAX).max(1);
    of(container).saturating_add(pod_wide.saturating_sub(asked).max(0) / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn check(resources_json: &str, expected: (ServiceClass, i32, u64, Option<i64>, Option<i64>)) {
        let pod = pod_of(&format!(r#"{{"containers": [{{"name": "c", "resources": {resources_json}}}]}}"#));
        let container = &pod.containers[0];
        let limits = resources(&pod, container);
        let actual = (
            qos(&pod),
            oom_score_adj(&pod, container, 1 << 30),
            limits.cpu_shares.unwrap(),
            limits.cpu_quota,
            limits.memory_limit,
        );
        assert_eq!(actual, expected, "{resources_json}");
    }

    #[test]
    fn numbers_follow_requests_and_limits() {
        check("{}", (ServiceClass::BestEffort, 1000, 2, None, None));
        check(
            r#"{"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"}}"#,
            (ServiceClass::Guaranteed, -997, 512, Some(50_000), Some(64 << 20)),
        );
        check(
            r#"{"requests": {"cpu": "100m", "memory": "512Mi"}}"#,
            (ServiceClass::Burstable, 500, 102, None, None),
        );
        check(r#"{"limits": {"cpu": "1m"}}"#, (ServiceClass::Burstable, 999, 2, Some(1_000), None));
    }

    /// Shares, quota and memory limit of the pod's group, and its class.
    fn check_pod(spec: &str, expected: (ServiceClass, u64, Option<i64>, Option<i64>)) {
        let pod = pod_of(spec);
        let limits = pod_resources(&pod);
        assert_eq!(limits.pids, Some(POD_PIDS));
        let actual = (qos(&pod), limits.cpu_shares.unwrap(), limits.cpu_quota, limits.memory_limit);
        assert_eq!(actual, expected, "{spec}");
    }

    #[test]
    fn a_pods_group_is_bounded_when_all_its_containers_are() {
        let one =
            |name: &str, resources: &str| format!(r#"{{"name": "{name}", "resources": {{{resources}}}}}"#);
        let limited =
            r#""limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"}"#;
        let (a, b) = (one("a", limited), one("b", limited));
        check_pod(
            &format!(r#"{{"containers": [{a}, {b}]}}"#),
            (ServiceClass::Guaranteed, 1024, Some(100_000), Some(128 << 20)),
        );
        let free = one("c", "");
        check_pod(&format!(r#"{{"containers": [{a}, {free}]}}"#), (ServiceClass::Burstable, 512, None, None));
        check_pod(&format!(r#"{{"containers": [{free}]}}"#), (ServiceClass::BestEffort, 2, None, None));
        let init = one("i", r#""limits": {"cpu": "2", "memory": "32Mi"}, "requests": {"cpu": "1500m"}"#);
        check_pod(
            &format!(
                r#"{{"containers": [{a}], "initContainers": [{init}], "overhead": {{"cpu": "100m", "memory": "1Mi"}}}}"#
            ),
            (ServiceClass::Burstable, 1638, Some(210_000), Some(65 << 20)),
        );
    }

    #[test]
    fn limits_of_the_pod_bound_it_and_its_containers() {
        let whole = r#"{"resources": {"limits": {"cpu": "1", "memory": "100Mi"}, "requests": {"cpu": "1", "memory": "100Mi"}},
                        "containers": [{"name": "c"}, {"name": "d", "resources": {"limits": {"memory": "10Mi"}}}]}"#;
        check_pod(whole, (ServiceClass::Guaranteed, 1024, Some(100_000), Some(100 << 20)));
        let pod = pod_of(whole);
        let memory: Vec<_> = pod.containers.iter().map(|c| resources(&pod, c).memory_limit).collect();
        assert_eq!(memory, [Some(100 << 20), Some(10 << 20)]);
        let asks = r#"{"resources": {"requests": {"memory": "512Mi"}}, "containers": [{"name": "c"}, {"name": "d"}]}"#;
        check_pod(asks, (ServiceClass::Burstable, 2, None, None));
        let pod = pod_of(asks);
        assert_eq!(oom_score_adj(&pod, &pod.containers[0], 1 << 30), 750);
    }
}
