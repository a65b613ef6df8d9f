//! JSON as values.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value as Json;

use crate::declared::{DeclaredType, Shape};
use crate::error::EvalError;

use super::{Duration, List, Map, Timestamp, Value};

impl<'a> Value<'a> {
    /// Reads JSON as its schema declares it. Only scalars are converted; parts are read when they are asked for.
    ///
    /// # Errors
    /// When the JSON is not what the schema declares.
    pub fn read(json: &'a Json, declared: &'a DeclaredType) -> Result<Self, EvalError> {
        if json.is_null() && !matches!(declared.shape, Shape::Any | Shape::Optional(_)) {
            return if declared.nullable {
                Ok(Self::Null)
            } else {
                Err(EvalError::new("invalid data, got null for schema with nullable=false"))
            };
        }
        match &declared.shape {
            Shape::Any => Ok(Self::of_json(json)),
            Shape::Optional(_) if json.is_null() => Ok(Self::Optional(None)),
            Shape::Optional(inner) => Ok(Self::some(Self::read(json, inner)?)),
            Shape::IntOrString => match json {
                Json::String(text) => Ok(Self::text(text.as_str())),
                Json::Number(number) if number.is_i64() => Ok(Self::of_json(json)),
                _ => Err(EvalError::new(
                    "invalid data, expected XIntOrString value to be either a string or integer",
                )),
            },
            Shape::Object(_) | Shape::Map { .. } => match json {
                Json::Object(object) => Ok(Self::Map(Map::read(object, Some(declared)))),
                _ => Err(EvalError::new(
                    "invalid data, expected a map for the provided schema with type=object",
                )),
            },
            Shape::List { .. } => match json {
                Json::Array(items) => Ok(Self::List(List::read(items, Some(declared)))),
                _ => Err(EvalError::new(
                    "invalid data, expected an array for the provided schema with type=array",
                )),
            },
            Shape::Typed(of) => Err(unexpected(of.runtime_name(), json)),
            scalar => Self::scalar(json, scalar),
        }
    }

    fn scalar(json: &'a Json, shape: &Shape) -> Result<Self, EvalError> {
        match (shape, json) {
            (Shape::Bool, Json::Bool(value)) => Ok(Self::Bool(*value)),
            (Shape::Bool, _) => Err(unexpected("bool", json)),
            (Shape::Double, Json::Number(number)) => Ok(Self::Double(number.as_f64().unwrap_or(f64::NAN))),
            (Shape::Double, _) => Err(unexpected("float", json)),
            (Shape::Int, _) => integer(json).map(Self::Int).ok_or_else(|| unexpected("int", json)),
            (_, Json::String(text)) => Self::formatted(text, shape),
            _ => Err(unexpected("string", json)),
        }
    }

    fn formatted(text: &'a str, shape: &Shape) -> Result<Self, EvalError> {
        let invalid = |what: &str| EvalError::new(format!("Invalid {what} {text}"));
        match shape {
            Shape::Duration => {
                Duration::parse_schema(text).map(Self::Duration).ok_or_else(|| invalid("duration"))
            }
            Shape::Date => Timestamp::parse_date(text)
                .map(Self::Timestamp)
                .ok_or_else(|| invalid("date formatted string")),
            Shape::DateTime => Timestamp::parse_schema(text)
                .map(Self::Timestamp)
                .ok_or_else(|| invalid("date-time formatted string")),
            Shape::Bytes => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                let bytes: Arc<[u8]> = bytes.map_err(|_| invalid("byte formatted string"))?.into();
                Ok(Self::Bytes(bytes))
            }
            _ => Ok(Self::text(text)),
        }
    }

    /// JSON as it is: integers are `int`, other numbers `double`.
    pub fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::text(text.as_str()),
            Json::Array(items) => Self::List(List::read(items, None)),
            Json::Object(object) => Self::Map(Map::read(object, None)),
        }
    }

    /// A JSON object as it is.
    pub fn of_object(object: &'a serde_json::Map<String, Json>) -> Self {
        Self::Map(Map::read(object, None))
    }

    pub(crate) fn read_part(json: &'a Json, declared: Option<&'a DeclaredType>) -> Result<Self, EvalError> {
        declared.map_or_else(|| Ok(Self::of_json(json)), |declared| Self::read(json, declared))
    }
}

fn integer(json: &Json) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    json.as_i64().or_else(|| {
        let number = json.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
        Some(number as i64)
    })
}

fn unexpected(expected: &str, json: &Json) -> EvalError {
    let got = match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_i64() => "int64",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    };
    EvalError::new(format!("invalid data, expected {expected}, got {got}"))
}
