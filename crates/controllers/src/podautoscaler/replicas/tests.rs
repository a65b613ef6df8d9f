use serde_json::{Value, json};

use super::*;

const TEN: Tolerances = Tolerances { down: 0.1, up: 0.1 };

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

/// Pods that request one CPU, each in a state: `ready`, `unready`, `starting`, `pending`, `failed`, `deleting`.
fn pods(states: &[&str]) -> Vec<Pod> {
    let pod = |(i, state): (usize, &&str)| {
        let (phase, ready, started) = match *state {
            "pending" => ("Pending", "False", Value::Null),
            "failed" => ("Failed", "False", json!("2026-01-01T00:00:00Z")),
            "unready" => ("Running", "False", json!("2026-01-01T00:00:00Z")),
            "starting" => ("Running", "False", json!("2026-01-01T00:59:00Z")),
            _ => ("Running", "True", json!("2026-01-01T00:00:00Z")),
        };
        let deleted = if *state == "deleting" { json!("2026-01-01T00:59:00Z") } else { Value::Null };
        serde_json::from_value(json!({
            "metadata": {"name": format!("p{i}"), "deletionTimestamp": deleted},
            "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": phase, "startTime": started, "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:10Z"}]},
        }))
        .unwrap()
    };
    states.iter().enumerate().map(pod).collect()
}

/// One value for each pod; those below zero are not known.
fn samples(values: &[i64]) -> Samples {
    let sample = |value| Sample { value, at: now(), window: Duration::from_secs(60) };
    let known = values.iter().enumerate().filter(|(_, value)| **value >= 0);
    known.map(|(i, value)| (format!("p{i}"), sample(*value))).collect()
}

const CPU: Resource<'_> = Resource { name: "cpu", container: None };

#[test]
fn cpu_is_brought_to_its_share_of_the_request() {
    let check = |states: &[&str], values: &[i64], target: i32, expected: (i32, i32)| {
        let pods = pods(states);
        let current = i32::try_from(states.len()).unwrap();
        let measured = Measured::of(&pods, samples(values), true, now()).unwrap();
        let (replicas, percentage, _) = measured.by_utilization(current, target, CPU, TEN).unwrap();
        assert_eq!((replicas, percentage), expected, "{states:?} {values:?}");
    };
    check(&["ready"; 3], &[300, 500, 700], 30, (5, 50));
    check(&["ready"; 5], &[100; 5], 50, (1, 10));
    check(&["ready"; 3], &[500; 3], 50, (3, 50));
    check(&["ready"; 3], &[540; 3], 50, (3, 54));
    check(&["ready"; 3], &[560; 3], 50, (4, 56));
    // New ones count as idle when there are to be more, and not at all when fewer.
    check(&["ready", "ready", "starting"], &[1000, 1000, 900], 50, (4, 100));
    check(&["ready", "ready", "starting"], &[100, 100, 900], 50, (1, 10));
    check(&["ready", "ready", "pending"], &[1000, 1000, -1], 50, (4, 100));
    // Of which nothing is known, neither.
    check(&["ready"; 4], &[1000, 1000, 1000, -1], 50, (6, 100));
    check(&["ready"; 4], &[100, 100, 100, -1], 50, (3, 10));
    check(&["ready"; 3], &[600, -1, -1], 50, (3, 60));
    // What goes does not count.
    check(&["ready", "failed", "deleting"], &[1000, 0, 0], 50, (2, 100));
    // Never ready is unready.
    check(&["ready", "ready", "unready"], &[1000, 1000, 1000], 50, (4, 100));
}

#[test]
fn averages_are_brought_to_their_target() {
    let check = |states: &[&str], values: &[i64], target: i64, expected: (i32, i64)| {
        let pods = pods(states);
        let current = i32::try_from(states.len()).unwrap();
        let measured = Measured::of(&pods, samples(values), false, now()).unwrap();
        assert_eq!(measured.by_average(current, target, TEN).unwrap(), expected, "{values:?}");
    };
    check(&["ready"; 3], &[20_000, 10_000, 30_000], 15_000, (4, 20_000));
    check(&["ready"; 3], &[5_000; 3], 15_000, (1, 5_000));
    check(&["ready"; 3], &[15_500; 3], 15_000, (3, 15_500));
    check(&["ready"; 3], &[5_000, 5_000, -1], 15_000, (2, 5_000));
    check(&["ready"; 3], &[30_000, 30_000, -1], 15_000, (4, 30_000));
}

#[test]
fn tolerances_are_of_each_direction() {
    let pods = pods(&["ready"; 10]);
    let by = |value: i64, tolerances: Tolerances| {
        let measured = Measured::of(&pods, samples(&[value; 10]), true, now()).unwrap();
        measured.by_utilization(10, 50, CPU, tolerances).unwrap().0
    };
    let one_sided = Tolerances { down: 0.5, up: 0.0 };
    assert_eq!((by(520, one_sided), by(520, TEN)), (11, 10));
    assert_eq!((by(300, one_sided), by(300, TEN)), (10, 6));
}

#[test]
fn values_of_all_are_brought_to_their_target_too() {
    let three = pods(&["ready", "ready", "unready"]);
    assert_eq!(by_value(3, 40_000, 20_000, &three, TEN), Ok(4));
    assert_eq!(by_value(3, 21_000, 20_000, &three, TEN), Ok(3));
    assert_eq!(by_value(0, 50_000, 20_000, &[], TEN), Ok(3));
    let none = "unable to calculate ready pods: no pods returned by selector while calculating replica count";
    assert_eq!(by_value(3, 40_000, 20_000, &[], TEN), Err(none.into()));
    assert_eq!(by_share(4, 100_000, 20_000, TEN), (5, 25_000));
    assert_eq!(by_share(4, 81_000, 20_000, TEN), (4, 20_250));
    assert_eq!(by_share(3, 10_000, 20_000, TEN), (1, 3_334));
}

#[test]
fn what_is_not_known_is_told() {
    let one = pods(&["ready"]);
    let error = |pods: &[Pod], samples: Samples| Measured::of(pods, samples, true, now()).unwrap_err();
    assert_eq!(error(&[], samples(&[1])), "no pods returned by selector while calculating replica count");
    let unready = "did not receive metrics for targeted pods (pods might be unready)";
    assert_eq!(error(&one, samples(&[])), unready);
    assert_eq!(error(&pods(&["pending"]), samples(&[1])), unready);
    let of = |name: &'static str, container: Option<&'static str>| {
        let measured = Measured::of(&one, samples(&[500]), true, now()).unwrap();
        measured.by_utilization(1, 50, Resource { name, container }, TEN)
    };
    assert_eq!(of("memory", None).unwrap_err(), "missing request for memory in container main of Pod p0");
    assert_eq!(of("cpu", Some("side")).unwrap_err(), "container side not found in Pod p0");
    assert_eq!(of("cpu", Some("main")), Ok((1, 50, 500)));
}

#[test]
fn requests_are_those_of_the_pod_if_it_has_any() {
    let check = |spec: Value, container: Option<&str>, expected: Result<i64, &str>| {
        let pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        let request = request(&pod, Resource { name: "cpu", container });
        assert_eq!(request, expected.map_err(str::to_owned));
    };
    let containers = json!([{"name": "a", "resources": {"requests": {"cpu": "100m"}}},
                            {"name": "b", "resources": {"requests": {"cpu": "200m"}}}]);
    let side = json!([{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}}, {"name": "init"}]);
    check(json!({"containers": containers, "initContainers": side}), None, Ok(350));
    check(json!({"containers": containers, "initContainers": side}), Some("s"), Ok(50));
    let whole = json!({"requests": {"cpu": "1"}});
    check(json!({"containers": containers, "resources": whole, "overhead": {"cpu": "10m"}}), None, Ok(1010));
    check(json!({"containers": containers, "resources": whole}), Some("b"), Ok(200));
    check(json!({"containers": containers, "resources": {"requests": {"memory": "1"}}}), None, Ok(300));
}
