//! Turns resource requests and limits into the numbers the kernel works with.

use crate::pod::local::{LocalContainer, LocalPod, Role};
use crate::quantity::{amount, milli, units};
use skiff_runtime::Resources;

/// Microseconds of the CPU accounting period.
const PERIOD: u64 = 100_000;
/// The least CPU time per period the kernel accepts, in microseconds.
const LEAST_QUOTA: i64 = 1_000;
/// The least CPU weight.
const LEAST_SHARES: u64 = 2;
/// From this priority on a pod is critical for its node.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// How much a pod is promised, which decides who goes first when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// The limits of one container.
pub(crate) fn resources(container: &LocalContainer) -> Resources {
    let resources = container.spec.resources.as_ref();
    let limits = resources.and_then(|r| r.limits.as_ref());
    let requests = resources.and_then(|r| r.requests.as_ref());
    let cpu_limit = limits.and_then(|l| l.get("cpu")).and_then(milli).filter(|value| *value > 0);
    let cpu_request = requests.and_then(|r| r.get("cpu")).and_then(milli).or(cpu_limit).unwrap_or(0);
    Resources {
        cpu_shares: Some(shares(cpu_request)),
        cpu_quota: cpu_limit.map(|milli| milli.saturating_mul(100).max(LEAST_QUOTA)),
        cpu_period: cpu_limit.map(|_| PERIOD),
        memory_limit: limits.and_then(|l| l.get("memory")).and_then(units).filter(|value| *value > 0),
        pids: None,
    }
}

/// 1024 shares per CPU.
fn shares(milli: i64) -> u64 {
    u64::try_from(milli).unwrap_or(0).saturating_mul(1024).div_euclid(1000).clamp(LEAST_SHARES, 262_144)
}

/// The pod's quality of service.
pub(crate) fn qos(pod: &LocalPod) -> Qos {
    let counted = || pod.containers.iter().filter(|c| c.role != Role::Ephemeral);
    let value = |c: &LocalContainer, requests: bool, name: &str| {
        let resources = c.spec.resources.as_ref();
        amount(resources.and_then(|r| if requests { r.requests.as_ref() } else { r.limits.as_ref() }), name)
    };
    let names = ["cpu", "memory"];
    let any =
        counted().any(|c| names.iter().any(|name| value(c, true, name) > 0 || value(c, false, name) > 0));
    let full = counted().all(|c| {
        names.iter().all(|name| {
            let (request, limit) = (value(c, true, name), value(c, false, name));
            limit > 0 && (request == 0 || request == limit)
        })
    });
    match (any, full) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// The container's badness for the kernel's out-of-memory killer, on a node with `memory` bytes.
pub(crate) fn oom_score_adj(pod: &LocalPod, container: &LocalContainer, memory: u64) -> i32 {
    if pod.spec.priority.is_some_and(|priority| priority >= CRITICAL_PRIORITY) {
        return -997;
    }
    match qos(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let requests = container.spec.resources.as_ref().and_then(|r| r.requests.as_ref());
            let asked = u64::try_from(amount(requests, "memory")).unwrap_or(0);
            let share = u128::from(asked) * 1000 / u128::from(memory.max(1));
            i32::try_from(1000u128.saturating_sub(share)).unwrap_or(1000).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn check(resources_json: &str, expected: (Qos, i32, u64, Option<i64>, Option<i64>)) {
        let pod = pod_of(&format!(r#"{{"containers": [{{"name": "c", "resources": {resources_json}}}]}}"#));
        let container = &pod.containers[0];
        let limits = resources(container);
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
        check("{}", (Qos::BestEffort, 1000, 2, None, None));
        check(
            r#"{"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"}}"#,
            (Qos::Guaranteed, -997, 512, Some(50_000), Some(64 << 20)),
        );
        check(r#"{"requests": {"cpu": "100m", "memory": "512Mi"}}"#, (Qos::Burstable, 500, 102, None, None));
        check(r#"{"limits": {"cpu": "1m"}}"#, (Qos::Burstable, 999, 2, Some(1_000), None));
    }
}
