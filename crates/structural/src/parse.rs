//! From the JSON of `openAPIV3Schema` to a [`Structural`].
//!
//! As Go reads it: null and the zero of a field are the same as none, and fields of no meaning here are passed over. What
//! is well-formed and refused all the same is kept, for [`crate::rules`] to name it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::model::{
    Additional, Checks, Dependencies, Extras, ListType, MapType, Rule, Structural, Type, Unsupported,
};
use crate::path::Path;
use crate::re2::Pattern;

/// Levels of schemas that are read; JSON text has no more than 128.
const DEPTH: usize = 128;

/// A schema that cannot be read; no definition that the API's own schema has let through is such a one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A field holds a value of another type.
    #[error("{field} must be {wanted}")]
    Type {
        /// Path of the field below the schema.
        field: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// There are more than 128 levels.
    #[error("{field}: the schema has more than {DEPTH} levels")]
    Deep {
        /// Path of the field below the schema.
        field: String,
    },
}

impl Structural {
    /// Reads the JSON of `openAPIV3Schema`.
    pub fn parse(schema: &Value) -> Result<Self, ParseError> {
        let at = At { path: Path::Root(""), depth: 0 };
        read(schema, &at)
    }
}

struct At<'a> {
    path: Path<'a>,
    depth: usize,
}

impl<'a> At<'a> {
    fn child(&'a self, name: &'a str) -> At<'a> {
        At { path: self.path.child(name), depth: self.depth + 1 }
    }

    fn wrong<T>(&self, wanted: &'static str) -> Result<T, ParseError> {
        Err(ParseError::Type { field: self.path.to_string(), wanted })
    }
}

type Fields = Map<String, Value>;

fn read(value: &Value, at: &At<'_>) -> Result<Structural, ParseError> {
    if at.depth > 2 * DEPTH {
        return Err(ParseError::Deep { field: at.path.to_string() });
    }
    let Some(fields) = value.as_object() else { return at.wrong("an object") };
    let mut unsupported = Unsupported {
        id: !text(fields, "id", at)?.is_empty(),
        schema: !text(fields, "$schema", at)?.is_empty(),
        reference: given(fields, "$ref").and_then(Value::as_str).map(str::to_owned),
        additional_items: given(fields, "additionalItems").is_some(),
        pattern_properties: given(fields, "patternProperties")
            .is_some_and(|value| value.as_object().is_some_and(|map| !map.is_empty())),
        definitions: schemas(fields, "definitions", at)?,
        dependencies: dependencies(fields, at)?,
        ..Unsupported::default()
    };
    let items = items(fields, at, &mut unsupported)?;
    let preserve = given(fields, "x-kubernetes-preserve-unknown-fields");
    unsupported.preserve_false = preserve.is_some_and(|value| *value == Value::Bool(false));
    let checks = checks(fields, at)?;
    let extras = Extras {
        example: given(fields, "example").cloned(),
        external_docs: given(fields, "externalDocs").cloned(),
        unsupported,
    };
    Ok(Structural {
        ty: Type::named(text(fields, "type", at)?),
        title: text(fields, "title", at)?.to_owned(),
        description: text(fields, "description", at)?.to_owned(),
        default: given(fields, "default").cloned(),
        nullable: flag(fields, "nullable", at)?,
        items,
        properties: schemas(fields, "properties", at)?,
        additional: additional(fields, at)?,
        preserve_unknown_fields: flag(fields, "x-kubernetes-preserve-unknown-fields", at)?,
        embedded_resource: flag(fields, "x-kubernetes-embedded-resource", at)?,
        int_or_string: flag(fields, "x-kubernetes-int-or-string", at)?,
        list_type: optional_text(fields, "x-kubernetes-list-type", at)?.map(ListType::named),
        list_map_keys: texts(fields, "x-kubernetes-list-map-keys", at)?,
        map_type: optional_text(fields, "x-kubernetes-map-type", at)?.map(MapType::named),
        rules: rules(fields, at)?,
        checks: (checks != Checks::NONE).then(|| Box::new(checks)),
        extras: (extras != Extras::default()).then(|| Box::new(extras)),
    })
}

fn checks(fields: &Fields, at: &At<'_>) -> Result<Checks, ParseError> {
    Ok(Checks {
        format: text(fields, "format", at)?.to_owned(),
        maximum: number(fields, "maximum", at)?,
        exclusive_maximum: flag(fields, "exclusiveMaximum", at)?,
        minimum: number(fields, "minimum", at)?,
        exclusive_minimum: flag(fields, "exclusiveMinimum", at)?,
        multiple_of: number(fields, "multipleOf", at)?,
        max_length: whole(fields, "maxLength", at)?,
        min_length: whole(fields, "minLength", at)?,
        pattern: Some(text(fields, "pattern", at)?).filter(|text| !text.is_empty()).map(Pattern::new),
        max_items: whole(fields, "maxItems", at)?,
        min_items: whole(fields, "minItems", at)?,
        unique_items: flag(fields, "uniqueItems", at)?,
        max_properties: whole(fields, "maxProperties", at)?,
        min_properties: whole(fields, "minProperties", at)?,
        required: texts(fields, "required", at)?,
        allowed: list(fields, "enum", at)?.to_vec(),
        all_of: listed(fields, "allOf", at)?,
        any_of: listed(fields, "anyOf", at)?,
        one_of: listed(fields, "oneOf", at)?,
        not: given(fields, "not").map(|value| read(value, &at.child("not")).map(Arc::new)).transpose()?,
    })
}

fn items(
    fields: &Fields,
    at: &At<'_>,
    unsupported: &mut Unsupported,
) -> Result<Option<Arc<Structural>>, ParseError> {
    match given(fields, "items") {
        None => Ok(None),
        Some(Value::Array(_)) => {
            unsupported.items = listed(fields, "items", at)?;
            Ok(None)
        }
        Some(value) => read(value, &at.child("items")).map(Arc::new).map(Some),
    }
}

fn additional(fields: &Fields, at: &At<'_>) -> Result<Additional, ParseError> {
    Ok(match given(fields, "additionalProperties") {
        None => Additional::Unstated,
        Some(Value::Bool(allowed)) => Additional::Allowed(*allowed),
        Some(value) => Additional::Schema(Arc::new(read(value, &at.child("additionalProperties"))?)),
    })
}

fn dependencies(fields: &Fields, at: &At<'_>) -> Result<Option<Dependencies>, ParseError> {
    let at = at.child("dependencies");
    let Some(value) = given(fields, "dependencies") else { return Ok(None) };
    let Some(map) = value.as_object() else { return at.wrong("an object") };
    let read_one = |(name, value): (&String, &Value)| {
        let schema = value.is_object().then(|| read(value, &at.child(name)).map(Arc::new)).transpose()?;
        Ok((name.clone(), schema))
    };
    map.iter().map(read_one).collect::<Result<_, _>>().map(Some)
}

fn rules(fields: &Fields, at: &At<'_>) -> Result<Vec<Rule>, ParseError> {
    let at = at.child("x-kubernetes-validations");
    let read_one = |value: &Value| {
        let Some(fields) = value.as_object() else { return at.wrong("a list of objects") };
        let optional = given(fields, "optionalOldSelf").is_some();
        Ok(Rule {
            rule: text(fields, "rule", &at)?.to_owned(),
            message: text(fields, "message", &at)?.to_owned(),
            message_expression: text(fields, "messageExpression", &at)?.to_owned(),
            reason: optional_text(fields, "reason", &at)?.map(str::to_owned),
            field_path: text(fields, "fieldPath", &at)?.to_owned(),
            optional_old_self: optional.then(|| flag(fields, "optionalOldSelf", &at)).transpose()?,
        })
    };
    list(fields, "x-kubernetes-validations", &at)?.iter().map(read_one).collect()
}

/// The schemas of a map, by name.
fn schemas(
    fields: &Fields,
    name: &str,
    at: &At<'_>,
) -> Result<BTreeMap<String, Arc<Structural>>, ParseError> {
    let at = at.child(name);
    let Some(value) = given(fields, name) else { return Ok(BTreeMap::new()) };
    let Some(map) = value.as_object() else { return at.wrong("an object") };
    let read_one = |(name, value): (&String, &Value)| {
        // A null in a map is the zero of its values.
        let schema = if value.is_null() { Structural::default() } else { read(value, &at.child(name))? };
        Ok((name.clone(), Arc::new(schema)))
    };
    map.iter().map(read_one).collect()
}

/// The schemas of a list.
fn listed(fields: &Fields, name: &str, at: &At<'_>) -> Result<Vec<Arc<Structural>>, ParseError> {
    let at = at.child(name);
    list(fields, name, &at)?.iter().map(|value| read(value, &at).map(Arc::new)).collect()
}

fn given<'f>(fields: &'f Fields, name: &str) -> Option<&'f Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn list<'f>(fields: &'f Fields, name: &str, at: &At<'_>) -> Result<&'f [Value], ParseError> {
    match given(fields, name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => at.child(name).wrong("a list"),
    }
}

fn optional_text<'f>(fields: &'f Fields, name: &str, at: &At<'_>) -> Result<Option<&'f str>, ParseError> {
    match given(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => at.child(name).wrong("a string"),
    }
}

fn text<'f>(fields: &'f Fields, name: &str, at: &At<'_>) -> Result<&'f str, ParseError> {
    Ok(optional_text(fields, name, at)?.unwrap_or_default())
}

fn texts(fields: &Fields, name: &str, at: &At<'_>) -> Result<Vec<String>, ParseError> {
    let item = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        _ => at.child(name).wrong("a list of strings"),
    };
    list(fields, name, at)?.iter().map(item).collect()
}

fn flag(fields: &Fields, name: &str, at: &At<'_>) -> Result<bool, ParseError> {
    match given(fields, name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => at.child(name).wrong("true or false"),
    }
}

fn number(fields: &Fields, name: &str, at: &At<'_>) -> Result<Option<f64>, ParseError> {
    match given(fields, name) {
        None => Ok(None),
        Some(value) => {
            value.as_f64().map_or_else(|| at.child(name).wrong("a number"), |number| Ok(Some(number)))
        }
    }
}

fn whole(fields: &Fields, name: &str, at: &At<'_>) -> Result<Option<i64>, ParseError> {
    match given(fields, name) {
        None => Ok(None),
        Some(value) => {
            value.as_i64().map_or_else(|| at.child(name).wrong("a whole number"), |number| Ok(Some(number)))
        }
    }
}
