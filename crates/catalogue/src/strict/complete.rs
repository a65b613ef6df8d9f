//! Fills what every reader needs and a writer may have left out.
//!
//! Of all required fields only times have no empty value: Kubernetes stores the zero time for them. Typed clients of
//! other languages cannot read an object without, and neither could its own kind's strategy. A few fields that the schema calls
//! optional are in every object that Kubernetes answers, empty or not; clients rely on them, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::Object;
use crate::schema::{DefinitionId, Schema, Type};

/// The zero time of Go, which every client understands.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
const ZERO_MICRO_TIME: &str = "0001-01-01T00:00:00.000000Z";

/// Fields that are always there: definition, name, and as JSON what they are when nobody set them.
const ALWAYS: &[(&str, &str, &str)] = &[
    ("io.k8s.api.core.v1.Event", "eventTime", "null"),
    ("io.k8s.api.core.v1.Event", "firstTimestamp", "null"),
    ("io.k8s.api.core.v1.Event", "lastTimestamp", "null"),
    ("io.k8s.api.core.v1.Event", "reportingComponent", r#""""#),
    ("io.k8s.api.core.v1.Event", "reportingInstance", r#""""#),
    ("io.k8s.api.core.v1.Event", "source", "{}"),
    ("io.k8s.api.core.v1.Node", "spec", "{}"),
    ("io.k8s.api.core.v1.Node", "status", "{}"),
    ("io.k8s.api.core.v1.NodeStatus", "daemonEndpoints", r#"{"kubeletEndpoint":{"Port":0}}"#),
    (
        "io.k8s.api.core.v1.NodeStatus",
        "nodeInfo",
        r#"{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"",
            "kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}"#,
    ),
    ("io.k8s.api.discovery.v1.Endpoint", "conditions", "{}"),
    ("io.k8s.api.discovery.v1.EndpointSlice", "endpoints", "null"),
    ("io.k8s.api.discovery.v1.EndpointSlice", "ports", "null"),
    ("io.k8s.api.rbac.v1.ClusterRole", "rules", "null"),
    ("io.k8s.api.rbac.v1.Role", "rules", "null"),
];

/// The fields of [`ALWAYS`], by definition.
static FIELDS: LazyLock<BTreeMap<&'static str, Vec<(&'static str, Value)>>> = LazyLock::new(|| {
    let mut fields: BTreeMap<&'static str, Vec<(&'static str, Value)>> = BTreeMap::new();
    for (definition, field, empty) in ALWAYS {
        let empty = serde_json::from_str(empty).expect("the table holds JSON; a test reads all of it");
        fields.entry(definition).or_default().push((field, empty));
    }
    fields
});

/// Sets the required times of an object of the definition that are not there.
pub fn complete(object: &mut Object, definition: &str) {
    run(object, definition, Filling::Times);
}

/// Sets what is always there, of an object of the definition. It belongs to nobody: writers are asked first.
pub fn show(object: &mut Object, definition: &str) {
    run(object, definition, Filling::Always);
}

/// What is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    Times,
    Always,
}

fn run(object: &mut Object, definition: &str, filling: Filling) {
    let schema = Schema::global();
    if let Type::Object(id) = schema.root(definition) {
        fill(schema, id, object.as_map_mut(), filling);
    }
}

fn fill(schema: &Schema, id: DefinitionId, map: &mut Map<String, Value>, filling: Filling) {
    if !CONCERNED.contains(&id) {
        return;
    }
    let always = FIELDS.get(schema.get(id).name()).filter(|_| filling == Filling::Always);
    for (field, empty) in always.into_iter().flatten() {
        map.entry(*field).or_insert_with(|| empty.clone());
    }
    for field in schema.get(id).fields() {
        let zero = match field.ty {
            Type::Time => ZERO_TIME,
            Type::MicroTime => ZERO_MICRO_TIME,
            ty => {
                if let Some(value) = map.get_mut(field.name) {
                    descend(schema, ty, value, filling);
                }
                continue;
            }
        };
        if filling == Filling::Times && field.required && map.get(field.name).is_none_or(Value::is_null) {
            map.insert(field.name.to_owned(), zero.into());
        }
    }
}

fn descend(schema: &Schema, ty: Type, value: &mut Value, filling: Filling) {
    match (ty, value) {
        (Type::Object(id), Value::Object(map)) => fill(schema, id, map, filling),
        (Type::List(inner), Value::Array(items)) => {
            items.iter_mut().for_each(|item| descend(schema, schema.inner(inner), item, filling));
        }
        (Type::Map(inner), Value::Object(map)) => {
            map.values_mut().for_each(|item| descend(schema, schema.inner(inner), item, filling));
        }
        _ => {}
    }
}

/// The definitions that hold something of the kind, themselves or further down.
static CONCERNED: LazyLock<BTreeSet<DefinitionId>> = LazyLock::new(|| {
    let schema = Schema::global();
    let mut concerned = BTreeSet::new();
    loop {
        let before = concerned.len();
        for id in schema.ids() {
            let leads = |ty: Type| match innermost(schema, ty) {
                Type::Object(id) => concerned.contains(&id),
                _ => false,
            };
            let is_time = |ty: Type| matches!(ty, Type::Time | Type::MicroTime);
            let has_more = FIELDS.contains_key(schema.get(id).name());
            if has_more
                || schema.get(id).fields().iter().any(|f| (f.required && is_time(f.ty)) || leads(f.ty))
            {
                concerned.insert(id);
            }
        }
        if concerned.len() == before {
            return concerned;
        }
    }
});

/// The type of what lists and maps of lists and maps hold in the end.
fn innermost(schema: &Schema, ty: Type) -> Type {
    match ty {
        Type::List(inner) | Type::Map(inner) => innermost(schema, schema.inner(inner)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalogue, ClusterFacts, Context, strict};
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn a_condition_without_a_time_gets_the_zero_time() {
        let mut service = Object::from_value(json!({"status": {"conditions": [{"type": "a"}]}})).unwrap();
        complete(&mut service, "io.k8s.api.core.v1.Service");
        let condition = json!({"type": "a", "lastTransitionTime": ZERO_TIME});
        assert_eq!(service.get(&["status", "conditions"]), Some(&json!([condition])));
    }

    /// An object with every object, list and map that the schema allows, and no scalar in any of them.
    fn hollow(schema: &Schema, ty: Type, above: &mut Vec<DefinitionId>) -> Value {
        match ty {
            Type::Object(id) if above.contains(&id) => json!({}),
            Type::Object(id) => {
                above.push(id);
                let fields = schema.get(id).fields().iter();
                let map = fields.map(|f| (f.name.to_owned(), hollow(schema, f.ty, above))).collect();
                above.pop();
                Value::Object(map)
            }
            Type::List(inner) => json!([hollow(schema, schema.inner(inner), above)]),
            Type::Map(inner) => json!({"k": hollow(schema, schema.inner(inner), above)}),
            _ => Value::Null,
        }
    }

    #[test]
    fn whatever_a_client_leaves_out_every_kind_can_be_read_again() {
        let cluster = ClusterFacts { domain: "cluster.local".to_owned(), node_ports: (30000, 32767) };
        let cx = Context { now: Timestamp::UNIX_EPOCH, cluster: &cluster };
        for kind in Catalogue::builtin().iter() {
            let tree = hollow(Schema::global(), Schema::global().root(kind.definition), &mut Vec::new());
            if !tree.is_object() {
                continue;
            }
            let mut object = strict::prune(tree, kind.definition).unwrap().object;
            object.set(&["apiVersion"], kind.gv.to_string());
            object.set(&["kind"], kind.names.kind.as_ref());
            kind.fill(&mut object);
            let mut errors = kind.strategy.validate(cx, &object);
            errors.extend(kind.strategy.validate_update(cx, &object, &object));
            errors.extend(kind.strategy.validate_status(cx, &object, &object));
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert!(!texts.iter().any(|text| text.contains("cannot decode")), "{kind:?}: {texts:?}");
        }
    }
}
