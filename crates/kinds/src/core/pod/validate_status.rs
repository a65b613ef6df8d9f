//! Checks of a pod's status, which the node that runs it writes.

use serde_json::Value;

use skiff_machinery::cells::{int_of, items, str_of};
use skiff_machinery::names::{self, Form};
use skiff_machinery::{FieldError, FieldErrors, Object, addresses};

/// The conditions that Kubernetes itself sets first of all.
const OWN_CONDITIONS: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];
const NOT_NEGATIVE: &str = "must be a non-negative integer";

/// Checks a change of the status.
pub(super) fn validate_status(new: &Object, old: &Object) -> FieldErrors {
    let mut errors = conditions(items(new, &["status", "conditions"]));
    errors.extend(nominated(new, old));
    let observed = new.get(&["status", "observedGeneration"]).and_then(Value::as_i64).unwrap_or(0);
    if observed < 0 {
        errors.push(FieldError::invalid("status.observedGeneration", observed, NOT_NEGATIVE));
    }
    let class = |pod: &Object| pod.str(&["status", "qosClass"]).to_owned();
    if class(new) != class(old) {
        errors.push(FieldError::invalid("status.qosClass", class(new), "field is immutable"));
    }
    errors.extend(ended(new, old, "containerStatuses", "containers"));
    errors.extend(ended(new, old, "initContainerStatuses", "initContainers"));
    errors.extend(ended(new, old, "ephemeralContainerStatuses", ""));
    errors.extend(ips("podIPs", new, old));
    errors.extend(host_ips(new, old));
    errors
}

fn conditions(conditions: &[Value]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, condition) in conditions.iter().enumerate() {
        let at = |field: &str| format!("status.conditions[{index}].{field}");
        let observed = int_of(condition, "observedGeneration");
        if observed < 0 {
            errors.push(FieldError::invalid(at("observedGeneration"), observed, NOT_NEGATIVE));
        }
        let kind = str_of(condition, "type");
        if !OWN_CONDITIONS.contains(&kind) {
            errors.extend(Form::QualifiedName.check(&at("Type"), kind));
        }
    }
    errors
}

/// The node that a pod waits for; one that has a node waits for none.
fn nominated(new: &Object, old: &Object) -> FieldErrors {
    const PATH: &[&str] = &["status", "nominatedNodeName"];
    let mut errors = FieldErrors::new();
    let (name, before) = (new.str(PATH), old.str(PATH));
    if name == before || name.is_empty() {
        return errors;
    }
    let problem = names::subdomain(name);
    errors.extend(problem.map(|problem| FieldError { field: PATH.join("."), ..problem }));
    if !old.str(&["spec", "nodeName"]).is_empty() {
        let why = "may not be set on pods that are already bound to a node";
        errors.push(FieldError::forbidden(PATH.join("."), why));
    }
    errors
}

/// A container that has ended and is not to run again stays so.
fn ended(new: &Object, old: &Object, statuses: &str, containers: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let terminated = |status: &Value| status.pointer("/state/terminated").filter(|it| !it.is_null()).cloned();
    for (index, before) in items(old, &["status", statuses]).iter().enumerate() {
        let Some(end) = terminated(before) else { continue };
        let name = str_of(before, "name");
        let container =
            items(old, &["spec", containers]).iter().find(|container| str_of(container, "name") == name);
        let runs_again = container.is_some_and(|it| restarts(it, old, int_of(&end, "exitCode")));
        let now = items(new, &["status", statuses]).iter().find(|status| str_of(status, "name") == name);
        if !runs_again && now.is_some_and(|status| terminated(status).is_none()) {
            let path = format!("status.{statuses}[{index}].state");
            errors.push(FieldError::forbidden(path, "may not be transitioned to non-terminated state"));
        }
    }
    errors
}

/// Whether a container may run again after it ended with a code. What its own rules say is its node's matter.
fn restarts(container: &Value, pod: &Object, code: i64) -> bool {
    let has_rules = container.get("restartPolicyRules").is_some_and(|rules| !rules.is_null());
    let policy = match str_of(container, "restartPolicy") {
        "" => pod.str(&["spec", "restartPolicy"]),
        own => own,
    };
    match policy {
        "Never" => has_rules,
        "OnFailure" => has_rules || code != 0,
        _ => true,
    }
}

/// Addresses, of which each family has one; those that were there are not checked again.
fn ips(list: &str, new: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let entries = items(new, &["status", list]);
    let known = items(old, &["status", list]);
    let mut families = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let text = str_of(entry, "ip");
        match addresses::ip(text) {
            Ok(ip) => families.push(ip.is_ipv4()),
            Err(_) if known.iter().any(|known| str_of(known, "ip") == text) => {}
            Err(why) => errors.push(FieldError::invalid(format!("status.{list}[{index}]"), text, why)),
        }
    }
    let is_dual = families.len() == 2 && families[0] != families[1];
    if entries.len() > 1 && families.len() == entries.len() && !is_dual {
        let detail = "may specify no more than one IP for each IP family";
        // As Kubernetes' own type has it.
        let shown: Vec<String> =
            entries.iter().map(|entry| format!("{{\"IP\":{}}}", Value::from(str_of(entry, "ip")))).collect();
        let error = FieldError::invalid(format!("status.{list}"), Value::Null, detail);
        errors.push(error.showing(format!("[{}]", shown.join(","))));
    }
    errors
}

fn host_ips(new: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let Some(first) = items(new, &["status", "hostIPs"]).first().map(|entry| str_of(entry, "ip")) else {
        return errors;
    };
    if new.str(&["status", "hostIP"]) != first {
        errors.push(FieldError::invalid("status.hostIPs[0].ip", first, "must be equal to `hostIP`"));
    }
    errors.extend(ips("hostIPs", new, old));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::object;
    use serde_json::json;

    fn check(old: Value, new: Value, expected: &[&str]) {
        let errors = validate_status(&object(new.clone()), &object(old));
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected, "{new}");
    }

    fn status(status: Value) -> Value {
        json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c"}]}, "status": status})
    }

    #[test]
    fn the_class_stays() {
        check(status(json!({"qosClass": "Burstable"})), status(json!({"qosClass": "Burstable"})), &[]);
        check(
            status(json!({"qosClass": "BestEffort"})),
            status(json!({"qosClass": "Guaranteed"})),
            &["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"],
        );
    }

    #[test]
    fn what_has_ended_stays_so_unless_it_runs_again() {
        let ended = |code: i64| {
            status(json!({"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": code}}}]}))
        };
        let running = status(json!({"containerStatuses": [{"name": "c", "state": {"running": {}}}]}));
        check(ended(1), running.clone(), &[]);
        check(
            ended(0),
            running,
            &[
                "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
            ],
        );
        check(ended(0), ended(0), &[]);
    }

    #[test]
    fn addresses_are_one_of_each_family() {
        let ips = |list: Value| status(json!({"podIPs": list}));
        check(ips(json!([])), ips(json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}])), &[]);
        check(
            ips(json!([])),
            ips(json!([{"ip": "bad"}])),
            &[
                "status.podIPs[0]: Invalid value: \"bad\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        );
        check(ips(json!([{"ip": "bad"}])), ips(json!([{"ip": "bad"}])), &[]);
        check(
            ips(json!([])),
            ips(json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}])),
            &[
                "status.podIPs: Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family",
            ],
        );
        check(
            status(json!({})),
            status(json!({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]})),
            &["status.hostIPs[0].ip: Invalid value: \"10.0.0.2\": must be equal to `hostIP`"],
        );
    }

    #[test]
    fn names_are_names() {
        let waiting = |name: &str| status(json!({"nominatedNodeName": name}));
        check(waiting(""), waiting("n"), &[]);
        let errors = validate_status(&object(waiting("Bad_")), &object(waiting("")));
        assert_eq!(errors[0].field, "status.nominatedNodeName");
        let bound = json!({"spec": {"nodeName": "m"}, "status": {}});
        let why =
            "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node";
        check(bound, waiting("n"), &[why]);
        let condition = |kind: &str| status(json!({"conditions": [{"type": kind}]}));
        check(status(json!({})), condition("example.com/x"), &[]);
        assert_eq!(validate_status(&object(condition("a b")), &object(status(json!({})))).len(), 1);
    }
}
