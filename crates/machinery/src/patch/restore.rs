//! Why a tree that a strategic patch made is no object of its kind, in the words of Kubernetes' converter from trees to structs:
//! what such patches make is never text, and so never decoded.

use serde_json::{Map, Value};
use skiff_schema::{DefinitionId, Root, Schema, Type};

use crate::Object;

/// The first field of a wrong type, in the order of the struct; none where the types fit, or where a type's own decoder would
/// find fault.
pub fn refuse_tree(object: &Object, root: &Root) -> Option<String> {
    refuse_field(root.schema(), root.id(), object.as_map())
}

fn refuse(schema: &Schema, ty: Type, value: &Value) -> Option<String> {
    match (ty, value) {
        (_, Value::Null) => None,
        (Type::Object(id), Value::Object(map)) => refuse_field(schema, id, map),
        (Type::Object(_), other) => Some(format!("cannot restore struct from: {}", kind(other))),
        (Type::Map(inner), Value::Object(map)) => {
            map.values().find_map(|value| refuse(schema, schema.inner(inner), value))
        }
        (Type::Map(_), other) => Some(format!("cannot restore map from {}", kind(other))),
        (Type::List(inner), Value::Array(items)) => {
            items.iter().find_map(|value| refuse(schema, schema.inner(inner), value))
        }
        (Type::List(_), other) => Some(format!("cannot restore slice from {}", kind(other))),
        (Type::Bytes, Value::String(_)) => None,
        (Type::Bytes, other) => Some(format!("cannot restore slice from {}", kind(other))),
        (Type::String, value) => refuse_scalar("string", value, value.is_string(), value.as_i64().is_some()),
        (Type::Bool, value) => refuse_scalar("bool", value, value.is_boolean(), false),
        (Type::Int32, value) => refuse_scalar("int32", value, is_whole(value), value.is_number()),
        (Type::Int64, value) => refuse_scalar("int64", value, is_whole(value), value.is_number()),
        (Type::Float, value) => refuse_scalar("float64", value, value.is_number(), false),
        // These decode themselves.
        (Type::IntOrString | Type::Quantity | Type::Time | Type::MicroTime | Type::Raw(_), _) => None,
    }
}

fn refuse_field(schema: &Schema, id: DefinitionId, value: &Map<String, Value>) -> Option<String> {
    let fields = schema.get(id).fields().iter();
    let mut given = fields.filter_map(|field| Some((field.ty, value.get(&*field.name)?)));
    given.find_map(|(ty, value)| refuse(schema, ty, value))
}

/// `converts` is whether Go knows a conversion at all, which JSON does not.
fn refuse_scalar(wanted: &str, value: &Value, fits: bool, converts: bool) -> Option<String> {
    match (fits, converts) {
        (true, _) => None,
        (false, true) => Some(format!("cannot convert {} to {wanted}", kind(value))),
        (false, false) => Some(format!("unrecognized type: {wanted}")),
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_i64().is_some() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// What Go's reflection calls a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "interface",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn trees_are_refused_as_structs_are_restored() {
        let root = crate::testing::root("io.k8s.api.core.v1.Pod");
        let check = |tree: Value, expected: Option<&str>| {
            let object = Object::from_value(tree.clone()).unwrap();
            assert_eq!(refuse_tree(&object, &root).as_deref(), expected, "{tree}");
        };
        check(json!({"spec": {"containers": [{"name": "c", "env": null}], "priority": 1.0}}), None);
        check(json!({"spec": {"containers": "x"}}), Some("cannot restore slice from string"));
        check(json!({"spec": []}), Some("cannot restore struct from: slice"));
        check(json!({"spec": {"nodeSelector": 1}}), Some("cannot restore map from int64"));
        check(json!({"spec": {"nodeName": 1}}), Some("cannot convert int64 to string"));
        check(json!({"spec": {"nodeName": true}}), Some("unrecognized type: string"));
        check(json!({"spec": {"priority": "1"}}), Some("unrecognized type: int32"));
        check(json!({"spec": {"priority": 1.5}}), Some("cannot convert float64 to int32"));
        check(json!({"spec": {"hostNetwork": "yes"}}), Some("unrecognized type: bool"));
    }
}
