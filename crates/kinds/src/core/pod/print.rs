//! A pod's row in a Table: READY, STATUS and RESTARTS are worked out from the container statuses.

use jiff::Timestamp;
use serde_json::Value;

use skiff_machinery::cells::{self, NONE, age, int_of, items, or_none, str_of};
use skiff_machinery::duration::since;
use skiff_machinery::{Object, Row};

pub(super) fn print(pod: &Object, now: Timestamp) -> Row {
    let summary = summarise(pod);
    let ip = items(pod, &["status", "podIPs"]).first().map_or("", |ip| str_of(ip, "ip"));
    let mut row = cells::row([
        pod.name().into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        status(pod, &summary).into(),
        summary.restarts.text(now).into(),
        age(pod, now),
        or_none(ip.to_owned()).into(),
        or_none(pod.str(&["spec", "nodeName"]).to_owned()).into(),
        or_none(pod.str(&["status", "nominatedNodeName"]).to_owned()).into(),
        readiness_gates(pod).into(),
    ]);
    let phase = pod.str(&["status", "phase"]);
    row.completed = matches!(phase, "Succeeded" | "Failed").then(|| phase.to_owned());
    row
}

/// What the container statuses add up to.
struct Summary {
    ready: usize,
    total: usize,
    restarts: Restarts,
    reason: String,
}

/// Restarts and the end of the run before the latest one (RFC 3339; empty when there was none).
#[derive(Clone, Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += int_of(status, "restartCount");
        if let Some(ended) = status.pointer("/lastState/terminated") {
            let at = str_of(ended, "finishedAt");
            if at > self.last.as_str() {
                self.last = at.to_owned();
            }
        }
    }

    fn text(&self, now: Timestamp) -> String {
        if self.count == 0 || self.last.is_empty() {
            return self.count.to_string();
        }
        format!("{} ({} ago)", self.count, since(&self.last, now))
    }
}

fn summarise(pod: &Object) -> Summary {
    let init_containers = items(pod, &["spec", "initContainers"]);
    let is_sidecar = |name: &str| {
        let spec = init_containers.iter().find(|container| str_of(container, "name") == name);
        spec.is_some_and(|container| str_of(container, "restartPolicy") == "Always")
    };
    let sidecars = init_containers.iter().filter(|container| str_of(container, "restartPolicy") == "Always");
    let mut summary = Summary {
        ready: 0,
        total: items(pod, &["spec", "containers"]).len() + sidecars.count(),
        restarts: Restarts::default(),
        reason: initial_reason(pod),
    };
    let mut sidecar_restarts = Restarts::default();
    let mut initializing = None;
    for (index, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        let sidecar = is_sidecar(str_of(status, "name"));
        summary.restarts.add(status);
        if sidecar {
            sidecar_restarts.add(status);
        }
        let started = status.get("started").and_then(Value::as_bool).unwrap_or(false);
        if sidecar && started && terminated(status).is_none_or(|end| int_of(end, "exitCode") != 0) {
            summary.ready += usize::from(is_true(status, "ready"));
            continue;
        }
        initializing = init_reason(status, index, init_containers.len());
        if initializing.is_some() {
            break;
        }
    }
    let initialized = condition(pod, "Initialized");
    let waiting_for_init = initializing.is_some();
    if let Some(reason) = initializing {
        summary.reason = reason;
    }
    if !waiting_for_init || initialized {
        summary.restarts = sidecar_restarts;
        walk_containers(pod, &mut summary);
    }
    summary
}

/// The phase, unless the status or the scheduler gives a reason.
fn initial_reason(pod: &Object) -> String {
    let gated = items(pod, &["status", "conditions"])
        .iter()
        .any(|c| str_of(c, "type") == "PodScheduled" && str_of(c, "reason") == "SchedulingGated");
    let reason = match pod.str(&["status", "reason"]) {
        "" => pod.str(&["status", "phase"]),
        reason => reason,
    };
    if gated { "SchedulingGated".to_owned() } else { reason.to_owned() }
}

/// Why the pod is still initialising according to one init container; nothing when that one has succeeded.
fn init_reason(status: &Value, index: usize, total: usize) -> Option<String> {
    if let Some(end) = terminated(status) {
        return (int_of(end, "exitCode") != 0).then(|| format!("Init:{}", end_reason(end)));
    }
    let waiting = status.pointer("/state/waiting").map_or("", |waiting| str_of(waiting, "reason"));
    Some(match waiting {
        "" | "PodInitializing" => format!("Init:{index}/{total}"),
        reason => format!("Init:{reason}"),
    })
}

/// Counts app containers, last to first, so that the first one's reason is what remains.
fn walk_containers(pod: &Object, summary: &mut Summary) {
    let mut running = false;
    let mut failure = None;
    for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
        summary.restarts.add(status);
        let waiting = status.pointer("/state/waiting").map_or("", |waiting| str_of(waiting, "reason"));
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(end) = terminated(status) {
            summary.reason = end_reason(end);
            if int_of(end, "exitCode") != 0 {
                failure = Some(summary.reason.clone());
            }
        } else if is_true(status, "ready") && status.pointer("/state/running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        summary.reason = match failure {
            _ if condition(pod, "Ready") => "Running".to_owned(),
            Some(reason) => reason,
            None => "NotReady".to_owned(),
        };
    }
}

fn status(pod: &Object, summary: &Summary) -> String {
    if !pod.is_terminating() {
        return summary.reason.clone();
    }
    if pod.str(&["status", "reason"]) == "NodeLost" {
        return "Unknown".to_owned();
    }
    match pod.str(&["status", "phase"]) {
        "Succeeded" | "Failed" => summary.reason.clone(),
        _ => "Terminating".to_owned(),
    }
}

fn terminated(status: &Value) -> Option<&Value> {
    status.pointer("/state/terminated")
}

fn end_reason(end: &Value) -> String {
    match (str_of(end, "reason"), int_of(end, "signal")) {
        ("", 0) => format!("ExitCode:{}", int_of(end, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_true(status: &Value, field: &str) -> bool {
    status.get(field).and_then(Value::as_bool).unwrap_or(false)
}

fn condition(pod: &Object, kind: &str) -> bool {
    let conditions = items(pod, &["status", "conditions"]);
    conditions.iter().any(|c| str_of(c, "type") == kind && str_of(c, "status") == "True")
}

fn readiness_gates(pod: &Object) -> String {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let met = gates.iter().filter(|gate| condition(pod, str_of(gate, "conditionType"))).count();
    format!("{met}/{}", gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// READY, STATUS and RESTARTS of a pod with the containers `a` and `b`.
    fn check(status: Value, cells: [&str; 3]) {
        check_pod(json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": status}), cells);
    }

    fn check_pod(pod: Value, cells: [&str; 3]) {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let row = print(&Object::from_value(pod).unwrap(), now);
        assert_eq!([1, 2, 3].map(|i: usize| row.cells[i].as_str().unwrap().to_owned()), cells);
    }

    fn running(ready: bool) -> Value {
        json!({"ready": ready, "state": {"running": {}}})
    }

    fn ended(exit_code: i64, reason: &str) -> Value {
        json!({"ready": false, "state": {"terminated": {"exitCode": exit_code, "reason": reason}}})
    }

    #[test]
    fn shows_phase_and_reasons() {
        check(json!({"phase": "Pending"}), ["0/2", "Pending", "0"]);
        check(json!({"phase": "Failed", "reason": "Evicted"}), ["0/2", "Evicted", "0"]);
        let gated = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
        check(json!({"phase": "Pending", "conditions": gated}), ["0/2", "SchedulingGated", "0"]);
        let waiting = json!({"state": {"waiting": {"reason": "ContainerCreating"}}});
        check(json!({"phase": "Pending", "containerStatuses": [waiting]}), ["0/2", "ContainerCreating", "0"]);
    }

    #[test]
    fn counts_ready_containers() {
        let both = json!([running(true), running(false)]);
        check(json!({"phase": "Running", "containerStatuses": both}), ["1/2", "Running", "0"]);
    }

    #[test]
    fn completed_beside_a_running_container() {
        let statuses = json!([ended(0, "Completed"), running(true)]);
        let ready = json!([{"type": "Ready", "status": "True"}]);
        check(json!({"phase": "Running", "containerStatuses": statuses}), ["1/2", "NotReady", "0"]);
        check(
            json!({"phase": "Running", "containerStatuses": statuses, "conditions": ready}),
            ["1/2", "Running", "0"],
        );
        let with_failure = json!([ended(0, "Completed"), ended(1, "Error"), running(true)]);
        check(json!({"phase": "Running", "containerStatuses": with_failure}), ["1/2", "Error", "0"]);
    }

    #[test]
    fn names_the_end_of_a_container() {
        let check_end = |end: Value, text: &str| {
            let statuses = json!([{"state": {"terminated": end}}]);
            check(json!({"phase": "Failed", "containerStatuses": statuses}), ["0/2", text, "0"]);
        };
        check_end(json!({"exitCode": 137, "reason": "OOMKilled"}), "OOMKilled");
        check_end(json!({"exitCode": 3}), "ExitCode:3");
        check_end(json!({"exitCode": 137, "signal": 9}), "Signal:9");
    }

    #[test]
    fn restarts_tell_when_the_last_was() {
        let last = json!({"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}});
        let statuses =
            json!([{"ready": true, "restartCount": 3, "state": {"running": {}}, "lastState": last}]);
        check(json!({"phase": "Running", "containerStatuses": statuses}), ["1/2", "Running", "3 (5m ago)"]);
    }

    #[test]
    fn shows_progress_of_init_containers() {
        let check_init = |statuses: Value, cells: [&str; 3]| {
            let containers = json!([{"name": "i"}, {"name": "j"}]);
            let spec = json!({"containers": [{"name": "a"}], "initContainers": containers});
            let status = json!({"phase": "Pending", "initContainerStatuses": statuses});
            check_pod(json!({"spec": spec, "status": status}), cells);
        };
        let waiting = json!({"name": "j", "state": {"waiting": {"reason": "PodInitializing"}}});
        check_init(json!([{"name": "i", "state": {"running": {}}}, waiting]), ["0/1", "Init:0/2", "0"]);
        check_init(json!([ended(0, "Completed"), waiting]), ["0/1", "Init:1/2", "0"]);
        check_init(json!([ended(1, "Error")]), ["0/1", "Init:Error", "0"]);
        check_init(json!([ended(1, "")]), ["0/1", "Init:ExitCode:1", "0"]);
        let back_off = json!({"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        check_init(json!([back_off]), ["0/1", "Init:CrashLoopBackOff", "2"]);
    }

    #[test]
    fn counts_started_sidecars() {
        let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
        let sidecar = json!([{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}]);
        let status = json!({"phase": "Running", "initContainerStatuses": sidecar, "containerStatuses": [running(true)]});
        check_pod(json!({"spec": spec, "status": status}), ["2/2", "Running", "1"]);
    }

    #[test]
    fn terminating_hides_the_rest() {
        let spec = json!({"containers": [{"name": "a"}]});
        let check_deleted = |phase: &str, reason: &str, text: &str| {
            let status = json!({"phase": phase, "reason": reason});
            let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
            check_pod(json!({"metadata": metadata, "spec": spec, "status": status}), ["0/1", text, "0"]);
        };
        check_deleted("Running", "", "Terminating");
        check_deleted("Running", "NodeLost", "Unknown");
        check_deleted("Succeeded", "", "Succeeded");
    }
}
