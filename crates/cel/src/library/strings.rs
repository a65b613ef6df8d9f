//! Functions on strings; indices count code points.

use crate::error::EvalError;
use crate::value::{Meter, Text, Value};

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    ("contains", &["contains_string string.(string) -> bool"], |_, args| {
        test(args, |text, part| text.contains(part))
    }),
    ("endsWith", &["ends_with_string string.(string) -> bool"], |_, args| {
        test(args, |text, part| text.ends_with(part))
    }),
    ("startsWith", &["starts_with_string string.(string) -> bool"], |_, args| {
        test(args, |text, part| text.starts_with(part))
    }),
    ("charAt", &["string_char_at_int string.(int) -> string"], char_at),
    (
        "indexOf",
        &[
            "string_index_of_string string.(string) -> int",
            "string_index_of_string_int string.(string, int) -> int",
        ],
        index_of,
    ),
    (
        "lastIndexOf",
        &[
            "string_last_index_of_string string.(string) -> int",
            "string_last_index_of_string_int string.(string, int) -> int",
        ],
        last_index_of,
    ),
    ("lowerAscii", &["string_lower_ascii string.() -> string"], |_, args| map(args, str::to_ascii_lowercase)),
    ("upperAscii", &["string_upper_ascii string.() -> string"], |_, args| map(args, str::to_ascii_uppercase)),
    ("trim", &["string_trim string.() -> string"], |_, args| map(args, |text| text.trim().to_owned())),
    (
        "replace",
        &[
            "string_replace_string_string string.(string, string) -> string",
            "string_replace_string_string_int string.(string, string, int) -> string",
        ],
        replace,
    ),
    (
        "split",
        &[
            "string_split_string string.(string) -> list(string)",
            "string_split_string_int string.(string, int) -> list(string)",
        ],
        split,
    ),
    (
        "substring",
        &[
            "string_substring_int string.(int) -> string",
            "string_substring_int_int string.(int, int) -> string",
        ],
        substring,
    ),
    ("strings.quote", &["strings_quote (string) -> string"], |_, args| map(args, quote)),
    (
        "join",
        &["list_join list(string).() -> string", "list_join_string list(string).(string) -> string"],
        join,
    ),
];

/// Only mutating admission has these.
pub(super) const MUTATION: Table =
    &[("jsonpatch.escapeKey", &["string_jsonpatch_escapeKey_string (string) -> string"], |_, args| {
        map(args, |text| text.replace('~', "~0").replace('/', "~1"))
    })];

fn test<'a>(args: &[Value<'a>], holds: impl FnOnce(&str, &str) -> bool) -> Outcome<'a> {
    match args {
        [Value::String(text), Value::String(part)] => Ok(Value::Bool(holds(text, part))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn map<'a>(args: &[Value<'a>], change: impl FnOnce(&str) -> String) -> Outcome<'a> {
    match args {
        [Value::String(text)] => Ok(Value::text(change(text))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

/// The byte at which the code point of this index starts; the end for the index behind the last.
fn byte_at(text: &str, index: i64) -> Result<usize, EvalError> {
    let wanted = usize::try_from(index).map_err(|_| out_of_range(index))?;
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.into_iter().nth(wanted).ok_or_else(|| out_of_range(index))
}

fn char_at<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::Int(index)] = args else { return Err(EvalError::no_such_overload()) };
    let start = byte_at(text, *index)?;
    Ok(Value::text(text[start..].chars().next().map(String::from).unwrap_or_default()))
}

/// The code points before a byte.
fn count_to(text: &str, at: usize) -> i64 {
    i64::try_from(text[..at].chars().count()).unwrap_or(i64::MAX)
}

fn index_of<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let (text, part, from) = match args {
        [Value::String(text), Value::String(part)] => (text, part, 0),
        [Value::String(text), Value::String(part), Value::Int(from)] => (text, part, *from),
        _ => return Err(EvalError::no_such_overload()),
    };
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    if from < 0 {
        return Err(out_of_range(from));
    }
    let found = byte_at(text, from).ok().and_then(|start| Some(start + text[start..].find(&**part)?));
    Ok(Value::Int(found.map_or(-1, |at| count_to(text, at))))
}

fn last_index_of<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::String(text), Value::String(part)] => {
            Ok(Value::Int(text.rfind(&**part).map_or(-1, |at| count_to(text, at))))
        }
        [Value::String(text), Value::String(part), Value::Int(last)] => {
            if part.is_empty() {
                return Ok(Value::Int(*last));
            }
            if *last < 0 {
                return Err(out_of_range(*last));
            }
            let Some(start) = byte_at(text, *last).ok().filter(|start| *start < text.len()) else {
                return Ok(Value::Int(-1));
            };
            // What is found may start at `last`, and so end behind it.
            let mut end = text.len().min(start + part.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Ok(Value::Int(text[..end].rfind(&**part).map_or(-1, |at| count_to(text, at))))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn replace<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let (text, old, new, count) = match args {
        [Value::String(text), Value::String(old), Value::String(new)] => (text, old, new, None),
        [Value::String(text), Value::String(old), Value::String(new), Value::Int(count)] => {
            (text, old, new, usize::try_from(*count).ok())
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    let most = count.unwrap_or(usize::MAX);
    let found = text.matches(&**old).take(most).count();
    meter.allow(found.saturating_mul(new.len()).saturating_add(text.len()))?;
    Ok(Value::text(text.replacen(&**old, new, most)))
}

fn split<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let (text, separator, count) = match args {
        [Value::String(text), Value::String(separator)] => (text, separator, None),
        [Value::String(text), Value::String(separator), Value::Int(count)] => {
            (text, separator, usize::try_from(*count).ok())
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    meter.allow(text.len())?;
    let most = count.unwrap_or(usize::MAX);
    let parts: Vec<Value<'a>> = if separator.is_empty() {
        characters(text, most)
    } else if most == 0 {
        Vec::new()
    } else {
        text.splitn(most, &**separator).map(|part| Value::text(part.to_owned())).collect()
    };
    Ok(Value::list(parts))
}

/// One code point each, but the last has the rest.
fn characters<'a>(text: &str, most: usize) -> Vec<Value<'a>> {
    let starts = text.char_indices().map(|(at, _)| at).take(most).collect::<Vec<_>>();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| Value::text(text[*start..end].to_owned())).collect()
}

fn substring<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::String(text), Value::Int(start)] => {
            Ok(Value::text(text[byte_at(text, *start)?..].to_owned()))
        }
        [Value::String(_), Value::Int(start), Value::Int(end)] if start > end => {
            Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")))
        }
        [Value::String(text), Value::Int(start), Value::Int(end)] => {
            let (start, end) = (byte_at(text, *start)?, byte_at(text, *end)?);
            Ok(Value::text(text[start..end].to_owned()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// As a literal of the language.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn join<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let (list, separator): (_, &str) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, separator),
        _ => return Err(EvalError::no_such_overload()),
    };
    let mut joined = String::new();
    for (i, element) in list.iter().enumerate() {
        let element = element?;
        let Value::String(text) = &element else {
            return Err(EvalError::new(format!("join: invalid input: {element}")));
        };
        if i > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
        meter.work(1 + (separator.len() + text.len()) / 16)?;
        if joined.len() > 1 << 25 {
            return Err(EvalError::CostExceeded);
        }
    }
    Ok(Value::String(Text::from(joined)))
}
