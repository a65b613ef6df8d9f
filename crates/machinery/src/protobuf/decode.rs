//! From bytes to a JSON tree.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value};
use skiff_schema::{Definition, DefinitionId, Field, Level, Raw, Root, Schema, Slot, Type, Zero};

use super::wire::{Reader, Wire};
use super::{GO_ZERO, JSON_SCHEMA, MAGIC, ProtobufError};
use crate::Object;
use crate::strict::scalar;

/// Definitions nest this deep at most.
const MAX_DEPTH: usize = 64;

/// Reads a body (envelope and object) as an object of a definition. `apiVersion` and `kind` are those of the envelope,
/// if it has them.
pub fn decode(body: &[u8], root: &Root) -> Result<Object, ProtobufError> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    if body.is_empty() {
        return Err(ProtobufError::Empty);
    }
    let Envelope { api_version, kind, raw } = envelope(body)?;
    let tree = Decoder { schema: root.schema(), depth: 0 }.object(root.id(), raw)?;
    let mut object = Object::from_value(Value::Object(tree)).unwrap_or_default();
    for (field, text) in [("apiVersion", api_version), ("kind", kind)] {
        if !text.is_empty() {
            object.set(&[field], text);
        }
    }
    Ok(object)
}

/// The `apiVersion` and `kind` that the envelope of a body says its object is of.
///
/// # Errors
/// When it is no envelope.
pub fn type_of(body: &[u8]) -> Result<(String, String), ProtobufError> {
    let envelope = envelope(body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?)?;
    Ok((envelope.api_version, envelope.kind))
}

/// What is around an object.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

/// Reads `runtime.Unknown`. What it says of the object's encoding and type changes nothing, as with Kubernetes' API server:
/// the object is in protobuf.
fn envelope(body: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    let (mut envelope, mut reader) = (Envelope::default(), Reader::new("Unknown", body));
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => {
                let mut reader = Reader::new("TypeMeta", value.bytes("TypeMeta")?);
                while let Some((number, value)) = reader.next()? {
                    match number {
                        1 => envelope.api_version = value.text("APIVersion")?,
                        2 => envelope.kind = value.text("Kind")?,
                        _ => {}
                    }
                }
            }
            2 => envelope.raw = value.bytes("Raw")?,
            3 | 4 => {
                let _text = value.bytes(if number == 3 { "ContentEncoding" } else { "ContentType" })?;
            }
            _ => {}
        }
    }
    Ok(envelope)
}

/// Walks bytes and schema side by side.
#[derive(Clone, Copy)]
struct Decoder<'s> {
    schema: &'s Schema,
    depth: usize,
}

impl Decoder<'_> {
    fn object(self, id: DefinitionId, bytes: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
        let definition = self.schema.get(id);
        if !definition.has_protobuf() {
            return Err(ProtobufError::Unknown(definition.name().to_owned()));
        }
        let deeper = Self { depth: self.depth + 1, ..self };
        if deeper.depth > MAX_DEPTH {
            return Err(ProtobufError::Depth(MAX_DEPTH));
        }
        let mut out = Map::new();
        deeper.fields(definition, Level::default(), bytes, &mut out)?;
        Ok(out)
    }

    fn fields(
        self,
        definition: &Definition,
        level: Level,
        bytes: &[u8],
        out: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(last_part(definition.name()), bytes);
        while let Some((number, value)) = reader.next()? {
            match definition.slot(level, number) {
                None => {}
                Some(Slot::Inline(inner)) => self.fields(definition, inner, value.bytes("")?, out)?,
                Some(Slot::Field(at)) => self.field(&definition.fields()[at], value, out)?,
            }
        }
        Ok(())
    }

    /// One occurrence of a field; lists and maps have one for each item.
    fn field(
        self,
        field: &Field,
        value: Wire<'_>,
        out: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let name = &*field.name;
        match field.ty {
            Type::List(_) if field.wrapped => {
                let list = self.wrapped(field.ty, name, value)?.unwrap_or_default();
                out.insert(name.to_owned(), list);
                Ok(())
            }
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
                if field.zero != Zero::Omitted || ty.plain_zero().is_none_or(|zero| value != zero) {
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
            let mut reader = Reader::nameless(packed);
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
        let mut reader = Reader::nameless(value.bytes(name)?);
        let (mut key, mut found) = (String::new(), None);
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => key = value.text(name)?,
                2 => found = self.wrapped(ty, name, value)?,
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

    /// A value outside of lists: there a list is a message with the items as its field 1.
    fn wrapped(self, ty: Type, name: &str, value: Wire<'_>) -> Result<Option<Value>, ProtobufError> {
        let Type::List(inner) = ty else { return self.value(ty, name, value) };
        let (mut reader, mut items) = (Reader::new(name, value.bytes(name)?), Vec::new());
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
            Type::Float => Some(scalar::float(value.float(name)?)),
            Type::Object(id) => Some(Value::Object(self.object(id, value.bytes(name)?)?)),
            Type::Quantity => Some(quantity(value.bytes(name)?, name)?.into()),
            Type::IntOrString => Some(int_or_string(value.bytes(name)?, name)?),
            Type::Time => time(value.bytes(name)?, name)?.map(|time| format!("{time:.0}").into()),
            Type::MicroTime => time(value.bytes(name)?, name)?.map(|time| micro(time).into()),
            Type::Raw(Raw::Json) => raw_json("JSON", value.bytes(name)?)?,
            Type::Raw(Raw::Extension) => raw_json("RawExtension", value.bytes(name)?)?,
            Type::Raw(Raw::FieldsV1) => raw_json("FieldsV1", value.bytes(name)?)?,
            Type::Raw(other) => self.schema_or(other, name, value.bytes(name)?)?,
            Type::Map(_) | Type::List(_) => None,
        })
    }

    /// A message with a JSON schema in one field and what may stand for it in another.
    fn schema_or(self, other: Raw, name: &str, bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
        let Some(schema) = self.schema.find(JSON_SCHEMA).map(Type::Object) else { return Ok(None) };
        let (mut found, mut items) = (None, Vec::new());
        let message = match other {
            Raw::SchemaOrBool => "JSONSchemaPropsOrBool",
            Raw::SchemaOrStrings => "JSONSchemaPropsOrStringArray",
            _ => "JSONSchemaPropsOrArray",
        };
        let mut reader = Reader::new(message, bytes);
        while let Some((number, value)) = reader.next()? {
            match (other, number) {
                (Raw::SchemaOrBool, 1) => {
                    found.get_or_insert(self.value(Type::Bool, name, value)?.unwrap_or_default());
                }
                (Raw::SchemaOrBool, 2) | (_, 1) => found = self.value(schema, name, value)?,
                (Raw::SchemaOrSchemas, 2) => self.items(schema, name, value, &mut items)?,
                (Raw::SchemaOrStrings, 2) => self.items(Type::String, name, value, &mut items)?,
                _ => {}
            }
        }
        Ok(found.or_else(|| (!items.is_empty()).then_some(Value::Array(items))))
    }
}

/// `io.k8s.api.core.v1.Pod` is `Pod`.
fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The text of a quantity; empty when it is not there.
fn quantity(bytes: &[u8], name: &str) -> Result<String, ProtobufError> {
    let (mut reader, mut text) = (Reader::new("Quantity", bytes), String::new());
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            text = value.text(name)?;
        }
    }
    Ok(text)
}

/// `{type, intVal, strVal}`; type 1 is text.
fn int_or_string(bytes: &[u8], name: &str) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    let mut reader = Reader::new("IntOrString", bytes);
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
    let mut reader = Reader::new("Timestamp", bytes);
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

fn micro(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&time)
}

/// Raw JSON in field 1 (`fieldsV1`, extensions).
fn raw_json(message: &str, bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
    let (mut reader, mut found) = (Reader::new(message, bytes), None);
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            found = serde_json::from_slice(value.bytes("Raw")?).ok();
        }
    }
    Ok(found)
}
