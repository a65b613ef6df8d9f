//! Amounts of resources: `100m`, `1.5Gi`, `2e3`.

use std::sync::Arc;

use skiff_quantity::{NotAQuantity, Quantity};

use crate::error::EvalError;
use crate::value::Value;

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    ("quantity", &["string_to_quantity (string) -> Quantity"], |_, args| match args {
        [Value::String(text)] => {
            text.parse().map(quantity).map_err(|error: NotAQuantity| EvalError::new(error.to_string()))
        }
        _ => Err(EvalError::no_such_overload()),
    }),
    ("isQuantity", &["is_quantity_string (string) -> bool"], |_, args| match args {
        [Value::String(text)] => Ok(Value::Bool(text.parse::<Quantity>().is_ok())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("sign", &["quantity_sign (Quantity) -> int"], |_, args| {
        one(args, |quantity| Ok(Value::Int(quantity.nanos().cmp(&0) as i64)))
    }),
    ("isGreaterThan", &["quantity_is_greater_than Quantity.(Quantity) -> bool"], |_, args| {
        two(args, |one, another| Ok(Value::Bool(one.nanos() > another.nanos())))
    }),
    ("isLessThan", &["quantity_is_less_than Quantity.(Quantity) -> bool"], |_, args| {
        two(args, |one, another| Ok(Value::Bool(one.nanos() < another.nanos())))
    }),
    ("compareTo", &["quantity_compare_to Quantity.(Quantity) -> int"], |_, args| {
        two(args, |one, another| Ok(Value::Int(one.nanos().cmp(&another.nanos()) as i64)))
    }),
    ("asApproximateFloat", &["quantity_get_float Quantity.() -> double"], |_, args| {
        #[expect(clippy::cast_precision_loss, reason = "an approximation is asked for")]
        one(args, |quantity| Ok(Value::Double(quantity.nanos() as f64 / 1e9)))
    }),
    ("asInteger", &["quantity_get_int Quantity.() -> int"], |_, args| {
        one(args, |quantity| {
            let integer = quantity.integer().map(Value::Int);
            integer.ok_or_else(|| EvalError::new("cannot convert value to integer"))
        })
    }),
    ("isInteger", &["quantity_is_integer Quantity.() -> bool"], |_, args| {
        one(args, |quantity| Ok(Value::Bool(quantity.integer().is_some())))
    }),
    (
        "add",
        &["quantity_add Quantity.(Quantity) -> Quantity", "quantity_add_int Quantity.(int) -> Quantity"],
        |_, args| two(args, |one, another| Ok(quantity(one.plus(*another)))),
    ),
    (
        "sub",
        &["quantity_sub Quantity.(Quantity) -> Quantity", "quantity_sub_int Quantity.(int) -> Quantity"],
        |_, args| two(args, |one, another| Ok(quantity(one.minus(*another)))),
    ),
];

fn quantity<'a>(quantity: Quantity) -> Value<'a> {
    Value::Quantity(Arc::new(quantity))
}

fn one<'a>(args: &[Value<'a>], get: impl FnOnce(&Quantity) -> Outcome<'a>) -> Outcome<'a> {
    match args {
        [Value::Quantity(quantity)] => get(quantity),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn two<'a>(args: &[Value<'a>], get: impl FnOnce(&Quantity, &Quantity) -> Outcome<'a>) -> Outcome<'a> {
    match args {
        [Value::Quantity(one), Value::Quantity(another)] => get(one, another),
        [Value::Quantity(one), Value::Int(whole)] => get(one, &Quantity::of_units(*whole)),
        _ => Err(EvalError::no_such_overload()),
    }
}
