//! Laying a configuration over an object without owning anything, as admission policies do.

use serde_json::Value;
use skiff_schema::Root;

use super::apply::merge_entries;
use super::shape::{Place, Shape};
use crate::Object;

/// The object with the configuration laid over it: maps are merged, lists by their keys; what is left out stays.
pub fn overlay(live: &Object, config: &Object, root: &Root) -> Object {
    Object::from(merge_entries(Place::root(root), live.as_map(), config.as_map()))
}

/// The paths of lists, maps and structs in a configuration that would be replaced as a whole, e.g. `.spec.tolerations`.
pub fn atomics(root: &Root, config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find(Place::root(root), config, &mut String::new(), &mut found);
    found
}

fn find(place: Place<'_>, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let whole = matches!(place.shape(value), Shape::Leaf);
    let length = path.len();
    match value {
        Value::Object(map) => {
            if whole {
                found.push(path.clone());
            }
            for (name, value) in map {
                if let Some(field) = place.field(name) {
                    path.push('.');
                    path.push_str(name);
                    find(field, value, path, found);
                    path.truncate(length);
                }
            }
        }
        Value::Array(items) => {
            if whole {
                found.push(path.clone());
            }
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                find(place.item(), item, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn root() -> Root {
        crate::testing::root("io.k8s.api.core.v1.Pod")
    }

    #[test]
    fn lists_are_merged_by_their_keys() {
        let object = |spec: Value| Object::from_value(json!({"spec": spec})).unwrap();
        let live =
            object(json!({"containers": [{"name": "a", "image": "i"}, {"name": "b"}], "nodeName": "n"}));
        let config = object(json!({"containers": [{"name": "b", "image": "j"}]}));
        let expected = json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}], "nodeName": "n"});
        assert_eq!(overlay(&live, &config, &root()), object(expected));
    }

    #[test]
    fn what_would_be_replaced_is_found() {
        let check = |spec: Value, expected: &[&str]| {
            assert_eq!(
                atomics(&root(), &json!({"metadata": {"labels": {"a": "b"}}, "spec": spec})),
                expected
            );
        };
        check(json!({"containers": [{"name": "a", "image": "i"}]}), &[]);
        check(json!({"tolerations": [{"key": "a"}]}), &[".spec.tolerations"]);
        check(json!({"containers": [{"name": "a", "command": ["x"]}]}), &[".spec.containers[0].command"]);
        check(json!({"nodeSelector": {"a": "b"}}), &[".spec.nodeSelector"]);
    }
}
