//! Bringing metadata into the form of ObjectMeta.

use serde_json::Value;
use skiff_machinery::FieldError;

use super::ObjectMeta;
use crate::model::Structural;
use crate::path::Path;

/// What becomes of fields of a known name and the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The object is refused.
    Refuse,
    /// They are dropped: the object was stored, and is to be readable.
    Drop,
}

/// The paths of the fields that were dropped because ObjectMeta does not know them, sorted.
pub type Coerced = Vec<String>;

impl ObjectMeta {
    /// Brings `metadata` of embedded resources (and of the value itself, where `is_root`) into the form of ObjectMeta:
    /// unknown fields are dropped; `apiVersion` and `kind` must be texts.
    pub fn coerce(
        &self,
        value: &mut Value,
        schema: &Structural,
        is_root: bool,
        malformed: Malformed,
    ) -> Result<Coerced, FieldError> {
        self.coerce_at(&Path::Root(""), value, schema, is_root, malformed)
    }

    pub(crate) fn coerce_at(
        &self,
        path: &Path<'_>,
        value: &mut Value,
        schema: &Structural,
        is_root: bool,
        malformed: Malformed,
    ) -> Result<Coerced, FieldError> {
        let mut coercer = Coercer { meta: self, malformed, unknown: Vec::new() };
        coercer.visit(path, value, schema, is_root || schema.embedded_resource)?;
        coercer.unknown.sort();
        Ok(coercer.unknown)
    }
}

struct Coercer<'m> {
    meta: &'m ObjectMeta,
    malformed: Malformed,
    unknown: Vec<String>,
}

impl Coercer<'_> {
    fn visit(
        &mut self,
        path: &Path<'_>,
        value: &mut Value,
        schema: &Structural,
        embedded: bool,
    ) -> Result<(), FieldError> {
        match value {
            Value::Object(fields) => {
                if embedded {
                    self.type_meta(path, fields)?;
                    if let Some(metadata) = fields.get_mut("metadata") {
                        self.object_meta(path, metadata)?;
                    }
                }
                for (name, value) in fields {
                    if let Some(schema) = schema.properties.get(name) {
                        self.visit(&path.child(name), value, schema, schema.embedded_resource)?;
                    } else if let Some(schema) = schema.additional.schema() {
                        self.visit(&path.key(name), value, schema, schema.embedded_resource)?;
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = schema.items.as_deref() else { return Ok(()) };
                for (index, item) in items.iter_mut().enumerate() {
                    self.visit(&path.index(index), item, schema, schema.embedded_resource)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn type_meta(
        &self,
        path: &Path<'_>,
        fields: &mut serde_json::Map<String, Value>,
    ) -> Result<(), FieldError> {
        for name in ["apiVersion", "kind"] {
            let Some(value) = fields.get(name).filter(|value| !value.is_string()) else { continue };
            match self.malformed {
                Malformed::Refuse => {
                    return Err(FieldError::invalid(path.child(name), value.clone(), "must be a string"));
                }
                Malformed::Drop => drop(fields.remove(name)),
            }
        }
        Ok(())
    }

    fn object_meta(&mut self, path: &Path<'_>, metadata: &mut Value) -> Result<(), FieldError> {
        let path = path.child("metadata");
        let unknown = self.meta.object_meta(&path, metadata, self.malformed);
        self.unknown.extend(unknown.map_err(|error| FieldError::invalid(path, metadata.clone(), error))?);
        Ok(())
    }
}

impl ObjectMeta {
    /// Brings metadata at a path into the form of ObjectMeta; an error says in Go's words what has the wrong type.
    pub(super) fn object_meta(
        &self,
        path: &Path<'_>,
        metadata: &mut Value,
        malformed: Malformed,
    ) -> Result<Coerced, String> {
        let (value, unknown) = match (self.decode(metadata), malformed) {
            (Ok(decoded), _) => (decoded.value, decoded.unknown),
            (Err(error), Malformed::Refuse) => return Err(error),
            (Err(_), Malformed::Drop) => {
                let Some(fields) = metadata.as_object() else { return Ok(Vec::new()) };
                self.each_field(fields)
            }
        };
        *metadata = value;
        Ok(unknown.into_iter().map(|name| format!("{path}.{name}")).collect())
    }

    /// The fields that can be read, one by one.
    fn each_field(&self, fields: &serde_json::Map<String, Value>) -> (Value, Vec<String>) {
        let (mut known, mut unknown) = (serde_json::Map::new(), Vec::new());
        for (name, value) in fields {
            let one = Value::Object([(name.clone(), value.clone())].into_iter().collect());
            let Ok(decoded) = self.decode(&one) else { continue };
            unknown.extend(decoded.unknown);
            if let Value::Object(fields) = decoded.value {
                known.extend(fields);
            }
        }
        (Value::Object(known), unknown)
    }
}
