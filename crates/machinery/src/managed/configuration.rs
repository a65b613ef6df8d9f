//! Whether a tree can be an applied configuration: fields of the schema only, of its types, and no item of a list twice.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use skiff_schema::{Root, Text, Type};

use super::set::{Element, Path, describe};
use super::shape::{Place, Shape};
use crate::Object;
use crate::go::{self, printed};

/// What is wrong with a configuration of the definition, as server-side apply words it; `None` if nothing is.
pub fn refuse_configuration(root: &Root, config: &Value) -> Option<String> {
    let mut check = Check::default();
    check.value(Place::root(root), config);
    match check.errors.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("errors:\n  {}", many.join("\n  "))),
    }
}

/// Gives a configuration that was read as its kind the nulls and the empty lists and maps back that its text has: who applies them
/// owns them.
pub fn keep_empty(config: &mut Object, text: &Value, root: &Root) {
    if let Some(text) = text.as_object() {
        keep_entries(Place::root(root), config.as_map_mut(), text);
    }
}

fn keep_entries(place: Place<'_>, config: &mut Map<String, Value>, text: &Map<String, Value>) {
    for (name, text) in text {
        let Some(place) = place.known(name) else { continue };
        let is_empty = match (place.ty, text) {
            (Type::Map(_), Value::Object(map)) => map.is_empty(),
            (Type::List(_), Value::Array(list)) => list.is_empty(),
            (_, text) => text.is_null(),
        };
        match config.get_mut(name) {
            Some(value) => keep(place, value, text),
            None if is_empty => drop(config.insert(name.clone(), text.clone())),
            None => {}
        }
    }
}

fn keep(place: Place<'_>, config: &mut Value, text: &Value) {
    match (config, text) {
        (Value::Object(config), Value::Object(text)) => keep_entries(place, config, text),
        (Value::Array(config), Value::Array(text)) if config.len() == text.len() => {
            config.iter_mut().zip(text).for_each(|(config, text)| keep(place.item(), config, text));
        }
        _ => {}
    }
}

#[derive(Default)]
struct Check {
    path: Path,
    errors: Vec<String>,
}

impl Check {
    fn refuse(&mut self, why: &str) {
        self.errors.push(format!("{}: {why}", describe(&self.path)));
    }

    fn below(&mut self, element: Element, look: impl FnOnce(&mut Self)) {
        self.path.push(element);
        look(self);
        self.path.pop();
    }

    fn value(&mut self, place: Place<'_>, value: &Value) {
        match (place.ty, value) {
            (_, Value::Null) | (Type::Raw(_), _) => {}
            (Type::Object(_), Value::Object(map)) => {
                for (name, value) in map {
                    let field = place.field(name);
                    self.below(Element::field(name), |check| match field {
                        Some(field) => check.value(field, value),
                        None => check.refuse("field not declared in schema"),
                    });
                }
            }
            (Type::Map(_), Value::Object(map)) => {
                for (name, value) in map {
                    let entry = place.entry(name);
                    self.below(Element::field(name), |check| check.value(entry, value));
                }
            }
            (Type::List(_), Value::Array(items)) => self.list(place, value, items),
            (Type::Object(_) | Type::Map(_), other) => {
                self.refuse(&format!("expected map, got &{{{}}}", printed(other)))
            }
            (Type::List(_), other) => self.refuse(&format!("expected list, got &{{{}}}", printed(other))),
            (ty, value) => self.scalar(ty, value),
        }
    }

    fn list(&mut self, place: Place<'_>, list: &Value, items: &[Value]) {
        let mut seen = BTreeSet::<Element>::new();
        for (index, item) in items.iter().enumerate() {
            let element = match (place.shape(list), item) {
                (Shape::Leaf | Shape::Entries, _) => Ok(Element::index(index)),
                (Shape::Items(keys), _) => place.item_of(item, keys),
                (Shape::Scalars, _) => scalar_of(item),
            };
            // What comes after an item that cannot be told from others is not looked at.
            let element = match element {
                Ok(element) => element,
                Err(why) => return self.refuse(&format!("element {index}: {why}")),
            };
            if !seen.insert(element.clone()) {
                let key = describe(std::slice::from_ref(&element));
                self.refuse(&format!("duplicate entries for key {key}"));
            }
            self.below(element, |check| check.value(place.item(), item));
        }
    }

    fn scalar(&mut self, ty: Type, value: &Value) {
        match ty {
            Type::String | Type::Bytes if !value.is_string() => {
                let shown = syntax(value);
                self.refuse(&format!("expected string, got &value.valueUnstructured{{Value:{shown}}}"));
            }
            Type::Int32 | Type::Int64 | Type::Float if !value.is_number() => {
                self.refuse(&format!("expected numeric (int or float), got {}", go_type(value)));
            }
            Type::Bool if !value.is_boolean() => {
                self.refuse(&format!("expected boolean, got &{{{}}}", printed(value)));
            }
            _ => {}
        }
    }
}

/// The element that leads to an item of a set of scalars.
fn scalar_of(item: &Value) -> Result<Element, String> {
    let why = match item {
        Value::Object(_) => "associative list without keys has an element that's a map type",
        Value::Array(_) => "not supported: associative list with lists as elements",
        Value::Null => "associative list without keys has an element that's an explicit null",
        _ => return Ok(Element::value(item)),
    };
    Err(why.to_owned())
}

impl Place<'_> {
    /// The element that leads to an item of a list whose items these fields identify.
    fn item_of(self, item: &Value, keys: &[Text]) -> Result<Element, String> {
        match item {
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            Value::Object(_) => {}
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        }
        let element = self.identify(item, keys);
        if element == Element::key(Map::new()) {
            let keys: Vec<String> = keys.iter().map(|key| go::quoted(key)).collect();
            let keys = keys.join(" ");
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{keys}] (and doesn't have default values for any key fields)"
            ));
        }
        Ok(element)
    }
}

/// A value as `%#v` prints it: `map[string]interface {}{"a":1}`.
fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => go::quoted(text),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| format!("{}:{}", go::quoted(key), syntax(value)));
            format!("map[string]interface {{}}{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) | Value::Null => "int64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use skiff_schema::{Builder, Field, Kinds};

    fn check(config: Value, expected: Option<&str>) {
        let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": config});
        let refused = refuse_configuration(&crate::testing::root("io.k8s.api.core.v1.Pod"), &config);
        assert_eq!(refused.as_deref(), expected, "{config}");
    }

    #[test]
    fn what_the_schema_does_not_know_is_refused() {
        check(
            json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": 1}}}]}),
            None,
        );
        check(json!({"nodeSelector": {"a": "b"}, "terminationGracePeriodSeconds": null}), None);
        check(json!({"unknown": 1}), Some(".spec.unknown: field not declared in schema"));
        check(json!({"containers": "x"}), Some(".spec.containers: expected list, got &{x}"));
        check(json!([]), Some(".spec: expected map, got &{[]}"));
        let number =
            r#".spec.containers[name="a"].image: expected string, got &value.valueUnstructured{Value:5}"#;
        check(json!({"containers": [{"name": "a", "image": 5}]}), Some(number));
        let text = ".spec.priority: expected numeric (int or float), got string";
        check(json!({"priority": "x"}), Some(text));
    }

    #[test]
    fn what_an_open_definition_does_not_have_may_be_anything() {
        let mut builder = Builder::default();
        let spec =
            builder.define("a.Spec", vec![Field::new("known", Type::Bool)], false, Kinds::None).unwrap();
        builder.leave_open(spec);
        let fields = vec![Field::new("spec", Type::Object(spec))];
        let kind = builder.define("a.K", fields, false, Kinds::None).unwrap();
        let root = builder.finish(kind, None);
        let check = |config: Value, expected: Option<&str>| {
            assert_eq!(refuse_configuration(&root, &config).as_deref(), expected, "{config}");
        };
        check(json!({"spec": {"known": true, "other": {"list": [1, 1]}}}), None);
        check(json!({"spec": {"known": "x"}}), Some(".spec.known: expected boolean, got &{x}"));
        check(json!({"other": 1}), Some(".other: field not declared in schema"));
    }

    #[test]
    fn what_is_empty_in_the_text_is_in_the_configuration() {
        let root = crate::testing::root("io.k8s.api.core.v1.Pod");
        let mut config = Object::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).unwrap();
        let text = json!({"metadata": {"labels": {}}, "unknown": {},
            "spec": {"nodeSelector": {}, "containers": [{"name": "c", "env": []}], "securityContext": {}}});
        keep_empty(&mut config, &text, &root);
        let expected = json!({"spec": {"nodeSelector": {}, "containers": [{"name": "c", "env": []}]}});
        assert_eq!(config.into_value(), expected);
    }

    #[test]
    fn no_item_is_there_twice() {
        let env = json!([{"name": "X", "value": "1"}, {"name": "X", "value": "2"}]);
        check(
            json!({"containers": [{"name": "a", "env": env}]}),
            Some(r#".spec.containers[name="a"].env: duplicate entries for key [name="X"]"#),
        );
        check(
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 80}]}]}),
            Some(
                r#".spec.containers[name="a"].ports: duplicate entries for key [containerPort=80,protocol="TCP"]"#,
            ),
        );
        let list = r#".spec.containers[name="a"].image: expected string, got &value.valueUnstructured{Value:[]interface {}{1, "x"}}"#;
        check(json!({"containers": [{"name": "a", "image": [1, "x"]}]}), Some(list));
        // What comes after an item without a key is not looked at.
        check(
            json!({"containers": [null, {"name": 5}]}),
            Some(".spec.containers: element 0: associative list with keys may not have a null element"),
        );
        check(
            json!({"containers": ["a"]}),
            Some(".spec.containers: element 0: associative list with keys may not have non-map elements"),
        );
        // Lists that are replaced as a whole may hold anything.
        check(json!({"tolerations": [{"key": "a"}, {"key": "a"}]}), None);
    }
}
