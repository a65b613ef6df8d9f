//! Bodies in Kubernetes' protobuf encoding: from bytes to a JSON tree.
//!
//! Go clients with built-in types (kubectl from 1.32 for `create namespace`, `auth can-i`, `drain`, …) send
//! nothing else. Answers are JSON, which the same clients accept, so that there is no encoder.
//!
//! What the types of the fields are is known from the [schema](crate::schema); `protobuf/fields.txt` adds
//! the number of each field. A line is a definition and its `field=number`s. A number such as `2.7` means
//! field 7 of the message in field 2, which JSON shows without the level between. A question mark marks
//! fields that Go always sends and whose zero means that they are not set. Fields of other numbers are
//! skipped.

mod table;
mod wire;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::Object;
use crate::schema::{DefinitionId, Schema, Type};
use table::{Message, Slot, Zero};
use wire::{Reader, Wire};

/// The media type of the encoding.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";

/// Definitions nest this deep at most.
const MAX_DEPTH: usize = 64;

/// A body that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProtobufError {
    /// The body does not start as Kubernetes' encoding does.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// The bytes end within a field, or are none of the encoding's forms.
    #[error("proto: illegal wireType or unexpected EOF at byte {0} of a message")]
    Malformed(usize),
    /// A field has another form than its type.
    #[error("proto: wrong wireType for field {0}")]
    Form(String),
    /// Text is not UTF-8.
    #[error("proto: field {0} contains invalid UTF-8")]
    Text(String),
    /// The definition has no table of field numbers.
    #[error("no protobuf form of {0} is known")]
    Unknown(String),
}

/// Reads a body (envelope and object) as an object of the definition, e.g. `io.k8s.api.core.v1.Namespace`.
/// `apiVersion` and `kind` are those of the envelope, if it has them.
pub fn decode(body: &[u8], definition: &str) -> Result<Object, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader::new(envelope);
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1, Wire::Bytes(meta)) => {
                let mut reader = Reader::new(meta);
                while let Some((number, value)) = reader.next()? {
                    match (number, value) {
                        (1, value) => api_version = value.text("apiVersion")?,
                        (2, value) => kind = value.text("kind")?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let schema = Schema::global();
    let Type::Object(id) = schema.root(definition) else {
        return Err(ProtobufError::Unknown(definition.to_owned()));
    };
    let tree = Decoder { schema, depth: 0 }.object(id, raw)?;
    let mut object = Object::from_value(Value::Object(tree)).unwrap_or_default();
    for (field, text) in [("apiVersion", api_version), ("kind", kind)] {
        if !text.is_empty() {
            object.set(&[field], text);
        }
    }
    Ok(object)
}

/// Walks bytes and schema side by side.
#[derive(Clone, Copy)]
struct Decoder {
    schema: &'static Schema,
    depth: usize,
}

impl Decoder {
    fn object(self, id: DefinitionId, bytes: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
        let definition = self.schema.get(id);
        let unknown = || ProtobufError::Unknown(definition.name().to_owned());
        let message = table::message(definition.name()).ok_or_else(unknown)?;
        let deeper = Self { depth: self.depth + 1, ..self };
        if deeper.depth > MAX_DEPTH {
            return Err(ProtobufError::Malformed(0));
        }
        let mut out = Map::new();
        deeper.fields(id, message, bytes, &mut out)?;
        Ok(out)
    }

    fn fields(
        self,
        id: DefinitionId,
        message: &Message,
        bytes: &[u8],
        out: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next()? {
            match message.slot(number) {
                None => {}
                Some(Slot::Inline(inner)) => {
                    let bytes = value.bytes("")?;
                    self.fields(id, inner, bytes, out)?;
                }
                Some(Slot::Field { name, zero }) => {
                    if let Some(field) = self.schema.get(id).field(name) {
                        self.field(field.ty, name, *zero, value, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// One occurrence of a field; lists and maps have one for each item.
    fn field(
        self,
        ty: Type,
        name: &str,
        zero: Zero,
        value: Wire<'_>,
        out: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        match ty {
            Type::List(inner) => {
                let list = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(items) = list else { return Ok(()) };
                self.items(self.schema.inner(inner), name, value, items)
            }
            Type::Map(inner) => {
                let map = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(entries) = map else { return Ok(()) };
                let (key, value) = self.entry(self.schema.inner(inner), name, value)?;
                entries.insert(key, value);
                Ok(())
            }
            ty => {
                let Some(value) = self.value(ty, name, value)? else { return Ok(()) };
                let unset = match zero {
                    Zero::Unset => value == 0 || value == false,
                    Zero::Value => value == "",
                };
                if !unset {
                    out.insert(name.to_owned(), value);
                }
                Ok(())
            }
        }
    }

    fn items(
        self,
        ty: Type,
        name: &str,
        value: Wire<'_>,
        items: &mut Vec<Value>,
    ) -> Result<(), ProtobufError> {
        let is_number = matches!(ty, Type::Int32 | Type::Int64 | Type::Bool);
        if let (true, Wire::Bytes(packed)) = (is_number, value) {
            let mut reader = Reader::new(packed);
            while let Some(number) = reader.packed()? {
                items.extend(self.value(ty, name, Wire::Varint(number))?);
            }
            return Ok(());
        }
        items.extend(self.value(ty, name, value)?);
        Ok(())
    }

    /// A map's entry: a message of key and value.
    fn entry(self, ty: Type, name: &str, value: Wire<'_>) -> Result<(String, Value), ProtobufError> {
        let mut reader = Reader::new(value.bytes(name)?);
        let (mut key, mut found) = (String::new(), None);
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => key = value.text(name)?,
                2 => found = self.entry_value(ty, name, value)?,
                _ => {}
            }
        }
        let missing = || match ty {
            Type::List(_) => Value::Array(Vec::new()),
            Type::Object(_) => Value::Object(Map::new()),
            _ => Value::String(String::new()),
        };
        Ok((key, found.unwrap_or_else(missing)))
    }

    /// A list as the value of a map is a message with the items as its field 1.
    fn entry_value(self, ty: Type, name: &str, value: Wire<'_>) -> Result<Option<Value>, ProtobufError> {
        let Type::List(inner) = ty else { return self.value(ty, name, value) };
        let (mut reader, mut items) = (Reader::new(value.bytes(name)?), Vec::new());
        while let Some((number, value)) = reader.next()? {
            if number == 1 {
                self.items(self.schema.inner(inner), name, value, &mut items)?;
            }
        }
        Ok(Some(Value::Array(items)))
    }

    /// A single value; `None` for a time or raw JSON that is not set.
    fn value(self, ty: Type, name: &str, value: Wire<'_>) -> Result<Option<Value>, ProtobufError> {
        Ok(match ty {
            Type::String => Some(value.text(name)?.into()),
            Type::Bytes => Some(BASE64_STANDARD.encode(value.bytes(name)?).into()),
            Type::Bool => Some((value.number(name)? != 0).into()),
            Type::Int32 | Type::Int64 => Some(value.number(name)?.into()),
            Type::Float => Some(value.float(name)?.into()),
            Type::Object(id) => Some(Value::Object(self.object(id, value.bytes(name)?)?)),
            Type::Quantity => Some(part_text(value.bytes(name)?, 1, name)?.into()),
            Type::IntOrString => Some(int_or_string(value.bytes(name)?, name)?),
            Type::Time => time(value.bytes(name)?, name)?.map(|time| format!("{time:.0}").into()),
            Type::MicroTime => time(value.bytes(name)?, name)?.map(|time| micro(time).into()),
            Type::Any => raw_json(value.bytes(name)?)?,
            Type::Map(_) | Type::List(_) => None,
        })
    }
}

/// The text in one field of a small message; empty when it is not there.
fn part_text(bytes: &[u8], wanted: u32, name: &str) -> Result<String, ProtobufError> {
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next()? {
        if number == wanted {
            return value.text(name);
        }
    }
    Ok(String::new())
}

/// `{type, intVal, strVal}`; type 1 is text.
fn int_or_string(bytes: &[u8], name: &str) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => is_text = value.number(name)? == 1,
            2 => number = value.number(name)?,
            3 => text = value.text(name)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// `{seconds, nanos}` since 1970; Go's zero time and an empty message are no time.
fn time(bytes: &[u8], name: &str) -> Result<Option<Timestamp>, ProtobufError> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut reader = Reader::new(bytes);
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => seconds = Some(value.number(name)?),
            2 => nanos = value.number(name)?,
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).unwrap_or(0);
    Ok(seconds.filter(|s| *s > GO_ZERO).and_then(|seconds| Timestamp::new(seconds, nanos).ok()))
}

/// The first second of the year 1, as Go's zero time is sent.
const GO_ZERO: i64 = -62_135_596_800;

fn micro(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&time)
}

/// Raw JSON in field 1 (`fieldsV1`, extensions).
fn raw_json(bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next()? {
        if let (1, Wire::Bytes(json)) = (number, value) {
            return Ok(serde_json::from_slice(json).ok());
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
