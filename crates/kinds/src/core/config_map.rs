//! ConfigMap.

use jiff::Timestamp;

use std::sync::Arc;

use skiff_schema::Schema;

use super::data::{MOST_BYTES, decoded_len, entries, validate_keys, validate_sealed};
use crate::groups::CORE;
use crate::row::stored;
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("Data", "Number of keys."), age_column()],
        print: Printer::Fixed(print),
        ..stored(schema, CORE, "io.k8s.api.core.v1.ConfigMap", Scope::Namespaced, ConfigMapStrategy)
            .short(&["cm"])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let keys = entries(object, "data").count() + entries(object, "binaryData").count();
    cells::row([object.name().into(), keys.into(), age(object, now)])
}

/// What is special about ConfigMaps.
struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {
    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_keys(object, "data");
        errors.extend(validate_keys(object, "binaryData"));
        for (key, _) in entries(object, "data") {
            if object.get(&["binaryData", key]).is_some() {
                let detail = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(format!("data[{key}]"), key.as_str(), detail));
            }
        }
        let text = entries(object, "data").filter_map(|(_, value)| value.as_str()).map(str::len);
        let binary = entries(object, "binaryData").filter_map(|(_, value)| value.as_str()).map(decoded_len);
        if text.chain(binary).sum::<usize>() > MOST_BYTES {
            errors.push(FieldError::too_long("", MOST_BYTES));
        }
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = validate_sealed(new, old, &["data", "binaryData"]);
        errors.extend(self.validate(cx, new));
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};
    use serde_json::{Value, json};

    #[test]
    fn checks_keys() {
        let check = |value: Value, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| ConfigMapStrategy.validate(cx, &object(value)))), expected);
        };
        check(json!({"data": {"a.b": "c"}}), &[]);
        check(
            json!({"data": {"a": "b"}, "binaryData": {"a": "Yg=="}}),
            &[r#"data[a]: Invalid value: "a": duplicate of key present in binaryData"#],
        );
        check(json!({"data": {"..": ""}}), &[r#"data[..]: Invalid value: "..": must not be '..'"#]);
        check(
            json!({"data": {"a": "x".repeat(MOST_BYTES + 1)}}),
            &[": Too long: may not be more than 1048576 bytes"],
        );
    }

    #[test]
    fn sealed_maps_do_not_change() {
        let old = object(json!({"immutable": true, "data": {"a": "b"}}));
        let check = |value: Value, expected: &[&str]| {
            let new = object(value);
            assert_eq!(texts(with_context(|cx| ConfigMapStrategy.validate_update(cx, &new, &old))), expected);
        };
        check(json!({"immutable": true, "data": {"a": "b"}}), &[]);
        check(
            json!({"data": {"a": "c"}}),
            &[
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        );
    }
}
