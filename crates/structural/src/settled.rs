//! Whether reading a stored object anew would change it, found out from its text: no tree is made.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::Structural;

/// Whether an object that was stored has the form that [`crate::ObjectMeta::read`] and [`crate::default`] would give it now:
/// it is of this `apiVersion`, has no field and no null that would go, and every default that would come.
///
/// What is written goes through reading, and ObjectMeta is the same for all; so the object's metadata are not looked at. In
/// doubt the answer is no: about embedded resources, and about schemas that say more of `metadata` than what is checked.
pub fn is_settled(text: &[u8], schema: &Structural, api_version: &str) -> bool {
    let metadata = schema.properties.get("metadata");
    if schema.additional.schema().is_some() || metadata.is_some_and(|schema| has_defaults(schema)) {
        return false;
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    Place { schema: Some(schema), keeps: false, null: Null::Stays, root: Some(api_version) }
        .deserialize(&mut json)
        .is_ok()
}

fn has_defaults(schema: &Structural) -> bool {
    schema.default.is_some()
        || schema.properties.values().any(|schema| has_defaults(schema))
        || schema.items.iter().chain(schema.additional.schema()).any(|schema| has_defaults(schema))
}

/// What becomes of a null.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Stays,
    Goes,
}

impl Null {
    /// As the value of a field it is removed, or replaced by the default.
    fn in_field(schema: &Structural) -> Self {
        if schema.nullable { Self::Stays } else { Self::Goes }
    }

    /// As an item of a list it is at most replaced.
    fn in_list(schema: &Structural) -> Self {
        if schema.nullable || schema.default.is_none() { Self::Stays } else { Self::Goes }
    }
}

/// Where a value is; it deserialises to nothing, and fails if the value would change.
#[derive(Clone, Copy)]
struct Place<'s> {
    schema: Option<&'s Structural>,
    /// Whether a list around it keeps fields that are not known.
    keeps: bool,
    null: Null,
    /// The `apiVersion` that the value must have: it is the whole object.
    root: Option<&'s str>,
}

impl<'s> Place<'s> {
    fn field(schema: &'s Structural) -> Self {
        Self { schema: Some(schema), keeps: false, null: Null::in_field(schema), root: None }
    }

    /// That of a value of which nothing is known but that it is allowed.
    const UNKNOWN: Self = Self { schema: None, keeps: false, null: Null::Stays, root: None };

    fn keeps_unknown(&self) -> bool {
        self.keeps || self.schema.is_some_and(|schema| schema.preserve_unknown_fields)
    }

    /// What is to be done with the value of a field; none if the field would go.
    fn below(&self, name: &str) -> Option<Below<'s>> {
        match (self.root, name) {
            (Some(wanted), "apiVersion") => return Some(Below::Exactly(wanted)),
            (Some(_), "kind" | "metadata") => return Some(Below::Anything),
            _ => {}
        }
        let schema = self.schema?;
        match schema.field(name) {
            Some(inner) if inner.default.is_some() && schema.properties.contains_key(name) => {
                Some(Below::Defaulted(Place::field(inner)))
            }
            Some(inner) => Some(Below::Value(Place::field(inner))),
            None if schema.additional.is_stated() => Some(Below::Value(Place::UNKNOWN)),
            None => self.keeps_unknown().then_some(Below::Anything),
        }
    }
}

enum Below<'s> {
    Value(Place<'s>),
    /// One that a default would have made if it was not there.
    Defaulted(Place<'s>),
    Exactly(&'s str),
    Anything,
}

fn changes<E: Error>() -> E {
    E::custom("it would change")
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that would not change")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.null == Null::Stays { Ok(()) } else { Err(changes()) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        if self.schema.is_some_and(|schema| schema.embedded_resource) {
            return Err(changes());
        }
        let (mut defaulted, mut has_version) = (0, false);
        while let Some(below) = fields.next_key_seed(Name(&self))? {
            match below {
                Below::Value(place) => fields.next_value_seed(place)?,
                Below::Defaulted(place) => {
                    defaulted += 1;
                    fields.next_value_seed(place)?;
                }
                Below::Exactly(wanted) => {
                    has_version = true;
                    fields.next_value_seed(Exactly(wanted))?;
                }
                Below::Anything => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        let properties = self.schema.into_iter().flat_map(|schema| schema.properties.values());
        let wanted = properties.filter(|schema| schema.default.is_some()).count();
        let is_whole = self.root.is_none() || has_version;
        if defaulted == wanted && is_whole { Ok(()) } else { Err(changes()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let keeps = self.keeps_unknown();
        let place = match self.schema.and_then(|schema| schema.items.as_deref()) {
            Some(inner) => Place { schema: Some(inner), keeps, null: Null::in_list(inner), root: None },
            None if keeps => {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(());
            }
            None => Place::UNKNOWN,
        };
        while items.next_element_seed(place)?.is_some() {}
        Ok(())
    }
}

/// The name of a field of a value.
struct Name<'p, 's>(&'p Place<'s>);

impl<'de, 's> DeserializeSeed<'de> for Name<'_, 's> {
    type Value = Below<'s>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Below<'s>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for Name<'_, 's> {
    type Value = Below<'s>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field that stays")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Below<'s>, E> {
        self.0.below(name).ok_or_else(changes)
    }
}

/// A text that must be this one.
struct Exactly<'s>(&'s str);

impl<'de> DeserializeSeed<'de> for Exactly<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Exactly<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text == self.0 { Ok(()) } else { Err(changes()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use skiff_schema::Schema;

    use super::*;
    use crate::{Malformed, ObjectMeta};

    fn schema() -> Structural {
        let inner =
            json!({"type": "object", "properties": {"a": {"type": "string", "default": "A"}, "b": {}}});
        Structural::parse(&json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}},
            "a": inner,
            "b": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": inner}},
            "c": {"type": "array", "items": inner},
            "d": {"type": "array", "items": {"type": "string", "default": "D"}},
            "e": {"type": "object", "additionalProperties": inner},
            "f": {"type": "object", "additionalProperties": true, "nullable": true},
            "g": {"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": inner},
            "h": {"type": "array", "x-kubernetes-preserve-unknown-fields": true},
            "i": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"a": inner}},
            "j": {"type": "object", "default": {"a": "x"}, "properties": {"a": {"type": "string"}}},
            "k": {"type": "object", "additionalProperties": {"type": "string", "default": "K"}},
        }}))
        .unwrap()
    }

    /// What reading makes of an object.
    fn anew(object: &Value) -> Value {
        let meta = ObjectMeta::of(&Arc::new(Schema::kubernetes())).unwrap();
        let mut tree = object.clone();
        meta.read(&mut tree, &schema(), Malformed::Drop).unwrap();
        crate::default(&mut tree, &schema());
        tree
    }

    fn settled(object: &Value) -> bool {
        is_settled(object.to_string().as_bytes(), &schema(), "x/v1")
    }

    #[test]
    fn what_would_not_change_is_settled() {
        let check = |fields: Value, wanted: bool| {
            let mut object = json!({"apiVersion": "x/v1", "kind": "K", "metadata": {"name": "n"}, "j": {}});
            for (name, value) in fields.as_object().unwrap() {
                object[name] = value.clone();
            }
            assert_eq!((settled(&object), anew(&object) == object), (wanted, wanted), "{object}");
        };
        check(json!({}), true);
        check(json!({"unknown": 1}), false);
        check(json!({"j": null}), false);
        check(json!({"a": {"a": "x", "b": "y"}, "f": null}), true);
        check(json!({"a": {}}), false);
        check(json!({"a": {"a": "x", "b": {"unknown": 1}}}), false);
        check(json!({"b": {"unknown": {"x": null}, "a": {"a": "x"}}}), true);
        check(json!({"b": {"unknown": 1, "a": {"a": "x", "unknown": 1}}}), false);
        check(json!({"c": [{"a": "x"}, null], "d": ["x"], "h": [{"x": 1}]}), true);
        check(json!({"c": [{"a": "x"}, {}]}), false);
        check(json!({"d": [null]}), false);
        check(json!({"e": {"x": {"a": "x"}}, "f": {"x": 1, "y": [1]}, "k": {}}), true);
        check(json!({"e": {"x": {}}}), false);
        check(json!({"f": {"x": {"y": 1}}}), false);
        check(json!({"g": [{"a": "x", "unknown": 1}]}), true);
        check(json!({"k": {"x": null}}), false);
    }

    #[test]
    fn another_version_is_not_settled() {
        assert!(!settled(&json!({"apiVersion": "x/v2", "j": {}})));
        assert!(!settled(&json!({"j": {}})));
        assert!(!is_settled(b"{", &schema(), "x/v1"));
    }

    fn trees() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), Just(json!("x")), Just(json!(1))];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let name = prop::sample::select(vec!["a", "b", "x"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..3)
                    .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        /// What is called settled is read as it is, and what was read is mostly called settled.
        #[test]
        fn settled_objects_are_read_as_they_are(
            fields in prop::collection::btree_map("[a-l]", trees(), 0..4)
        ) {
            let mut object = json!({"apiVersion": "x/v1", "kind": "K", "metadata": {"name": "n"}});
            for (name, value) in fields {
                object[name] = value;
            }
            let read = anew(&object);
            prop_assert!(!settled(&object) || read == object, "{object} is read as {read}");
            prop_assert!(settled(&read) || !read["i"].is_null(), "{read} is not settled");
        }
    }
}
