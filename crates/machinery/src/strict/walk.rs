//! The walk over a value and its type, side by side.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::reader::{Reader, Step};
use super::{scalar, time};
use crate::go;
use skiff_schema::{Definition, DefinitionId, Type, TypeId, Zero};

/// Reads one value of a type; `None` for null.
pub(super) struct Seed<'r, 's> {
    pub(super) reader: &'r mut Reader<'s>,
    pub(super) ty: Type,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.ty {
            Type::Raw(_) => {
                Value::deserialize(deserializer).map(|value| Some(value).filter(|v| !v.is_null()))
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        match self.ty {
            Type::Bool => Ok(Some(Value::Bool(value))),
            Type::Quantity => self.text(&value.to_string()),
            ty => self.reader.wrong_type("bool", ty).map(|()| None),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) if self.ty == Type::Float => Ok(Some(Value::from(value))),
            Err(_) => self.number(&value.to_string()),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        let fits = i32::try_from(value).is_ok();
        match self.ty {
            Type::Int64 | Type::Float => Ok(Some(value.into())),
            Type::Int32 | Type::IntOrString if fits => Ok(Some(value.into())),
            _ => self.number(&value.to_string()),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        match self.ty {
            Type::Float => Ok(Some(scalar::float(value))),
            _ => self.number(&scalar::float_text(value)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        self.text(value)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Self::Value, E> {
        match self.ty {
            Type::String | Type::IntOrString => Ok(Some(Value::String(value))),
            _ => self.text(&value),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        match self.ty {
            Type::List(inner) => self.reader.list(inner, items).map(Some),
            Type::Bytes => self.reader.bytes(items).map(Some),
            ty => {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                self.unreadable("array", ty)
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        match self.ty {
            Type::Map(inner) => self.reader.map(inner, entries).map(Some),
            Type::Object(id) => self.reader.object(id, entries).map(Some),
            ty => {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.unreadable("object", ty)
            }
        }
    }
}

impl Seed<'_, '_> {
    fn text<E: Error>(self, text: &str) -> Result<Option<Value>, E> {
        let read = match self.ty {
            Type::String | Type::IntOrString => Ok(text.to_owned()),
            Type::Quantity => scalar::quantity(text),
            Type::Time => time::time(text),
            Type::MicroTime => time::micro_time(text),
            Type::Bytes => scalar::bytes(text),
            ty => return self.reader.wrong_type("string", ty).map(|()| None),
        };
        match read {
            Ok(text) => Ok(Some(Value::String(text))),
            // The decoder reads base64 itself.
            Err(message) if self.ty == Type::Bytes => {
                self.reader.mismatch(message);
                Ok(None)
            }
            Err(message) => Err(self.reader.refuse(message)),
        }
    }

    /// A number, as it was written, that is not simply taken.
    fn number<E: Error>(self, text: &str) -> Result<Option<Value>, E> {
        match self.ty {
            Type::Quantity => self.text(text),
            ty @ (Type::Int32 | Type::Int64 | Type::IntOrString) => {
                self.reader.wrong_type(&format!("number {text}"), ty).map(|()| None)
            }
            ty => self.reader.wrong_type("number", ty).map(|()| None),
        }
    }

    /// A list or an object where neither can be.
    fn unreadable<E: Error>(self, found: &str, ty: Type) -> Result<Option<Value>, E> {
        // An amount reads the text of whatever there is.
        if ty == Type::Quantity { self.text("{") } else { self.reader.wrong_type(found, ty).map(|()| None) }
    }
}

impl<'s> Reader<'s> {
    /// Bytes that are listed as numbers, which Go takes as well as base64.
    fn bytes<'de, A: SeqAccess<'de>>(&mut self, mut items: A) -> Result<Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(item) = items.next_element::<Value>()? {
            let byte =
                if item.is_null() { Some(0) } else { item.as_u64().and_then(|byte| u8::try_from(byte).ok()) };
            if byte.is_none() {
                let found = match &item {
                    Value::Number(number) => format!("number {number}"),
                    item => go::json_type(item).to_owned(),
                };
                self.not_of(&found, "uint8");
            }
            bytes.push(byte.unwrap_or_default());
        }
        Ok(Value::String(scalar::base64(&bytes)))
    }

    fn list<'de, A: SeqAccess<'de>>(&mut self, inner: TypeId, mut items: A) -> Result<Value, A::Error> {
        let ty = self.schema.inner(inner);
        let mut list = Vec::new();
        loop {
            self.path.push(Step::Index(list.len()));
            let item = items.next_element_seed(Seed { reader: self, ty })?;
            self.path.pop();
            match item {
                Some(item) => list.push(item.unwrap_or_else(|| zero(ty))),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn map<'de, A: MapAccess<'de>>(&mut self, inner: TypeId, mut entries: A) -> Result<Value, A::Error> {
        let ty = self.schema.inner(inner);
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                self.report("duplicate", &key);
            }
            self.path.push(Step::Key(key.clone()));
            let value = entries.next_value_seed(Seed { reader: self, ty })?;
            self.path.pop();
            map.insert(key, value.unwrap_or_else(|| zero(ty)));
        }
        Ok(Value::Object(map))
    }

    fn object<'de, A: MapAccess<'de>>(
        &mut self,
        id: DefinitionId,
        mut entries: A,
    ) -> Result<Value, A::Error> {
        let definition = self.schema.get(id);
        let outer = self.owner.replace(definition);
        let mut map = Map::new();
        // One bit for each field that has been read; the schema has no definition with more than 128.
        let mut seen = 0_u128;
        while let Some(key) = entries.next_key_seed(KeySeed(definition))? {
            let index = match key {
                FieldKey::Known(index) => index,
                FieldKey::Unknown(name) => {
                    self.report("unknown", &name);
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let field = &definition.fields()[index];
            if seen & (1 << index) != 0 {
                self.report("duplicate", &field.name);
                map.remove(&*field.name);
            }
            seen |= 1 << index;
            self.path.push(Step::Field(&field.name));
            let value = entries.next_value_seed(Seed { reader: self, ty: field.ty })?;
            self.path.pop();
            match value {
                Some(value) if field.zero == Zero::Written || !is_empty_collection(field.ty, &value) => {
                    map.insert(field.name.to_string(), value);
                }
                _ => {}
            }
        }
        self.owner = outer;
        Ok(Value::Object(map))
    }
}

/// What an explicit null stands for in a list or a map.
fn zero(ty: Type) -> Value {
    match ty {
        Type::String | Type::Bytes => Value::String(String::new()),
        Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Bool => false.into(),
        Type::Object(_) => Value::Object(Map::new()),
        Type::List(_) | Type::Map(_) | Type::Time | Type::MicroTime | Type::Raw(_) => Value::Null,
    }
}

fn is_empty_collection(ty: Type, value: &Value) -> bool {
    match (ty, value) {
        (Type::List(_), Value::Array(list)) => list.is_empty(),
        (Type::Map(_), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

enum FieldKey {
    /// The place in the definition's fields.
    Known(usize),
    Unknown(String),
}

/// Reads a key without copying it when it is a known field.
struct KeySeed<'s>(&'s Definition);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = FieldKey;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldKey, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = FieldKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<FieldKey, E> {
        Ok(self.0.index(name).map_or_else(|| FieldKey::Unknown(name.to_owned()), FieldKey::Known))
    }
}
