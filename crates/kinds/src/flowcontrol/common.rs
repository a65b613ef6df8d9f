//! What the group's kinds have in common.

use std::sync::Arc;

use serde_json::{Map, Value};
use skiff_machinery::cells::{items, str_of};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use crate::groups::FLOW_CONTROL;
use crate::row::stored;

/// A row of the group.
pub(super) fn base(schema: &Arc<Schema>, definition: &'static str, rules: impl Rules) -> Kind {
    Kind {
        counts_generations: true,
        ..stored(schema, FLOW_CONTROL, definition, Scope::Cluster, Common(rules))
            .below(&[Subresource::Status])
    }
}

/// What differs between the group's kinds.
pub(super) trait Rules: Send + Sync + 'static {
    fn default(&self, object: &mut Object);
    fn check(&self, object: &Object) -> FieldErrors;
}

/// The strategy of both kinds.
struct Common<R>(R);

impl<R: Rules> Strategy for Common<R> {
    fn status_changes_metadata(&self) -> bool {
        false
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Object
    }

    fn default(&self, object: &mut Object) {
        self.0.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], Map::new());
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = self.0.check(object);
        errors.extend(conditions(object));
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        conditions(new)
    }
}

/// What is wrong with the conditions of a status.
fn conditions(object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut known: Vec<&str> = Vec::new();
    for (index, condition) in items(object, &["status", "conditions"]).iter().enumerate() {
        let (kind, path) = (str_of(condition, "type"), format!("status.conditions[{index}].type"));
        if known.contains(&kind) {
            errors.push(FieldError::duplicate(path.clone(), kind));
        }
        known.push(kind);
        if kind.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    }
    errors
}

/// A whole number of an object; zero when it is not there.
pub(super) fn number(value: &Value, field: &str) -> i64 {
    value.get(field).and_then(Value::as_i64).unwrap_or_default()
}

/// An object-valued field that is set.
pub(super) fn part<'v>(value: &'v Value, field: &str) -> Option<&'v Value> {
    value.get(field).filter(|value| value.is_object())
}

/// The texts of a list.
pub(super) fn texts<'v>(value: &'v Value, field: &str) -> Vec<&'v str> {
    value.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The spec of an object.
pub(super) fn spec(object: &Object) -> &Value {
    object.get(&["spec"]).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};
    use serde_json::json;

    #[test]
    fn each_condition_is_there_once() {
        let check = |list: Value, expected: &[&str]| {
            assert_eq!(texts(conditions(&object(json!({"status": {"conditions": list}})))), expected);
        };
        check(json!([{"type": "Dangling"}, {"type": "B"}]), &[]);
        check(
            json!([{"type": "A"}, {"type": "A"}, {}]),
            &[
                r#"status.conditions[1].type: Duplicate value: "A""#,
                "status.conditions[2].type: Required value",
            ],
        );
    }
}
