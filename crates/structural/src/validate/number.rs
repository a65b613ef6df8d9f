//! Bounds and multiples of numbers.

use serde_json::Value;

use super::Validator;
use super::outcome::{Failure, Outcome};
use crate::model::{Structural, Type};
use crate::numbers::{go_float, is_whole_float};
use crate::path::Path;

/// What the numbers of a schema must be able to hold.
#[derive(Clone, Copy)]
struct Range<'s> {
    ty: &'s Type,
    format: &'s str,
}

/// A number as Go's decoder reads it.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Self {
        value.as_i64().map_or_else(|| Self::Float(value.as_f64().unwrap_or_default()), Self::Int)
    }

    #[expect(clippy::cast_precision_loss, reason = "what Go does for the comparison")]
    fn float(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

/// A bound in the type of the number that it bounds.
#[expect(clippy::cast_possible_truncation, reason = "what Go does for the comparison")]
fn alike(number: Number, bound: f64, in_range: bool) -> (Number, Number) {
    match number {
        Number::Int(_) if in_range => (number, Number::Int(bound as i64)),
        _ => (Number::Float(number.float()), Number::Float(bound)),
    }
}

fn written(number: Number) -> String {
    match number {
        Number::Int(number) => number.to_string(),
        Number::Float(number) => go_float(number),
    }
}

impl Range<'_> {
    /// Whether a number fits into the type and format.
    fn holds(self, number: Number) -> bool {
        let float = number.float();
        match (self.ty, self.format) {
            (Type::Integer, "int32") => {
                float.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&float)
            }
            (Type::Integer, _) => match number {
                Number::Int(_) => true,
                // Up to 2^63, which is the next number above those that fit.
                Number::Float(float) => {
                    float.fract() == 0.0
                        && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float)
                }
            },
            #[expect(clippy::cast_possible_truncation, reason = "asks whether it overflows")]
            (_, "float") => (float as f32).is_finite(),
            _ => true,
        }
    }

    /// A finding about a number that does not fit.
    fn check(self, all: &mut Outcome, number: Number, what: &str, path: &Path<'_>) -> bool {
        let holds = self.holds(number);
        if !holds {
            let (ty, format) = (self.ty.name(), self.format);
            let of =
                if format.is_empty() { "(default format)".into() } else { format!("with format {format}") };
            all.fail(Failure::plain(format!("{what} value must be of type {ty} {of} in {path}")));
        }
        holds
    }
}

impl Validator {
    pub(super) fn check_number(&self, schema: &Structural, value: &Value, path: &Path<'_>) -> Outcome {
        let checks = schema.checks();
        let range = match self.types(schema) {
            [ty @ Type::Integer] => {
                let format = Some(&*checks.format).filter(|format| matches!(*format, "int32" | "int64"));
                Range { ty, format: format.unwrap_or_default() }
            }
            [ty @ Type::Number] => {
                let format = Some(&*checks.format).filter(|format| matches!(*format, "float" | "double"));
                Range { ty, format: format.unwrap_or_default() }
            }
            _ => Range { ty: &Type::Any, format: "" },
        };
        let number = Number::of(value);
        let mut all = Outcome::default();
        range.check(&mut all, number, "Checked", path);
        if let Some(factor) = checks.multiple_of {
            let in_range = range.check(&mut all, Number::Float(factor), "MultipleOf", path);
            check_multiple(&mut all, value, alike(number, factor, in_range), path);
        }
        if let Some(least) = checks.minimum {
            let in_range = range.check(&mut all, Number::Float(least), "Minimum boundary", path);
            let (number, least) = alike(number, least, in_range);
            let exclusive = checks.exclusive_minimum;
            if is_beyond(least, number, exclusive) {
                let words = if exclusive { "greater than" } else { "greater than or equal to" };
                let least = written(least);
                all.fail(Failure::invalid(path, value.clone(), |p| format!("{p} should be {words} {least}")));
            }
        }
        if let Some(most) = checks.maximum {
            let in_range = range.check(&mut all, Number::Float(most), "Maximum boundary", path);
            let (number, most) = alike(number, most, in_range);
            let exclusive = checks.exclusive_maximum;
            if is_beyond(number, most, exclusive) {
                let words = if exclusive { "less than" } else { "less than or equal to" };
                let most = written(most);
                all.fail(Failure::invalid(path, value.clone(), |p| format!("{p} should be {words} {most}")));
            }
        }
        all.matched();
        all
    }
}

/// Whether the upper number is too great.
fn is_beyond(upper: Number, lower: Number, exclusive: bool) -> bool {
    match (upper, lower) {
        (Number::Int(upper), Number::Int(lower)) => upper > lower || (exclusive && upper == lower),
        _ => upper.float() > lower.float() || (exclusive && upper.float() == lower.float()),
    }
}

fn check_multiple(all: &mut Outcome, value: &Value, (number, factor): (Number, Number), path: &Path<'_>) {
    let fits = match (number, factor) {
        (_, Number::Int(..=0)) => None,
        (Number::Int(number), Number::Int(factor)) => Some(number % factor == 0),
        (_, factor) if factor.float() <= 0.0 => None,
        (number, factor) if factor.float() < 1.0 => {
            Some(is_whole_float(1.0 / factor.float() * number.float()))
        }
        (number, factor) => Some(is_whole_float(number.float() / factor.float())),
    };
    let words = written(factor);
    match fits {
        Some(true) => {}
        Some(false) => {
            all.fail(Failure::invalid(path, value.clone(), |p| {
                format!("{p} should be a multiple of {words}")
            }));
        }
        None => all.fail(Failure::invalid(path, number_value(factor), |_| {
            format!("factor MultipleOf declared for {path} must be positive: {words}")
        })),
    }
}

fn number_value(number: Number) -> Value {
    match number {
        Number::Int(number) => number.into(),
        Number::Float(number) => number.into(),
    }
}
