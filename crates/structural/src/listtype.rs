//! What lists of the types `set` and `map` may hold: each item once.

use std::collections::HashMap;

use serde_json::{Map, Value};
use skiff_machinery::{FieldError, FieldErrors};
use skiff_ordered::Ordered as _;

use crate::model::{ListType, Structural};
use crate::path::Path;

/// Finds items that repeat one before them, in all lists of the types `set` and `map`.
///
/// `value` is a whole object. Where an object is replaced, this is only asked of the new one if it says nothing
/// of the old one.
pub fn check_lists(value: &Value, schema: &Structural) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if value.is_object() {
        visit(&Path::Root(""), value, schema, &mut errors);
    }
    errors
}

fn visit(path: &Path<'_>, value: &Value, schema: &Structural, errors: &mut FieldErrors) {
    match value {
        Value::Object(fields) => {
            if let Some(schema) = schema.additional.schema() {
                fields.iter().for_each(|(name, value)| visit(&path.key(name), value, schema, errors));
            }
            for (name, value) in fields {
                if let Some(schema) = schema.properties.get(name) {
                    visit(&path.child(name), value, schema, errors);
                }
            }
        }
        Value::Array(items) => {
            match schema.list_type {
                Some(ListType::Set) => check_set(path, items, errors),
                Some(ListType::Map) => check_map(path, items, &schema.list_map_keys, errors),
                _ => {}
            }
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    visit(&path.index(index), item, schema, errors);
                }
            }
        }
        _ => {}
    }
}

fn check_set(path: &Path<'_>, items: &[Value], errors: &mut FieldErrors) {
    let repeated = repeated(items.iter().map(ToString::to_string));
    errors.extend(repeated.map(|index| FieldError::duplicate(path.index(index), items[index].clone())));
}

fn check_map(path: &Path<'_>, items: &[Value], keys: &[String], errors: &mut FieldErrors) {
    let other = items.iter().position(|item| !item.is_object() && !item.is_null());
    if let Some(index) = other {
        let detail = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(path.index(index), items[index].clone(), detail));
        return;
    }
    let identity = |item: &Value| {
        let fields = item.as_object();
        let given = keys.iter().filter_map(|key| Some((key.clone(), fields?.get(key)?.clone())));
        Value::Object(given.one_by_one::<Map<_, _>>())
    };
    let identities: Vec<Value> = items.iter().map(identity).collect();
    let repeated = repeated(identities.iter().map(ToString::to_string));
    errors.extend(repeated.map(|index| FieldError::duplicate(path.index(index), identities[index].clone())));
}

/// The places where something stands for the second time.
fn repeated(texts: impl Iterator<Item = String>) -> impl Iterator<Item = usize> {
    let mut times = HashMap::new();
    texts.enumerate().filter_map(move |(index, text)| {
        let times: &mut usize = times.entry(text).or_default();
        *times += 1;
        (*times == 2).then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_repetitions() {
        let of = json!({"properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {
                    "inner": {"type": "array", "x-kubernetes-list-type": "set", "items": {}}}}},
            "two": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object"}},
            "named": {"additionalProperties": {"type": "array", "x-kubernetes-list-type": "set", "items": {}}},
        }});
        let check = |value: Value, wanted: &[&str]| {
            let errors = check_lists(&value, &Structural::parse(&of).unwrap());
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), wanted, "{value}");
        };
        check(json!({"set": ["a", "b"], "map": [{"name": "a"}, {"name": "b"}]}), &[]);
        check(
            json!({"set": ["a", "b", "a", "a", 1, 1]}),
            &[r#"set[2]: Duplicate value: "a""#, "set[5]: Duplicate value: 1"],
        );
        check(
            json!({"set": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}),
            &[r#"set[1]: Duplicate value: {"a":1,"b":2}"#],
        );
        check(
            json!({"map": [{"name": "a", "x": 1}, {"name": "a"}, {}, null]}),
            &[r#"map[1]: Duplicate value: {"name":"a"}"#, "map[3]: Duplicate value: {}"],
        );
        check(
            json!({"map": [1]}),
            &["map[0]: Invalid value: 1: must be an object for an array of list-type map"],
        );
        check(
            json!({"two": [{"a": 1}, {"a": 1, "b": 1}, {"b": 1, "a": 1}, {"a": 1}]}),
            &[r#"two[2]: Duplicate value: {"a":1,"b":1}"#, r#"two[3]: Duplicate value: {"a":1}"#],
        );
        check(json!({"map": [{"inner": ["x", "x"]}]}), &[r#"map[0].inner[1]: Duplicate value: "x""#]);
        check(json!({"named": {"k": [true, true]}}), &["named[k][1]: Duplicate value: true"]);
    }
}
