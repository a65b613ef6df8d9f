//! VolumeAttributesClass: attributes of volumes that may change while they are used.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};
use skiff_schema::Schema;

use super::provisioner;
use crate::groups::STORAGE;
use crate::row::stored;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("DriverName", "The driver that knows the attributes."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..stored(
            schema,
            STORAGE,
            "io.k8s.api.storage.v1.VolumeAttributesClass",
            Scope::Cluster,
            ClassStrategy,
        )
        .short(&["vac"])
        .plural("volumeattributesclasses")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), object.str(&["driverName"]).into(), age(object, now)])
}

/// What is special about classes of attributes.
struct ClassStrategy;

impl Strategy for ClassStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = provisioner::name("driverName", object.str(&["driverName"]));
        errors.extend(provisioner::parameters(object));
        if object.get(&["parameters"]).and_then(Value::as_object).is_none_or(|map| map.is_empty()) {
            errors.push(FieldError::required("parameters", "must contain at least one key/value pair"));
        }
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for field in ["driverName", "parameters"] {
            if new.get(&[field]) != old.get(&[field]) {
                errors.push(FieldError::forbidden(field, format!("updates to {field} are forbidden.")));
            }
        }
        errors.extend(self.validate(cx, new));
        errors
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    #[test]
    fn driver_and_parameters_are_needed_and_stay() {
        let class =
            |driver: &str, parameters: Value| object(json!({"driverName": driver, "parameters": parameters}));
        let check = |new: &Object, old: &Object, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| ClassStrategy.validate_update(cx, new, old))), expected);
        };
        let old = class("d.example.com", json!({"iops": "5"}));
        check(&old, &old, &[]);
        check(
            &class("e.example.com", json!({})),
            &old,
            &[
                "driverName: Forbidden: updates to driverName are forbidden.",
                "parameters: Forbidden: updates to parameters are forbidden.",
                "parameters: Required value: must contain at least one key/value pair",
            ],
        );
    }
}
