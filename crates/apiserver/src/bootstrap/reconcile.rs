//! What a default object that exists lacks.

use serde_json::Value;
use skiff_auth::{Rule, rbac::missing};
use skiff_machinery::Object;

use super::change::Change;
use super::flow_control;
use super::maker::{AUTHENTICATION, AUTOUPDATE, RBAC, TOKEN_TRACKING};

/// Compares a default object with the stored one. Roles gain rules and bindings gain subjects; FlowSchemas and priority levels
/// get today's spec unless somebody else has taken them over; how this server authenticates is said anew; everything else, and
/// whatever is not marked for updates, stays as it is. The rules of roles that aggregate others are their controller's.
pub(super) fn change(wanted: &Object, stored: Option<&Object>) -> Change {
    let Some(stored) = stored else { return Change::Create };
    if let Some(changed) = flow_control::change(wanted, stored) {
        return changed;
    }
    if wanted.kind() == "ConfigMap" && wanted.name() == AUTHENTICATION {
        let mut changed = stored.clone();
        for (key, value) in wanted.get(&["data"]).and_then(Value::as_object).into_iter().flatten() {
            changed.set(&["data", key.as_str()], value.clone());
        }
        return if changed == *stored { Change::None } else { Change::Replace(changed) };
    }
    if wanted.kind() == "ConfigMap" && wanted.name() == TOKEN_TRACKING {
        let is_day = stored.str(&["data", "since"]).parse::<jiff::civil::Date>().is_ok();
        let mut changed = stored.clone();
        changed.set(&["data", "since"], wanted.str(&["data", "since"]));
        return if is_day { Change::None } else { Change::Replace(changed) };
    }
    let ours =
        wanted.api_version().starts_with(RBAC) && stored.annotations().get(AUTOUPDATE) == Some(&"true");
    if !ours {
        return Change::None;
    }
    let mut changed = stored.clone();
    let list = |object: &Object, field: &str| {
        object.get(&[field]).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let aggregates = stored.get(&["aggregationRule"]).is_some_and(|rule| !rule.is_null());
    let (mut rules, more) = (list(stored, "rules"), missing(&decode(stored), &decode(wanted)));
    if !more.is_empty() && !aggregates {
        rules.extend(more.iter().filter_map(|rule| serde_json::to_value(rule).ok()));
        changed.set(&["rules"], rules);
    }
    let mut subjects = list(stored, "subjects");
    let absent: Vec<Value> =
        list(wanted, "subjects").into_iter().filter(|subject| !subjects.contains(subject)).collect();
    if !absent.is_empty() && stored.get(&["roleRef"]) == wanted.get(&["roleRef"]) {
        subjects.extend(absent);
        changed.set(&["subjects"], subjects);
    }
    if changed == *stored { Change::None } else { Change::Replace(changed) }
}

fn decode(role: &Object) -> Vec<Rule> {
    let rules = role.get(&["rules"]).and_then(Value::as_array);
    rules.into_iter().flatten().filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(autoupdate: &str, verbs: &[&str]) -> Object {
        Object::from_value(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "r", "annotations": {AUTOUPDATE: autoupdate}},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}],
        }))
        .unwrap()
    }

    #[test]
    fn roles_gain_what_they_lack() {
        let wanted = role("true", &["get", "list"]);
        assert_eq!(change(&wanted, None), Change::Create);
        assert_eq!(change(&wanted, Some(&role("true", &["get", "list", "delete"]))), Change::None);
        assert_eq!(change(&wanted, Some(&role("false", &["get"]))), Change::None);
        let Change::Replace(changed) = change(&wanted, Some(&role("true", &["get", "delete"]))) else {
            panic!("a rule is missing");
        };
        assert_eq!(
            changed.get(&["rules"]),
            Some(&json!([
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]},
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            ]))
        );
    }

    #[test]
    fn what_a_controller_sums_up_is_left_to_it() {
        let mut stored = role("true", &["get"]);
        stored.set(&["aggregationRule"], json!({"clusterRoleSelectors": []}));
        assert_eq!(change(&role("true", &["get", "list"]), Some(&stored)), Change::None);
    }

    #[test]
    fn how_this_server_authenticates_is_said_anew_and_what_others_say_stays() {
        let said = |data: Value| {
            let metadata = json!({"name": AUTHENTICATION, "namespace": "kube-system"});
            Object::from_value(json!({"kind": "ConfigMap", "metadata": metadata, "data": data})).unwrap()
        };
        let wanted = said(json!({"a": "new", "b": "1"}));
        let change = change(&wanted, Some(&said(json!({"a": "old", "c": "2"}))));
        assert_eq!(change, Change::Replace(said(json!({"a": "new", "b": "1", "c": "2"}))));
        assert_eq!(super::change(&wanted, Some(&wanted)), Change::None);
    }

    #[test]
    fn bindings_gain_subjects() {
        let binding = |names: &[&str]| {
            let subjects: Vec<Value> =
                names.iter().map(|name| json!({"kind": "User", "name": name})).collect();
            Object::from_value(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "metadata": {"annotations": {AUTOUPDATE: "true"}},
                "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": subjects,
            }))
            .unwrap()
        };
        assert_eq!(change(&binding(&["a"]), Some(&binding(&["b"]))), Change::Replace(binding(&["b", "a"])));
        assert_eq!(change(&binding(&["a"]), Some(&binding(&["a", "b"]))), Change::None);
    }
}
