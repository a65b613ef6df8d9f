//! Types of values, and which values count as the same.

use serde_json::Value;

use super::outcome::{Failure, Outcome};
use super::{Reading, Validator};
use crate::formats;
use crate::model::{Structural, Type};
use crate::numbers::is_whole;
use crate::path::Path;

/// The type of a value and what Go calls its representation.
pub(super) fn type_of(value: &Value) -> (Type, &'static str) {
    match value {
        Value::Null => (Type::Other("null".to_owned()), ""),
        Value::Bool(_) => (Type::Boolean, ""),
        Value::String(_) => (Type::String, ""),
        Value::Number(number) if number.is_i64() => (Type::Integer, "int64"),
        Value::Number(_) => (Type::Number, "float64"),
        Value::Array(_) => (Type::Array, ""),
        Value::Object(_) => (Type::Object, ""),
    }
}

const INT_OR_STRING: [Type; 2] = [Type::Integer, Type::String];

impl Validator {
    /// The types that a schema allows; none: any.
    pub(super) fn types<'s>(&self, schema: &'s Structural) -> &'s [Type] {
        if schema.int_or_string && self.reading == Reading::Resource {
            &INT_OR_STRING
        } else if schema.ty == Type::Any {
            &[]
        } else {
            std::slice::from_ref(&schema.ty)
        }
    }

    /// The format that a schema asks for, if it is one for its type; others are passed over.
    pub(super) fn format<'s>(&self, schema: &'s Structural) -> Option<&'s str> {
        let format = schema.checks().format.as_str();
        let ty = match self.types(schema) {
            [ty] => ty,
            _ => &Type::Any,
        };
        Some(format).filter(|format| !format.is_empty() && formats::is_for(ty, format))
    }

    pub(super) fn check_type(&self, schema: &Structural, value: &Value, path: &Path<'_>) -> Outcome {
        let types = self.types(schema);
        let names = || types.iter().map(Type::name).collect::<Vec<_>>().join(",");
        let mut fine = Outcome::default();
        fine.matched();
        if value.is_null() {
            let refused =
                !types.is_empty() && !schema.nullable && !types.iter().any(|ty| ty.name() == "null");
            return if refused { Outcome::of(Failure::wrong_type(path, &names(), "null")) } else { fine };
        }
        let (found, representation) = type_of(value);
        let float_as_integer = found == Type::Number && types.contains(&Type::Integer) && is_whole(value);
        let integer_as_float = found == Type::Integer && types.contains(&Type::Number);
        let fits = types.contains(&found) || float_as_integer || integer_as_float;
        let format = self.format(schema);
        let is_sequence = value.is_string() || value.is_array();
        if let Some(format) = format
            && !is_sequence
            && !fits
            && representation != format
        {
            return Outcome::of(Failure::wrong_type(path, format, representation));
        }
        let numeric = types.contains(&Type::Number) || types.contains(&Type::Integer);
        if fits || (format.is_some() && is_sequence && !numeric) {
            return fine;
        }
        Outcome::of(Failure::wrong_type(path, &names(), found.name()))
    }
}

/// Whether a value counts as one of an enumeration: after conversion to its type, as Go converts.
pub(super) fn is_same(value: &Value, allowed: &Value) -> bool {
    match (value, allowed) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_f64(), b.as_f64()) {
            (Some(a), Some(b), ..) => a == b,
            // Towards zero, as Go's conversion does.
            #[expect(clippy::cast_possible_truncation, reason = "Go's conversion of floats, saturating")]
            (None, Some(b), Some(a), _) => a as i64 == b,
            (_, _, Some(a), Some(b)) => a == b,
            _ => false,
        },
        (Value::Number(number), Value::String(text)) => number.as_i64().is_some_and(|number| {
            let letter = u32::try_from(number).ok().and_then(char::from_u32);
            text.chars().eq([letter.unwrap_or(char::REPLACEMENT_CHARACTER)])
        }),
        _ => value == allowed,
    }
}
