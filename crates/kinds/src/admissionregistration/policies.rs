//! What the kinds of policies and bindings do.

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, age, age_column, integer, name_column, text};
use skiff_machinery::{Column, Context, FieldErrors, MetadataChecks, Object, Row, Strategy};

use super::common::warn_of_name;

/// What is special about a kind of policies or bindings.
pub(super) struct PolicyStrategy {
    pub(super) default: fn(&mut Object),
    pub(super) validate: fn(&Object) -> FieldErrors,
    pub(super) validate_update: fn(&Object, &Object) -> FieldErrors,
    pub(super) validate_status: fn(&Object) -> FieldErrors,
}

impl Strategy for PolicyStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Object
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Object) {
        (self.default)(object);
    }

    /// Nothing is known yet, where there is a status at all.
    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        if object.remove(&["status"]).is_some() {
            object.set(&["status"], serde_json::Map::new());
        }
    }

    fn status_changes_metadata(&self) -> bool {
        false
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        (self.validate)(object)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        (self.validate_update)(new, old)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        (self.validate_status)(new)
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        warn_of_name(new.name())
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }
}

const UNSET: &str = "<unset>";

/// Columns of policies, which have several of something.
pub(super) fn policy_columns(several: &'static str) -> Vec<Column> {
    vec![
        name_column(),
        integer(several, "How many the policy has."),
        text("ParamKind", "The kind of the policy's parameters."),
        age_column(),
    ]
}

/// The cells of a policy; `several` is the field below `spec` that is counted.
pub(super) fn policy_row(object: &Object, now: Timestamp, several: &str) -> Row {
    let count = object.get(&["spec", several]).and_then(Value::as_array).map_or(0, Vec::len);
    let params = match object.get(&["spec", "paramKind"]).and_then(Value::as_object) {
        None => UNSET.to_owned(),
        Some(kind) => {
            let part = |field: &str| kind.get(field).and_then(Value::as_str).unwrap_or_default();
            format!("{}/{}", part("apiVersion"), part("kind"))
        }
    };
    cells::row([object.name().into(), count.into(), params.into(), age(object, now)])
}

/// Columns of bindings.
pub(super) fn binding_columns() -> Vec<Column> {
    vec![
        name_column(),
        text("PolicyName", "The policy that is put into force."),
        text("ParamRef", "The parameters."),
        age_column(),
    ]
}

/// The cells of a binding.
pub(super) fn binding_row(object: &Object, now: Timestamp) -> Row {
    let name = object.str(&["spec", "paramRef", "name"]);
    let params = match (name, object.str(&["spec", "paramRef", "namespace"])) {
        ("", _) => {
            let selector =
                object.get(&["spec", "paramRef", "selector"]).filter(|selector| !selector.is_null());
            selector.map_or_else(|| UNSET.to_owned(), go_selector)
        }
        (name, "") => format!("*/{name}"),
        (name, namespace) => format!("{namespace}/{name}"),
    };
    let policy = object.str(&["spec", "policyName"]);
    cells::row([object.name().into(), policy.into(), params.into(), age(object, now)])
}

/// A selector as Go prints it.
fn go_selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let labels: String =
        labels.map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default())).collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    let expressions: String = expressions
        .map(|expression| {
            let part = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values: Vec<&str> = values.filter_map(Value::as_str).collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                part("key"),
                part("operator"),
                values.join(" ")
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::object;

    #[test]
    fn rows_show_parameters() {
        let cell =
            |spec: Value| binding_row(&object(json!({"spec": spec})), Timestamp::UNIX_EPOCH).cells[2].clone();
        assert_eq!(cell(json!({"policyName": "p"})), "<unset>");
        assert_eq!(cell(json!({"paramRef": {"name": "a"}})), "*/a");
        assert_eq!(cell(json!({"paramRef": {"name": "a", "namespace": "n"}})), "n/a");
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "y"]}]});
        assert_eq!(
            cell(json!({"paramRef": {"selector": selector}})),
            "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[x y],},},}"
        );
        let policy = object(
            json!({"spec": {"validations": [{}, {}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}}),
        );
        let cells = policy_row(&policy, Timestamp::UNIX_EPOCH, "validations").cells;
        assert_eq!((&cells[1], &cells[2]), (&json!(2), &json!("v1/ConfigMap")));
    }
}
