//! Keys of maps.

use std::sync::Arc;

use crate::error::EvalError;

use super::{Duration, Timestamp, Value};

/// A key, comparable: numbers of different types are the same key when they are the same number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Null,
    Bool(bool),
    Int(i64),
    /// Larger than any `Int`; smaller ones are `Int`s.
    Uint(u64),
    /// By its bits; whole numbers are `Int`s.
    Double(u64),
    String(Arc<str>),
    Duration(Duration),
    Timestamp(Timestamp),
}

impl Key {
    /// The key that a value is; none when nothing can be found by it.
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Uint(value) => Some(i64::try_from(*value).map_or(Self::Uint(*value), Self::Int)),
            Value::Null => Some(Self::Null),
            Value::Double(value) => Some(whole(*value).map_or(Self::Double(value.to_bits()), Self::Int)),
            Value::String(text) => Some(Self::String((**text).into())),
            Value::Duration(duration) => Some(Self::Duration(*duration)),
            Value::Timestamp(time) => Some(Self::Timestamp(*time)),
            _ => None,
        }
    }

    /// The key of a new entry.
    pub(crate) fn insertable(value: &Value<'_>) -> Result<Self, EvalError> {
        Self::of(value).ok_or_else(|| {
            EvalError::new(format!("unsupported key type: {}", value.type_of().runtime_name()))
        })
    }
}

/// The integer that a number is.
fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let fits = number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
    fits.then_some(number as i64)
}

impl Key {
    /// The value that this is the key of.
    pub(crate) fn value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::Null => Value::Null,
            Self::Double(bits) => Value::Double(f64::from_bits(*bits)),
            Self::String(text) => Value::text(text.clone()),
            Self::Duration(duration) => Value::Duration(*duration),
            Self::Timestamp(time) => Value::Timestamp(*time),
        }
    }
}
