//! Brings an object into the form that it has when Go has read it and writes it again.
//!
//! A zero that is the same as nothing is either always written or never (see [`Zero`]), whatever the writer did. The
//! exception are required times: Kubernetes writes null for their zero, which typed clients of other languages cannot
//! read; here it is the zero time, which all of them can.

use serde_json::{Map, Value};
use skiff_schema::{DefinitionId, Field, Root, Schema, Type, Zero};

use crate::Object;

/// The zero time of Go, which every client understands.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
const ZERO_MICRO_TIME: &str = "0001-01-01T00:00:00.000000Z";

/// What is written where there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    /// The zeros of texts, numbers and structs.
    Zeros,
    /// These, and null for lists, maps and times, and for what may be none.
    All,
}

/// Writes and leaves out the zeros of a whole object as Go does when it reads it.
pub fn complete(object: &mut Object, root: &Root) {
    fill(root.schema(), root.id(), object.as_map_mut(), Filling::Zeros);
}

/// Writes what Go always writes, as null where it has no zero. It belongs to nobody: writers are asked first.
pub fn show(object: &mut Object, root: &Root) {
    fill(root.schema(), root.id(), object.as_map_mut(), Filling::All);
}

/// Leaves out nulls, and empty lists and maps, that are not written.
pub(crate) fn drop_empty(object: &mut Object, root: &Root) {
    drop_empty_fields(root.schema(), root.id(), object.as_map_mut());
}

fn drop_empty_fields(schema: &Schema, id: DefinitionId, map: &mut Map<String, Value>) {
    for field in schema.get(id).fields() {
        let Some(value) = map.get_mut(&*field.name) else { continue };
        let is_empty = match (field.ty, &*value) {
            (Type::List(_), Value::Array(list)) => list.is_empty(),
            (Type::Map(_), Value::Object(map)) => map.is_empty(),
            (_, value) => value.is_null(),
        };
        if is_empty && field.zero == Zero::Omitted || value.is_null() && field.zero == Zero::Value {
            map.remove(&*field.name);
        } else {
            drop_empty_below(schema, field.ty, value);
        }
    }
}

fn drop_empty_below(schema: &Schema, ty: Type, value: &mut Value) {
    match (ty, value) {
        (Type::Object(id), Value::Object(map)) => drop_empty_fields(schema, id, map),
        (Type::List(inner), Value::Array(items)) => {
            items.iter_mut().for_each(|item| drop_empty_below(schema, schema.inner(inner), item));
        }
        (Type::Map(inner), Value::Object(map)) => {
            map.values_mut().for_each(|item| drop_empty_below(schema, schema.inner(inner), item));
        }
        _ => {}
    }
}

fn fill(schema: &Schema, id: DefinitionId, map: &mut Map<String, Value>, filling: Filling) {
    for field in schema.get(id).fields() {
        match map.get_mut(&*field.name).filter(|value| !value.is_null()) {
            Some(value) if is_nothing(field, value) => drop(map.remove(&*field.name)),
            // Whoever wrote it owns it; what is kept does not tell it from nothing.
            Some(value) if filling == Filling::All && is_unwritten(field, value) => *value = Value::Null,
            Some(value) => descend(schema, field.ty, value, filling),
            None => {
                if let Some(zero) = written(schema, field, filling) {
                    map.insert(field.name.to_string(), zero);
                }
            }
        }
    }
}

/// Whether a value is the same as none, and not written.
fn is_nothing(field: &Field, value: &Value) -> bool {
    let is_struct = matches!(field.ty, Type::Object(_));
    let is_zero = match field.ty {
        Type::Bytes => value == "",
        ty => !is_struct && ty.plain_zero().as_ref() == Some(value),
    };
    field.zero == Zero::Omitted && is_zero
}

/// Whether a value is an empty list where null is written for none.
fn is_unwritten(field: &Field, value: &Value) -> bool {
    field.zero == Zero::Written && value.as_array().is_some_and(Vec::is_empty)
}

/// What is written where there is nothing.
fn written(schema: &Schema, field: &Field, filling: Filling) -> Option<Value> {
    match field.ty {
        _ if field.zero == Zero::ValueOrNull => (filling == Filling::All).then_some(Value::Null),
        Type::Time if field.required => Some(ZERO_TIME.into()),
        Type::MicroTime if field.required => Some(ZERO_MICRO_TIME.into()),
        _ if field.zero != Zero::Written => None,
        Type::Object(id) => {
            let mut zero = Map::new();
            fill(schema, id, &mut zero, filling);
            Some(zero.into())
        }
        Type::List(_) | Type::Map(_) | Type::Bytes | Type::Time | Type::MicroTime | Type::Raw(_) => {
            (filling == Filling::All).then_some(Value::Null)
        }
        ty => schema.empty(ty),
    }
}

fn descend(schema: &Schema, ty: Type, value: &mut Value, filling: Filling) {
    match (ty, value) {
        (Type::Object(id), Value::Object(map)) => fill(schema, id, map, filling),
        (Type::List(inner), Value::Array(items)) => {
            let inner = schema.inner(inner);
            items.iter_mut().for_each(|item| descend(schema, inner, item, filling));
        }
        (Type::Map(inner), Value::Object(map)) => {
            let inner = schema.inner(inner);
            map.values_mut().for_each(|item| descend(schema, inner, item, filling));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_without_a_time_gets_the_zero_time() {
        let mut service = Object::from_value(json!({"status": {"conditions": [{"type": "a"}]}})).unwrap();
        complete(&mut service, &crate::testing::root("io.k8s.api.core.v1.Service"));
        let condition =
            json!({"type": "a", "status": "", "reason": "", "message": "", "lastTransitionTime": ZERO_TIME});
        assert_eq!(service.get(&["status", "conditions"]), Some(&json!([condition])));
    }

    #[test]
    fn zeros_are_written_as_go_writes_them() {
        let check = |definition: &str, before: Value, after: Value, shown: Value| {
            let mut object = Object::from_value(before).unwrap();
            let root = crate::testing::root(definition);
            for (act, expected) in [(complete as fn(&mut Object, &Root), after), (show, shown)] {
                for time in ["once", "again"] {
                    act(&mut object, &root);
                    assert_eq!(object.clone().into_value(), expected, "{time}");
                }
            }
        };
        let pod = json!({"enableServiceLinks": false,
            "containers": [{"name": "", "resources": {}, "env": [{"name": "A"}]}]});
        let given = json!({"hostNetwork": false, "enableServiceLinks": false, "hostname": "",
            "containers": [{"env": [{"name": "A", "value": ""}]}]});
        check("io.k8s.api.core.v1.PodSpec", given, pod.clone(), pod);
        let service = json!({"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}});
        check("io.k8s.api.core.v1.Service", json!({}), service.clone(), service);
        let role = json!({"metadata": {}});
        check("io.k8s.api.rbac.v1.Role", json!({}), role, json!({"metadata": {}, "rules": null}));
        let source = json!({"kind": "K", "name": "n"});
        let shown = json!({"apiGroup": null, "kind": "K", "name": "n"});
        check("io.k8s.api.core.v1.TypedLocalObjectReference", source.clone(), source, shown);
        let event = json!({"metadata": {}, "involvedObject": {}, "source": {}, "reportingComponent": "",
            "reportingInstance": ""});
        let mut shown = event.clone();
        for time in ["firstTimestamp", "lastTimestamp", "eventTime"] {
            shown[time] = Value::Null;
        }
        check("io.k8s.api.core.v1.Event", json!({}), event, shown);
    }
}
