//! Values where nothing is given (KEP-1979).

use serde_json::Value;

use crate::model::Structural;

/// Writes defaults where fields, items or entries are missing or null without being `nullable`.
///
/// A default is completed in turn by the defaults of what it holds.
pub fn default(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(fields) => {
            for (name, schema) in &schema.properties {
                let Some(default) = &schema.default else { continue };
                match fields.get_mut(name) {
                    None => drop(fields.insert(name.clone(), default.clone())),
                    Some(value) if value.is_null() && !schema.nullable => *value = default.clone(),
                    Some(_) => {}
                }
            }
            for (name, value) in fields {
                if let Some(schema) = schema.properties.get(name) {
                    self::default(value, schema);
                } else if let Some(schema) = schema.additional.schema() {
                    replace_null(value, schema);
                    self::default(value, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for item in items {
                replace_null(item, schema);
                self::default(item, schema);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Structural) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}

/// Removes nulls from fields and entries that are neither `nullable` nor have a default.
///
/// Done to what is read before [`default`], which replaces those that have one.
pub fn drop_nulls(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let Some(schema) = schema.field(name) else { return true };
            if value.is_null() && !schema.nullable && schema.default.is_none() {
                return false;
            }
            drop_nulls(value, schema);
            true
        }),
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            items.iter_mut().for_each(|item| drop_nulls(item, schema));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(value: &Value) -> Structural {
        Structural::parse(value).unwrap()
    }

    #[test]
    fn writes_defaults() {
        let check = |of: Value, value: Value, wanted: Value| {
            let mut got = value.clone();
            default(&mut got, &schema(&of));
            assert_eq!(got, wanted, "{value} by {of}");
        };
        let a = json!({"properties": {"a": {"default": "A"}}});
        check(json!({"default": "foo"}), json!(4), json!(4));
        check(json!({"items": {"default": "foo"}}), json!([1, null]), json!([1, "foo"]));
        check(json!({"items": {"default": "foo", "nullable": true}}), json!([null]), json!([null]));
        check(json!({"items": {}}), json!([null]), json!([null]));
        check(
            json!({"items": a}),
            json!([{}, {"a": 1}, {"a": null}, {"a": []}, {"a": {}}, {"a": ""}, null]),
            json!([{"a": "A"}, {"a": 1}, {"a": "A"}, {"a": []}, {"a": {}}, {"a": ""}, null]),
        );
        check(
            json!({"properties": {"spec": {"default": {}, "properties": {"n": {"default": 1}}}}}),
            json!({}),
            json!({"spec": {"n": 1}}),
        );
        check(json!({"properties": {"spec": {"properties": {"n": {"default": 1}}}}}), json!({}), json!({}));
        check(json!({"additionalProperties": a}), json!({"x": {}, "y": 1}), json!({"x": {"a": "A"}, "y": 1}));
        check(json!({"additionalProperties": {"default": 1}}), json!({"x": null}), json!({"x": 1}));
        check(json!({"additionalProperties": true}), json!({"x": null}), json!({"x": null}));
        check(
            json!({"properties": {"a": {"default": 1, "nullable": true}}}),
            json!({"a": null}),
            json!({"a": null}),
        );
    }

    #[test]
    fn drops_nulls_that_mean_nothing() {
        let check = |of: Value, value: Value, wanted: Value| {
            let mut got = value.clone();
            drop_nulls(&mut got, &schema(&of));
            assert_eq!(got, wanted, "{value} by {of}");
        };
        let of = json!({"properties": {
            "plain": {"type": "string"},
            "nullable": {"type": "string", "nullable": true},
            "default": {"type": "string", "default": "x"},
            "list": {"items": {"type": "object", "properties": {"plain": {}}}},
            "map": {"additionalProperties": {"type": "string"}},
        }});
        check(
            of.clone(),
            json!({"plain": null, "nullable": null, "default": null, "unknown": null}),
            json!({"nullable": null, "default": null, "unknown": null}),
        );
        check(of.clone(), json!({"list": [null, {"plain": null}]}), json!({"list": [null, {}]}));
        check(of, json!({"map": {"a": null, "b": "c"}}), json!({"map": {"b": "c"}}));
    }
}
