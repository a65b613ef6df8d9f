//! By what the store indexes objects: the fields that their kinds say, and their labels. A term is one of a field selector,
//! `spec.nodeName=n1`, or of a label selector, and is read from the stored text without making a tree of it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use skiff_machinery::{Catalogue, keys};
use skiff_store::{Key, Term, Terms};

use super::labels::Labels;

/// What a store of these kinds' objects is to index them by.
pub fn terms(catalogue: &Catalogue) -> Terms {
    let mut paths: HashMap<String, Vec<Cow<'static, str>>> = HashMap::new();
    for kind in catalogue.iter() {
        let indexed = kind.selectable.iter().filter(|selectable| selectable.indexed);
        let indexed: Vec<_> = indexed.map(|selectable| selectable.label.clone()).collect();
        if !indexed.is_empty() {
            paths.insert(keys::collection(kind, ""), indexed);
        }
    }
    let of = move |key: &Key, value: &[u8]| -> Vec<Term> {
        let paths = paths.get(Key::space(key.as_str())).into_iter().flatten();
        let fields = paths.filter_map(|path| Some(term(path, &text_at(value, path)?)));
        fields.chain(labels(key, value)).collect()
    };
    of.into()
}

/// The most labels of an object that are indexed: what they cost the store is in proportion to what is done with them.
const MOST_LABELS: usize = 64;

/// The terms of an object's labels. What is damaged has none.
fn labels(key: &Key, value: &[u8]) -> Vec<Term> {
    match Labels::of(key, value) {
        Ok(labels) if labels.count() > MOST_LABELS => vec![many_labels()],
        Ok(labels) => labels.iter().map(|(key, value)| label(key, value)).collect(),
        Err(_) => Vec::new(),
    }
}

/// The term of objects that have a label. No field's path has a space.
pub(crate) fn label(key: &str, value: &str) -> Term {
    Term::new(format!("label {key}={value}"))
}

/// The term of objects with more labels than are indexed.
pub(crate) fn many_labels() -> Term {
    Term::new("labels")
}

/// The term of objects in which a field has a value.
pub(crate) fn term(path: &str, value: &str) -> Term {
    Term::new(format!("{path}={value}"))
}

/// The text at a path of JSON, `spec.nodeName`; empty if it is absent. `None` for what is damaged: that is told of when
/// somebody reads it.
pub(crate) fn text_at(json: &[u8], path: &str) -> Option<String> {
    At(path).deserialize(&mut serde_json::Deserializer::from_slice(json)).ok()
}

/// Finds the text at a path, empty for the value itself.
struct At<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let (first, rest) = self.0.split_once('.').unwrap_or((self.0, ""));
        let mut found = String::new();
        while let Some(is_it) = map.next_key_seed(Is(first))? {
            if is_it {
                found = map.next_value_seed(At(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(if self.0.is_empty() { text.to_owned() } else { String::new() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<String, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(String::new())
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_bool<E>(self, _: bool) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_i64<E>(self, _: i64) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_u64<E>(self, _: u64) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_f64<E>(self, _: f64) -> Result<String, E> {
        Ok(String::new())
    }
}

/// Whether a key is this one.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(!self.0.is_empty() && key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use skiff_machinery::Object;

    use super::*;
    use crate::pipeline::codec;

    /// What a kind's own selectable fields say of an object is what its terms say.
    #[test]
    fn are_what_field_selectors_see() {
        let catalogue = skiff_kinds::builtin();
        let all = terms(&catalogue);
        let check = |plural: &str, object: Value, count: usize| {
            let kind = catalogue.find("", "v1", plural).unwrap();
            let object = Object::from_value(object).unwrap();
            let found = all.of(&keys::object(kind, "default", "x"), &codec::encode(&object));
            let indexed = kind.selectable.iter().filter(|selectable| selectable.indexed);
            let seen: Vec<Term> =
                indexed.map(|selectable| term(&selectable.label, &selectable.value(&object))).collect();
            assert_eq!((&found, found.len()), (&seen, count), "{object:?}");
        };
        check("pods", json!({"metadata": {"name": "x"}, "spec": {"nodeName": "n1", "containers": [{}]}}), 1);
        check("pods", json!({"metadata": {"name": "x"}, "spec": {"nodeName": "a\"\u{e9}\\b"}}), 1);
        check("pods", json!({"metadata": {"name": "x"}, "spec": {"nodeName": null, "containers": []}}), 1);
        check("pods", json!({"metadata": {"name": "x"}, "spec": null}), 1);
        check(
            "pods",
            json!({"metadata": {"annotations": {"spec": "{\"nodeName\":\"n\"}"}}, "status": {"spec": {"nodeName": "x"}}}),
            1,
        );
        check(
            "events",
            json!({"metadata": {}, "involvedObject": {"name": "p", "uid": "u-1"}, "type": "Normal"}),
            1,
        );
        check("events", json!({"metadata": {}, "involvedObject": {"name": "p"}, "count": 3}), 1);
        check("configmaps", json!({"metadata": {}, "data": {"spec": "x"}}), 0);
        assert!(all.of(&Key::from("/registry/core/pods/default/x"), b"{\"spec\":").is_empty());
    }

    #[test]
    fn labels_are_terms_unless_they_are_many() {
        let all = terms(&skiff_kinds::builtin());
        let check = |labels: Value, expected: &[Term]| {
            let object = Object::from_value(json!({"metadata": {"labels": labels}})).unwrap();
            let found = all.of(&Key::from("/registry/core/configmaps/default/x"), &codec::encode(&object));
            assert_eq!(found, expected);
        };
        check(json!(null), &[]);
        check(json!({}), &[]);
        check(json!({"app": "a\"\u{e9}", "b": ""}), &[label("app", "a\"\u{e9}"), label("b", "")]);
        let many = |count: usize| (0..count).map(|i| (format!("l{i:03}"), json!("v"))).collect::<Value>();
        let some: Vec<Term> = (0..MOST_LABELS).map(|i| label(&format!("l{i:03}"), "v")).collect();
        check(many(MOST_LABELS), &some);
        check(many(MOST_LABELS + 1), &[many_labels()]);
    }

    #[test]
    fn finds_texts_and_nothing_else() {
        let check = |path: &str, json: &str, expected: Option<&str>| {
            assert_eq!(text_at(json.as_bytes(), path).as_deref(), expected, "{path} {json}");
        };
        check("a.b", r#"{"a":{"b":"x"}}"#, Some("x"));
        check("a.b", r#"{"x":[1,{"a":2}],"a":{"c":{"b":"y"},"b":"x","d":null},"b":"z"}"#, Some("x"));
        check("a.b", r#"{"a":{"b":{"c":"x"}}}"#, Some(""));
        check("a.b", r#"{"a":"x"}"#, Some(""));
        check("a.b", r#"{"a":[{"b":"x"}]}"#, Some(""));
        check("a", r#"{"a":7}"#, Some(""));
        check("a", "{", None);
    }
}
