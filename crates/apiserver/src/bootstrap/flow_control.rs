//! The FlowSchemas and priority levels that every cluster has.

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_kinds::flowcontrol::bootstrap::{self as given, AUTOUPDATE, DANGLING, GROUP, Given, Which};
use skiff_machinery::Object;
use skiff_store::Key;

use super::change::Change;
use super::maker::{Maker, key};

/// All of them, with their keys.
pub(super) fn all(made: &Maker) -> Vec<(Key, Object)> {
    given::given().iter().map(|given| object(made, given)).collect()
}

/// The mandatory ones.
pub(super) fn mandatory(now: Timestamp) -> Vec<(Key, Object)> {
    let made = Maker { now };
    given::given().iter().filter(|given| given.is_mandatory).map(|given| object(&made, given)).collect()
}

fn object(made: &Maker, given: &Given) -> (Key, Object) {
    let mut body = json!({
        "metadata": {"annotations": {AUTOUPDATE: "true"}, "generation": 1},
        "spec": given.spec,
        "status": {},
    });
    // The levels that they lead to are made with them.
    if given.which == Which::Schema {
        let level = given.spec.pointer("/priorityLevelConfiguration/name").and_then(Value::as_str);
        let (reason, message) = given::dangling(level.unwrap_or_default(), true);
        body["status"] = json!({"conditions": [{
            "type": DANGLING, "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": format!("{:.0}", made.now),
        }]});
    }
    let resource = format!("{GROUP}/{}", given.which.plural());
    let object = made.object(&format!("{GROUP}/v1"), given.which.kind(), "", given.name, body);
    (key(&resource, "", given.name), object)
}

/// What is to be done about a stored object; `None` if it is not one of these.
pub(super) fn change(wanted: &Object, stored: &Object) -> Option<Change> {
    if !wanted.api_version().starts_with(GROUP) {
        return None;
    }
    let is_it = |given: &Given| given.which.kind() == wanted.kind() && given.name == wanted.name();
    let given = given::given().into_iter().find(is_it)?;
    let Some((spec, is_ours)) = given::revision(&given, stored) else { return Some(Change::None) };
    let mut changed = stored.clone();
    changed.set(&["metadata", "annotations", AUTOUPDATE], is_ours.to_string());
    if stored.get(&["spec"]) != Some(&spec) {
        let generation = stored.get(&["metadata", "generation"]).and_then(Value::as_i64);
        changed.set(&["metadata", "generation"], generation.unwrap_or_default() + 1);
        changed.set(&["spec"], spec);
    }
    Some(Change::Replace(changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_made_current_unless_somebody_has_taken_them_over() {
        let made = Maker { now: Timestamp::UNIX_EPOCH };
        let find =
            |name: &str| all(&made).into_iter().find(|(key, _)| key.as_str().ends_with(name)).unwrap().1;
        let wanted = find("flowschemas/probes");
        assert_eq!(change(&wanted, &wanted), Some(Change::None));
        let mut stored = wanted.clone();
        stored.set(&["spec", "matchingPrecedence"], 7);
        let Some(Change::Replace(changed)) = change(&wanted, &stored) else { panic!("it is ours") };
        assert_eq!(changed.get(&["spec"]), wanted.get(&["spec"]));
        assert_eq!(changed.get(&["metadata", "generation"]), Some(&json!(2)));
        stored.set(&["metadata", "annotations", AUTOUPDATE], "false");
        assert_eq!(change(&wanted, &stored), Some(Change::None));
        assert_eq!(mandatory(Timestamp::UNIX_EPOCH).len(), 4);
        let other = Object::from_value(json!({"apiVersion": "v1", "kind": "Namespace"})).unwrap();
        assert_eq!(change(&other, &other), None);
    }
}
