//! Stored bytes ↔ objects.
//!
//! A stored object is JSON that starts with `{"metadata":{` and has no `resourceVersion`. Because the
//! metadata comes first, an answer is made by inserting the version behind that prefix: stored bytes are
//! neither decoded nor encoded on the way to a client. `apiVersion` and `kind` come last, where they can be left out of the
//! items of a list, which names them once. Strings are written as Go writes them.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::ser::{CompactFormatter, Formatter};
use serde_json::{Map, Value};
use skiff_machinery::{Kind, Object, go, protobuf};
use skiff_schema::Root;
use skiff_store::{Entry, Key, Revision};
use thiserror::Error;

use crate::errors::ApiError;

const HEAD: &[u8] = br#"{"metadata":{"#;

/// Stored bytes that are not an object of ours.
#[derive(Debug, Error)]
#[error("the stored object at {key} is damaged")]
pub struct DamagedEntry {
    key: String,
    source: serde_json::Error,
}

impl From<DamagedEntry> for ApiError {
    fn from(error: DamagedEntry) -> Self {
        Self::internal(&error)
    }
}

/// The bytes to store.
pub fn encode(object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(HEAD);
    let empty = Map::new();
    let metadata = object.get(&["metadata"]).and_then(Value::as_object).unwrap_or(&empty);
    members(&mut out, metadata.iter().filter(|(key, _)| *key != "resourceVersion"));
    out.push(b'}');
    let rest = object.as_map().iter().filter(|(key, _)| *key != "metadata");
    let (types, content): (Vec<_>, Vec<_>) =
        rest.partition(|(key, _)| matches!(key.as_str(), "apiVersion" | "kind"));
    if !(types.is_empty() && content.is_empty()) {
        out.push(b',');
        members(&mut out, content.into_iter().chain(types));
    }
    out.push(b'}');
    // It is kept, perhaps for months: without the room that it grew in.
    if !go::is_plain(&out)
        && let Ok(Cow::Owned(escaped)) = std::str::from_utf8(&out).map(go::escaped)
    {
        out = escaped.into_bytes();
    }
    Bytes::from(out.into_boxed_slice())
}

/// Writes `"key":value,…` without braces.
fn members<'a>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a String, &'a Value)>) {
    for (i, (key, value)) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_json(out, key);
        out.push(b':');
        write_json(out, value);
    }
}

/// Appends JSON text.
pub fn write_json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    let mut writer = serde_json::Serializer::with_formatter(out, AsGo);
    value.serialize(&mut writer).expect("strings and JSON trees serialise into memory");
}

/// Numbers as Go writes them: one of floating point that has no fraction looks like an integer, however it was spelled.
struct AsGo;

impl Formatter for AsGo {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        /// From here on Go writes exponents.
        const LONG: f64 = 1e21;
        if value.fract() == 0.0 && value.abs() < LONG {
            return write!(writer, "{value:.0}");
        }
        CompactFormatter.write_f64(writer, value)
    }
}

/// JSON text of a tree.
pub fn to_json(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(512);
    write_json(&mut out, value);
    Bytes::from(out)
}

/// The object of an entry, with its `resourceVersion`.
pub fn decode(entry: &Entry) -> Result<Object, DamagedEntry> {
    let damaged = |source| DamagedEntry { key: entry.key.to_string(), source };
    let map: Map<String, Value> = entry.value.read(|text| serde_json::from_slice(text)).map_err(damaged)?;
    let mut object = Object::from_value(Value::Object(map)).unwrap_or_default();
    object.set(&["metadata", "resourceVersion"], entry.modified.to_string());
    Ok(object)
}

/// The message in protobuf of an entry's object, with its `resourceVersion`: made without a tree of it.
pub fn message(entry: &Entry, root: &Root) -> Result<Vec<u8>, DamagedEntry> {
    let version = entry.modified.to_string();
    let message = entry.value.read(|text| protobuf::message_of_text(text, &version, root));
    message.map_err(|source| DamagedEntry { key: entry.key.to_string(), source })
}

/// Appends the JSON of a stored object with its `resourceVersion`.
pub fn splice(out: &mut Vec<u8>, value: &[u8], revision: Revision) {
    let Some(rest) = value.strip_prefix(HEAD) else {
        out.extend_from_slice(value);
        return;
    };
    out.extend_from_slice(HEAD);
    insert_version(out, rest, revision);
}

/// How the stored text of objects of a kind ends.
pub fn ending(kind: &Kind) -> Vec<u8> {
    let mut end = Vec::new();
    let types = [("apiVersion", kind.gv.to_string()), ("kind", kind.names.kind.to_string())];
    for (key, value) in types {
        end.extend_from_slice(b",\"");
        end.extend_from_slice(key.as_bytes());
        end.extend_from_slice(b"\":");
        write_json(&mut end, &value);
    }
    end.push(b'}');
    end
}

/// Appends the JSON of a stored object as an item of a list: without what it is, if that comes last.
pub fn splice_item(out: &mut Vec<u8>, value: &[u8], revision: Revision, ending: &[u8]) {
    match value.strip_suffix(ending) {
        Some(content) => {
            splice(out, content, revision);
            out.push(b'}');
        }
        None => splice(out, value, revision),
    }
}

/// Appends the PartialObjectMetadata of an entry, without decoding it.
pub fn splice_metadata(out: &mut Vec<u8>, entry: &Entry, api_version: &str) -> Result<(), DamagedEntry> {
    let bytes = entry.value.bytes();
    let (IgnoredAny, text) = metadata(&entry.key, &bytes)?;
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":""#);
    out.extend_from_slice(api_version.as_bytes());
    out.extend_from_slice(br#"","metadata":{"#);
    insert_version(out, &text[1..], entry.modified);
    out.push(b'}');
    Ok(())
}

/// Reads the metadata of the object stored at a key, without looking at the rest; also returns their text.
pub fn metadata<'a, T: Deserialize<'a>>(key: &Key, value: &'a [u8]) -> Result<(T, &'a [u8]), DamagedEntry> {
    let damaged = |source| DamagedEntry { key: key.to_string(), source };
    let custom = |why: &str| damaged(serde::de::Error::custom(why));
    if !value.starts_with(HEAD) {
        return Err(custom("metadata does not come first"));
    }
    let opened = &value[HEAD.len() - 1..];
    let mut values = serde_json::Deserializer::from_slice(opened).into_iter();
    let read = values.next().ok_or_else(|| custom("there is no metadata"))?;
    let length = values.byte_offset();
    Ok((read.map_err(damaged)?, &opened[..length]))
}

/// Appends `rest`, the stored text behind the opening brace of the metadata, with the version as its first member.
fn insert_version(out: &mut Vec<u8>, rest: &[u8], revision: Revision) {
    out.extend_from_slice(br#""resourceVersion":""#);
    out.extend_from_slice(revision.to_string().as_bytes());
    out.push(b'"');
    if rest.first() != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(rest);
}

/// Room that [`splice`] needs beyond the stored bytes.
pub const SPLICE_ROOM: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_look_as_go_writes_them() {
        let check = |number: f64, text: &str| assert_eq!(to_json(&number.into()), text);
        check(1.0, "1");
        check(-3.0, "-3");
        check(0.5, "0.5");
        check(1e20, "100000000000000000000");
        assert_eq!(to_json(&json!({"a": [7, 1.0, "1.0"]})), r#"{"a":[7,1,"1.0"]}"#);
        let all = json!({"a": [1.0, -2.0, 1.5, 1e3, 1e30], "b": {"c": 3.0}});
        assert_eq!(to_json(&all), r#"{"a":[1,-2,1.5,1000,1e+30],"b":{"c":3}}"#);
    }

    #[test]
    fn splices_the_version_into_stored_bytes() {
        let check = |object: Value, stored: &str, sent: &str| {
            let bytes = encode(&Object::from_value(object).unwrap());
            assert_eq!(bytes, stored);
            let mut out = Vec::new();
            splice(&mut out, &bytes, Revision::new(7));
            assert_eq!(String::from_utf8(out).unwrap(), sent);
        };
        check(
            json!({"kind": "A", "metadata": {"name": "n", "resourceVersion": "3"}}),
            r#"{"metadata":{"name":"n"},"kind":"A"}"#,
            r#"{"metadata":{"resourceVersion":"7","name":"n"},"kind":"A"}"#,
        );
        check(
            json!({"metadata": {"name": "n"}, "data": {"a": "<b> && \u{2028}ü"}}),
            r#"{"metadata":{"name":"n"},"data":{"a":"\u003cb\u003e \u0026\u0026 \u2028ü"}}"#,
            r#"{"metadata":{"resourceVersion":"7","name":"n"},"data":{"a":"\u003cb\u003e \u0026\u0026 \u2028ü"}}"#,
        );
        check(json!({}), r#"{"metadata":{}}"#, r#"{"metadata":{"resourceVersion":"7"}}"#);
    }

    #[test]
    fn items_do_not_say_what_they_are() {
        let catalogue = skiff_kinds::builtin();
        let ending = ending(catalogue.find("", "v1", "configmaps").unwrap());
        let check = |object: Value, sent: &str| {
            let bytes = encode(&Object::from_value(object).unwrap());
            let mut out = Vec::new();
            splice_item(&mut out, &bytes, Revision::new(7), &ending);
            assert_eq!(String::from_utf8(out).unwrap(), sent);
        };
        let map =
            json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "n"}, "data": {"a": "b"}});
        check(map, r#"{"metadata":{"resourceVersion":"7","name":"n"},"data":{"a":"b"}}"#);
        let empty = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}});
        check(empty, r#"{"metadata":{"resourceVersion":"7"}}"#);
        check(json!({"kind": "A", "metadata": {}}), r#"{"metadata":{"resourceVersion":"7"},"kind":"A"}"#);
    }

    #[test]
    fn shows_the_metadata_alone() {
        let check = |stored: &'static [u8], sent: Option<&str>| {
            let (revision, key) = (Revision::new(7), Key::from("/k"));
            let entry = Entry {
                key,
                value: Bytes::from_static(stored).into(),
                created: revision,
                modified: revision,
            };
            let mut out = Vec::new();
            let shown = splice_metadata(&mut out, &entry, "meta.k8s.io/v1");
            assert_eq!(shown.ok().map(|()| String::from_utf8(out).unwrap()).as_deref(), sent);
        };
        check(
            br#"{"metadata":{"labels":{"a":"}"},"name":"n"},"spec":{}}"#,
            Some(concat!(
                r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#,
                r#""metadata":{"resourceVersion":"7","labels":{"a":"}"},"name":"n"}}"#
            )),
        );
        check(
            br#"{"metadata":{}}"#,
            Some(concat!(
                r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#,
                r#""metadata":{"resourceVersion":"7"}}"#
            )),
        );
        check(br#"{"metadata":{"name":"#, None);
        check(br#"{"kind":"A","metadata":{}}"#, None);
    }

    #[test]
    fn decodes_with_the_version() {
        let entry = Entry {
            key: Key::from("/k"),
            value: Bytes::from_static(br#"{"metadata":{"name":"n"}}"#).into(),
            created: Revision::new(1),
            modified: Revision::new(9),
        };
        assert_eq!(decode(&entry).unwrap().resource_version(), "9");
    }
}
