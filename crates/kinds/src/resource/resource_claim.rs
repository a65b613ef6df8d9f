//! ResourceClaim: devices that pods ask for, and which ones they got.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use skiff_machinery::cells::{self, age, age_column, items, name_column, text};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use super::devices;
use crate::groups::RESOURCE;
use crate::row::stored;
use crate::shared::defaults::object_mut;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("State", "What has become of the claim."), age_column()],
        print: Printer::Fixed(print),
        ..stored(schema, RESOURCE, "io.k8s.api.resource.v1.ResourceClaim", Scope::Namespaced, ClaimStrategy)
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), state(object).into(), age(object, now)])
}

/// What has become of a claim, e.g. `allocated,reserved`.
fn state(object: &Object) -> String {
    let mut states = Vec::new();
    let allocated = object.get(&["status", "allocation"]).is_some_and(|allocation| !allocation.is_null());
    match (object.is_terminating(), allocated) {
        (true, _) => states.push("deleted"),
        (false, false) => states.push("pending"),
        (false, true) => {}
    }
    if allocated {
        states.push("allocated");
        if !items(object, &["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}

/// How many may share a claim.
const MOST_USERS: usize = 256;

/// What is special about claims of devices.
struct ClaimStrategy;

impl Strategy for ClaimStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn status_has_table(&self) -> bool {
        false
    }

    fn status_changes_metadata(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Object) {
        devices::default(object_mut(object.as_map_mut(), "spec"));
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], Map::new());
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        devices::check("spec", spec(object))
    }

    /// What is claimed stays.
    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        if spec(new) == spec(old) {
            return FieldErrors::new();
        }
        let error = FieldError::invalid("spec", Value::Null, "field is immutable");
        [error.showing(devices::shown(spec(new)))].into()
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let users = items(new, &["status", "reservedFor"]);
        let check = |path: &str, user: &Value| {
            let missing = ["resource", "name", "uid"]
                .into_iter()
                .filter(|field| user[*field].as_str().is_none_or(str::is_empty));
            missing.map(|field| FieldError::required(format!("{path}.{field}"), "")).collect()
        };
        let uid = |user: &Value| user["uid"].as_str().unwrap_or_default().to_owned();
        let mut errors = devices::set("status.reservedFor", users, MOST_USERS, check, uid);
        let allocation = |object: &Object| object.get(&["status", "allocation"]).cloned().unwrap_or_default();
        let (now, before) = (allocation(new), allocation(old));
        if now.is_null() && !users.is_empty() {
            let detail = "may not be specified when `allocated` is not set";
            errors.push(FieldError::forbidden("status.reservedFor", detail));
        }
        if !before.is_null() && !now.is_null() && now != before {
            errors.push(FieldError::invalid("status.allocation", now, "field is immutable"));
        }
        errors
    }
}

fn spec(object: &Object) -> &Value {
    object.get(&["spec"]).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    #[test]
    fn claims_are_shared_when_they_are_allocated() {
        let user = json!({"resource": "pods", "name": "p", "uid": "1"});
        let check = |status: Value, expected: &[&str]| {
            let (new, old) = (object(json!({ "status": status })), object(json!({})));
            assert_eq!(texts(with_context(|cx| ClaimStrategy.validate_status(cx, &new, &old))), expected);
        };
        check(json!({"allocation": {}, "reservedFor": [user]}), &[]);
        check(
            json!({"reservedFor": [user]}),
            &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
        );
        check(
            json!({"allocation": {}, "reservedFor": [user, user]}),
            &[r#"status.reservedFor[1]: Duplicate value: "1""#],
        );
    }
}
