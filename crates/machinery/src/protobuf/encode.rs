//! From a tree of JSON to bytes.
//!
//! The bytes are those of Go's encoder, which writes every field that is no pointer, list or map, its zero too.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use skiff_schema::{Definition, DefinitionId, Field, Level, Raw, Root, Schema, Slot, Type, Zero};

use super::tree::{BorrowedMembers, Members, Tree, View};
use super::write::{bytes, double, nested, sized, tag, varint, whole};
use super::{JSON_SCHEMA, MAGIC};
use crate::{Object, go};

/// Metadata is field 1 of every object and of every list; the items of a list are its field 2.
const METADATA: u16 = 1;
const ITEMS: u16 = 2;

/// A whole object as a body.
pub fn object(object: &Object, root: &Root) -> Vec<u8> {
    envelope(object.api_version(), object.kind(), &message(object, root))
}

/// A whole object without its `apiVersion` and `kind`: what lists hold.
pub fn message(object: &Object, root: &Root) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    Encoder { schema: root.schema() }.object(&mut out, root.id(), object.as_map());
    out
}

/// The same of an object as text, with this `resourceVersion`; no tree is made that outlives it.
///
/// # Errors
/// When the text is not an object of JSON.
pub fn message_of_text(text: &[u8], version: &str, root: &Root) -> Result<Vec<u8>, serde_json::Error> {
    let mut members = BorrowedMembers::of(text)?;
    members.set("metadata", "resourceVersion", version);
    let mut out = Vec::with_capacity(text.len() + 64);
    Encoder { schema: root.schema() }.object(&mut out, root.id(), &members);
    Ok(out)
}

/// The metadata of an object, `ObjectMeta` or `ListMeta`; `root` is that definition's.
pub fn metadata_message(metadata: &Map<String, Value>, root: &Root) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    Encoder { schema: root.schema() }.object(&mut out, root.id(), metadata);
    out
}

/// An object that has nothing but metadata, without its `apiVersion` and `kind`.
pub fn wrapped_metadata(metadata: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(metadata.len() + 8);
    bytes(&mut out, METADATA, metadata);
    out
}

/// What a list as a body begins with: the message of its metadata, and how long it is with items that take so many bytes, the sum
/// of their [`list_item_size`]. They follow, and then [`list_end`].
pub fn list_start(api_version: &str, kind: &str, metadata: &[u8], items: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(metadata.len() + 128);
    open(&mut out, api_version, kind, sized(metadata.len()) + items);
    bytes(&mut out, METADATA, metadata);
    out
}

/// Appends an item of a list.
pub fn list_item(out: &mut Vec<u8>, message: &[u8]) {
    bytes(out, ITEMS, message);
}

/// The bytes that [`list_item`] appends for a message of so many bytes.
pub fn list_item_size(message: usize) -> usize {
    sized(message)
}

/// Appends what stands behind a list's last item.
pub fn list_end(out: &mut Vec<u8>) {
    close(out);
}

/// A message as a body: with a prefix, `apiVersion` and `kind` before it.
pub fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 128);
    open(&mut out, api_version, kind, message.len());
    out.extend_from_slice(message);
    close(&mut out);
    out
}

/// An event of a watch (e.g. `ADDED`) with a body as its object, after its length as four bytes, the highest first.
pub fn event(out: &mut Vec<u8>, kind: &str, body: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    bytes(out, 1, kind.as_bytes());
    nested(out, 2, |out| bytes(out, 1, body));
    let length = u32::try_from(out.len() - start - 4).expect("an object is far smaller than 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The prefix and the envelope's fields up to a message of `length` bytes, which the caller writes.
fn open(out: &mut Vec<u8>, api_version: &str, kind: &str, length: usize) {
    out.extend_from_slice(MAGIC);
    nested(out, 1, |out| {
        bytes(out, 1, api_version.as_bytes());
        bytes(out, 2, kind.as_bytes());
    });
    tag(out, 2, 2);
    varint(out, length as u64);
}

/// The envelope's fields behind the message: encoding and type of the content, which are the usual ones.
fn close(out: &mut Vec<u8>) {
    bytes(out, 3, b"");
    bytes(out, 4, b"");
}

/// Walks tree and schema side by side.
#[derive(Clone, Copy)]
struct Encoder<'s> {
    schema: &'s Schema,
}

impl Encoder<'_> {
    fn object(self, out: &mut Vec<u8>, id: DefinitionId, map: &impl Members) {
        self.level(out, self.schema.get(id), Level::default(), map);
    }

    fn level(self, out: &mut Vec<u8>, definition: &Definition, level: Level, map: &impl Members) {
        for (number, slot) in definition.slots(level) {
            match slot {
                Slot::Inline(inner) => nested(out, number, |out| self.level(out, definition, inner, map)),
                Slot::Field(at) => {
                    let field = &definition.fields()[at];
                    match map.find(&field.name).filter(|value| !matches!(value.view(), View::Null)) {
                        Some(value) => self.field(out, number, field, value),
                        None if matches!(field.zero, Zero::Value | Zero::ValueOrNull) => {}
                        None => self.zero(out, number, field),
                    }
                }
            }
        }
    }

    fn field(self, out: &mut Vec<u8>, number: u16, field: &Field, value: &impl Tree) {
        match (field.ty, value.view()) {
            (Type::List(inner), View::List(items)) if !field.wrapped => {
                let inner = self.schema.inner(inner);
                items.iter().for_each(|item| self.value(out, number, inner, item));
            }
            (Type::Map(inner), View::Object(map)) => {
                let inner = self.schema.inner(inner);
                for (key, value) in map.each() {
                    nested(out, number, |out| {
                        bytes(out, 1, key.as_bytes());
                        self.value(out, 2, inner, value);
                    });
                }
            }
            (ty, _) => self.value(out, number, ty, value),
        }
    }

    /// A field of which the tree says nothing, and that is no pointer of Go's.
    fn zero(self, out: &mut Vec<u8>, number: u16, field: &Field) {
        match field.ty {
            Type::Map(_) | Type::Bytes | Type::List(_) => {}
            Type::Time | Type::MicroTime | Type::Raw(_) => bytes(out, number, b""),
            Type::Object(id) => nested(out, number, |out| self.object(out, id, &Map::new())),
            ty => self.value(out, number, ty, &self.schema.empty(ty).unwrap_or_default()),
        }
    }

    /// A single value; a list here is a message with the items as its field 1.
    fn value(self, out: &mut Vec<u8>, number: u16, ty: Type, value: &impl Tree) {
        match (ty, value.view()) {
            (Type::Raw(Raw::Extension), _) => {
                nested(out, number, |out| bytes(out, 1, go::escaped(&json(value)).as_bytes()));
            }
            (Type::Raw(Raw::Json | Raw::FieldsV1), _) => {
                nested(out, number, |out| bytes(out, 1, json(value).as_bytes()));
            }
            (Type::Raw(other), _) => self.schema_or(out, number, other, value),
            (Type::Object(id), View::Object(map)) => nested(out, number, |out| self.object(out, id, map)),
            (Type::List(inner), View::List(items)) => nested(out, number, |out| {
                let inner = self.schema.inner(inner);
                items.iter().for_each(|item| self.value(out, 1, inner, item));
            }),
            (Type::Bytes, View::Text(text)) => {
                bytes(out, number, &BASE64_STANDARD.decode(text).unwrap_or_default());
            }
            (Type::Time | Type::MicroTime, View::Text(text)) => time(out, number, text),
            (Type::Quantity, View::Text(text)) => nested(out, number, |out| bytes(out, 1, text.as_bytes())),
            (Type::IntOrString, value) => int_or_string(out, number, &value),
            (Type::String, View::Text(text)) => bytes(out, number, text.as_bytes()),
            (Type::Bool, View::Bool(value)) => whole(out, number, value.into()),
            (Type::Int32 | Type::Int64, View::Number(value)) => {
                whole(out, number, value.as_i64().unwrap_or_default());
            }
            (Type::Float, View::Number(value)) => {
                double(out, number, value.as_f64().unwrap_or_default());
            }
            // What has been accepted has the types of its schema, or null.
            _ => {}
        }
    }

    fn schema_or(self, out: &mut Vec<u8>, number: u16, other: Raw, value: &impl Tree) {
        let Some(schema) = self.schema.find(JSON_SCHEMA).map(Type::Object) else { return };
        nested(out, number, |out| match (other, value.view()) {
            (Raw::SchemaOrBool, View::Bool(allows)) => whole(out, 1, allows.into()),
            (Raw::SchemaOrBool, _) => {
                whole(out, 1, 1);
                self.value(out, 2, schema, value);
            }
            (Raw::SchemaOrSchemas, View::List(items)) => {
                items.iter().for_each(|item| self.value(out, 2, schema, item));
            }
            (Raw::SchemaOrStrings, View::List(items)) => {
                items.iter().for_each(|item| self.value(out, 2, Type::String, item));
            }
            _ => self.value(out, 1, schema, value),
        });
    }
}

fn json(value: &impl Tree) -> String {
    serde_json::to_string(value).expect("trees of JSON serialise into memory")
}

/// `{seconds, nanos}` since 1970.
fn time(out: &mut Vec<u8>, number: u16, text: &str) {
    let Ok(time) = text.parse::<Timestamp>() else { return };
    nested(out, number, |out| {
        whole(out, 1, time.as_second());
        whole(out, 2, time.subsec_nanosecond().into());
    });
}

/// `{type, intVal, strVal}`; type 1 is text.
fn int_or_string(out: &mut Vec<u8>, number: u16, value: &View<'_, impl Tree>) {
    let (kind, number_value, text) = match value {
        View::Text(text) => (1, 0, *text),
        View::Number(value) => (0, value.as_i64().unwrap_or_default(), ""),
        _ => (0, 0, ""),
    };
    nested(out, number, |out| {
        whole(out, 1, kind);
        whole(out, 2, number_value);
        bytes(out, 3, text.as_bytes());
    });
}
