//! `string.format()`.

use std::fmt::Write as _;

use crate::error::EvalError;
use crate::types::Type;
use crate::value::{List, Meter, Value};

use super::{Outcome, Table, number};

pub(super) const FUNCTIONS: Table = &[("format", &["string_format string.(list(dyn)) -> string"], format)];

/// How an argument is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    String,
    Decimal,
    Fixed(Option<usize>),
    /// What would be the precision is the least width.
    Scientific(Option<usize>),
    Binary,
    Hex {
        upper: bool,
    },
    Octal,
}

/// A part of a format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'f> {
    Text(&'f str),
    Argument(Clause),
}

/// Reads the next part of a format and what follows it; `next_argument` is the index of the next argument, which
/// must be below `arguments`.
pub(crate) fn piece(
    format: &str,
    next_argument: usize,
    arguments: usize,
) -> Result<(Piece<'_>, &str), String> {
    let Some(rest) = format.strip_prefix('%') else {
        let (text, rest) = format.split_at(format.find('%').unwrap_or(format.len()));
        return Ok((Piece::Text(text), rest));
    };
    if let Some(rest) = rest.strip_prefix('%') {
        return Ok((Piece::Text("%"), rest));
    }
    if next_argument >= arguments {
        return Err(format!("index {next_argument} out of range"));
    }
    if rest.is_empty() {
        return Err("unexpected end of string".to_owned());
    }
    clause(rest)
        .map(|(clause, rest)| (Piece::Argument(clause), rest))
        .map_err(|message| format!("could not parse formatting clause: {message}"))
}

fn clause(text: &str) -> Result<(Clause, &str), String> {
    let precision = |message: &str| format!("error while parsing precision: {message}");
    let (places, rest) = match text.strip_prefix('.') {
        None => (None, text),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            let end = end.ok_or_else(|| precision("could not find end of precision specifier"))?;
            let places = rest[..end].parse::<usize>().map_err(|_| {
                precision(&format!(
                    "error while converting precision to integer: strconv.Atoi: parsing {:?}: invalid syntax",
                    &rest[..end]
                ))
            })?;
            (Some(places), &rest[end..])
        }
    };
    let verb = rest.chars().next().unwrap_or_default();
    let clause = match verb {
        's' => Clause::String,
        'd' => Clause::Decimal,
        'f' => Clause::Fixed(places),
        'e' => Clause::Scientific(places),
        'b' => Clause::Binary,
        'x' | 'X' => Clause::Hex { upper: verb == 'X' },
        'o' => Clause::Octal,
        other => return Err(format!("unrecognized formatting clause \"{other}\"")),
    };
    Ok((clause, &rest[1..]))
}

impl Clause {
    /// Whether an argument of this type can be written so.
    pub(crate) fn accepts(self, of: &Type) -> bool {
        match (self, of) {
            (_, Type::Dyn) => true,
            (Self::String, Type::Optional(_) | Type::Object(_) | Type::Kubernetes(_)) => false,
            (Self::String, _) => true,
            (Self::Decimal | Self::Octal, of) => matches!(of, Type::Int | Type::Uint),
            (Self::Fixed(_) | Self::Scientific(_), of) => matches!(of, Type::Double | Type::String),
            (Self::Binary, of) => matches!(of, Type::Int | Type::Uint | Type::Bool),
            (Self::Hex { .. }, of) => matches!(of, Type::Int | Type::Uint | Type::String | Type::Bytes),
        }
    }

    /// What is said of an argument of another type.
    pub(crate) fn refusal(self, of: &Type) -> String {
        let allowed = match self {
            Self::String => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, \
                 durations, and timestamps"
            }
            Self::Decimal => "decimal clause can only be used on integers",
            Self::Fixed(_) => "fixed-point clause can only be used on doubles",
            Self::Scientific(_) => "scientific clause can only be used on doubles",
            Self::Binary => "only integers and bools can be formatted as binary",
            Self::Hex { .. } => "only integers, byte buffers, and strings can be formatted as hex",
            Self::Octal => "octal clause can only be used on integers",
        };
        format!("error during formatting: {allowed}, was given {}", of.runtime_name())
    }
}

fn format<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(format), Value::List(arguments)] = args else {
        return Err(EvalError::no_such_overload());
    };
    let mut rest: &str = format;
    let mut text = String::new();
    let mut next = 0;
    while !rest.is_empty() {
        let (piece, after) = piece(rest, next, arguments.len()).map_err(EvalError::new)?;
        rest = after;
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Argument(clause) => {
                write_argument(meter, &mut text, clause, &argument(arguments, next)?)?;
                next += 1;
            }
        }
        meter.allow(text.len())?;
    }
    Ok(Value::text(text))
}

fn argument<'a>(arguments: &List<'a>, index: usize) -> Outcome<'a> {
    arguments.get(index).unwrap_or_else(|| Err(EvalError::new(format!("index {index} out of range"))))
}

fn write_argument(
    meter: &mut Meter,
    text: &mut String,
    clause: Clause,
    value: &Value<'_>,
) -> Result<(), EvalError> {
    let refused = || Err(EvalError::new(clause.refusal(&value.type_of())));
    let written = match (clause, value) {
        (Clause::String, value) => return write_string(meter, text, value, clause),
        (Clause::Decimal, Value::Int(number)) => write!(text, "{number}"),
        (Clause::Decimal, Value::Uint(number)) => write!(text, "{number}"),
        (Clause::Octal, Value::Int(number)) => {
            write!(text, "{}{:o}", sign(*number), number.unsigned_abs())
        }
        (Clause::Octal, Value::Uint(number)) => write!(text, "{number:o}"),
        (Clause::Binary, Value::Int(number)) => {
            write!(text, "{}{:b}", sign(*number), number.unsigned_abs())
        }
        (Clause::Binary, Value::Uint(number)) => write!(text, "{number:b}"),
        (Clause::Binary, Value::Bool(flag)) => write!(text, "{}", u8::from(*flag)),
        (Clause::Hex { upper }, value) => return write_hex(text, upper, value).or_else(|()| refused()),
        (Clause::Fixed(places), value) => match float(value) {
            None => return refused(),
            Some(number) => {
                let places = places.unwrap_or(DEFAULT_PLACES);
                meter.allow(places)?;
                return write_fixed(text, number, places);
            }
        },
        (Clause::Scientific(width), value) => match float(value) {
            None => return refused(),
            Some(number) => {
                let width = width.unwrap_or(DEFAULT_PLACES);
                meter.allow(width)?;
                write_scientific(text, number, width);
                return Ok(());
            }
        },
        _ => return refused(),
    };
    written.map_err(|_| EvalError::no_such_overload())
}

const DEFAULT_PLACES: usize = 6;
/// No number has more decimals that differ from zero.
const MOST_PLACES: usize = 1100;

fn sign(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

fn float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// As American English writes what is no finite number.
fn special(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        return Some("NaN");
    }
    number.is_infinite().then_some(if number > 0.0 { "∞" } else { "-∞" })
}

/// With commas between groups of three digits, as American English has them.
fn write_fixed(text: &mut String, number: f64, places: usize) -> Result<(), EvalError> {
    if let Some(special) = special(number) {
        text.push_str(special);
        return Ok(());
    }
    let shown = format!("{number:.*}", places.min(MOST_PLACES));
    let (whole, fraction) = shown.split_once('.').unwrap_or((&shown, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    text.push_str(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if places > 0 {
        text.push('.');
        text.push_str(fraction);
        text.extend(std::iter::repeat_n('0', places.saturating_sub(MOST_PLACES)));
    }
    Ok(())
}

fn write_scientific(text: &mut String, number: f64, width: usize) {
    let shown = match special(number) {
        Some(special) => special.to_owned(),
        None => scientific(number),
    };
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(shown.chars().count())));
    text.push_str(&shown);
}

fn scientific(number: f64) -> String {
    let shown = format!("{number:.DEFAULT_PLACES$e}");
    let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let exponent = number::go_exponent(exponent.parse().unwrap_or(0));
    let raised = exponent.trim_start_matches('+').chars().map(|c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    });
    format!("{digits}×10{}", raised.collect::<String>())
}

fn write_hex(text: &mut String, upper: bool, value: &Value<'_>) -> Result<(), ()> {
    let hex = match value {
        Value::Int(number) => format!("{}{:x}", sign(*number), number.unsigned_abs()),
        Value::Uint(number) => format!("{number:x}"),
        Value::String(string) => string.bytes().map(|byte| format!("{byte:02x}")).collect(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => return Err(()),
    };
    text.push_str(&if upper { hex.to_uppercase() } else { hex });
    Ok(())
}

fn write_string(
    meter: &mut Meter,
    text: &mut String,
    value: &Value<'_>,
    clause: Clause,
) -> Result<(), EvalError> {
    meter.work(1)?;
    match value {
        Value::List(_) | Value::Map(_) => write_member(meter, text, value),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(string) => {
                text.push_str(string);
                Ok(())
            }
            Err(_) => Err(EvalError::new("error during formatting: could not convert argument to string")),
        },
        Value::Duration(duration) => {
            text.push_str(&duration.seconds_text());
            Ok(())
        }
        value if !clause.accepts(&value.type_of()) => Err(EvalError::new(clause.refusal(&value.type_of()))),
        value => {
            let _written = write!(text, "{value}");
            Ok(())
        }
    }
}

/// A value within a list or map, as a literal.
fn write_member(meter: &mut Meter, text: &mut String, value: &Value<'_>) -> Result<(), EvalError> {
    meter.work(1)?;
    meter.allow(text.len() / 1024)?;
    let _written = match value {
        Value::String(string) => write!(text, "{:?}", &**string),
        Value::Bytes(bytes) => write!(text, "b{:?}", String::from_utf8_lossy(bytes)),
        Value::Timestamp(time) => write!(text, "timestamp(\"{time}\")"),
        Value::Duration(duration) => write!(text, "duration(\"{}\")", duration.seconds_text()),
        Value::Double(number) => match number::special(*number) {
            Some(special) => write!(text, "{special:?}"),
            None => write!(text, "{number:.DEFAULT_PLACES$}"),
        },
        Value::List(list) => {
            text.push('[');
            for (i, member) in list.iter().enumerate() {
                text.push_str(if i > 0 { ", " } else { "" });
                write_member(meter, text, &member?)?;
            }
            text.push(']');
            Ok(())
        }
        Value::Map(map) => {
            let mut entries = Vec::new();
            for key in map.keys() {
                let (mut shown_key, mut shown) = (String::new(), String::new());
                write_member(meter, &mut shown_key, &key)?;
                if let Some(member) = map.get(&key) {
                    write_member(meter, &mut shown, &member?)?;
                }
                entries.push(format!("{shown_key}:{shown}"));
            }
            skiff_ordered::sort_by(&mut entries, Ord::cmp);
            text.push('{');
            text.push_str(&entries.join(", "));
            text.push('}');
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Type(_) => {
            write!(text, "{value}")
        }
        other => {
            let of = other.type_of();
            let message =
                format!("error during formatting: no formatting function for {}", of.runtime_name());
            return Err(EvalError::new(message));
        }
    };
    Ok(())
}
