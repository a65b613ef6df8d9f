//! Removing fields that a schema does not know (KEP-2332).

use serde_json::Value;

use crate::model::Structural;

/// The fields of every object that a schema need not know, at the root and in embedded resources.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes the fields that the schema does not know and tells their paths (`spec.foo[0].bar`), sorted.
///
/// `is_root`: the value is a whole object, whose `apiVersion`, `kind` and `metadata` stay.
pub fn prune(value: &mut Value, schema: &Structural, is_root: bool) -> Vec<String> {
    let mut pruner = Pruner { path: String::new(), unknown: Vec::new() };
    pruner.prune(value, Some(schema), is_root || schema.embedded_resource);
    pruner.unknown.sort();
    pruner.unknown
}

struct Pruner {
    path: String,
    unknown: Vec<String>,
}

impl Pruner {
    fn prune(&mut self, value: &mut Value, schema: Option<&Structural>, embedded: bool) {
        if let Some(schema) = schema
            && schema.preserve_unknown_fields
        {
            return self.keep(value, schema, embedded);
        }
        match value {
            Value::Object(fields) => {
                let at_root = self.path.is_empty();
                let mut unknown = Vec::new();
                fields.retain(|name, value| {
                    let is_meta = META.contains(&name.as_str());
                    if embedded && is_meta {
                        return true;
                    }
                    let known =
                        schema.is_some_and(|s| s.properties.contains_key(name) || s.additional.is_stated());
                    if known {
                        let inner = schema.and_then(|schema| schema.field(name)).map(|schema| &**schema);
                        self.below(name, |pruner| pruner.prune_child(value, inner));
                    } else if !(is_meta && at_root) {
                        unknown.push(name.clone());
                    }
                    known
                });
                for name in unknown {
                    self.below(&name, |pruner| pruner.unknown.push(pruner.path.clone()));
                }
            }
            Value::Array(items) => {
                let inner = schema.and_then(|schema| schema.items.as_deref());
                self.each(items, |pruner, item| pruner.prune_child(item, inner));
            }
            _ => {}
        }
    }

    fn prune_child(&mut self, value: &mut Value, schema: Option<&Structural>) {
        self.prune(value, schema, schema.is_some_and(|schema| schema.embedded_resource));
    }

    /// Leaves what the schema does not know; what it knows is pruned again.
    fn keep(&mut self, value: &mut Value, schema: &Structural, embedded: bool) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if embedded && META.contains(&name.as_str()) {
                        continue;
                    }
                    if schema.properties.contains_key(name) || schema.additional.is_stated() {
                        let inner = schema.field(name).map(|schema| &**schema);
                        self.below(name, |pruner| pruner.prune_child(value, inner));
                    }
                }
            }
            Value::Array(items) => {
                let Some(inner) = schema.items.as_deref() else { return };
                self.each(items, |pruner, item| pruner.keep(item, inner, inner.embedded_resource));
            }
            _ => {}
        }
    }

    fn each(&mut self, items: &mut [Value], mut visit: impl FnMut(&mut Self, &mut Value)) {
        let length = self.path.len();
        for (index, item) in items.iter_mut().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            visit(self, item);
            self.path.truncate(length);
        }
    }

    fn below(&mut self, name: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        visit(self);
        self.path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, value: Value, is_root: bool, left: Value, unknown: &[&str]) {
        let schema = Structural::parse(schema).unwrap();
        let mut pruned = value.clone();
        let paths = prune(&mut pruned, &schema, is_root);
        assert_eq!((pruned, paths), (left, unknown.iter().map(ToString::to_string).collect()), "{value}");
    }

    #[test]
    fn removes_what_is_unknown() {
        let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {}}}},
            "any": {"type": "object", "additionalProperties": true},
        }}}});
        check(
            &schema,
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"x": 1}, "other": 1,
                "spec": {"a": "1", "z": {"y": 1}, "metadata": 1,
                    "list": [{"b": "1", "d": 2}, 5, {"e": 1}], "map": {"k": {"c": 1, "f": 1}}}}),
            true,
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"x": 1},
                "spec": {"a": "1", "list": [{"b": "1"}, 5, {}], "map": {"k": {"c": 1}}}}),
            &["other", "spec.list[0].d", "spec.list[2].e", "spec.map.k.f", "spec.metadata", "spec.z"],
        );
        check(&schema, json!({"metadata": {}, "spec": {}}), false, json!({"spec": {}}), &[]);
        check(
            &schema,
            json!({"spec": {"any": {"x": 1, "y": {"z": 1}}}}),
            true,
            json!({"spec": {"any": {"x": 1, "y": {}}}}),
            &["spec.any.y.z"],
        );
    }

    #[test]
    fn keeps_what_is_preserved() {
        let schema = json!({"type": "object", "properties": {
            "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "known": {"type": "object", "properties": {"a": {}}}}},
            "list": {"x-kubernetes-preserve-unknown-fields": true, "type": "array", "items": {"type": "object",
                "properties": {"inner": {"type": "object"}}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            "free": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }});
        check(
            &schema,
            json!({"raw": {"x": {"y": 1}, "known": {"a": 1, "b": 2}}}),
            true,
            json!({"raw": {"x": {"y": 1}, "known": {"a": 1}}}),
            &["raw.known.b"],
        );
        check(
            &schema,
            json!({"list": [{"x": 1, "inner": {"y": 1}}]}),
            true,
            json!({"list": [{"x": 1, "inner": {}}]}),
            &["list[0].inner.y"],
        );
        check(
            &schema,
            json!({"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"q": 1}, "spec": {"x": 1}, "o": 1}}),
            true,
            json!({"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"q": 1}, "spec": {}}}),
            &["pod.o", "pod.spec.x"],
        );
        check(&schema, json!({"free": {"spec": {"x": 1}}}), true, json!({"free": {"spec": {"x": 1}}}), &[]);
    }
}
