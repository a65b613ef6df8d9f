//! Semantic versions.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::error::EvalError;
use crate::value::Value;

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    (
        "semver",
        &["string_to_semver (string) -> Semver", "string_bool_to_semver (string, bool) -> Semver"],
        |_, args| read(args)?.map(|version| Value::Semver(Arc::new(version))).map_err(EvalError::new),
    ),
    (
        "isSemver",
        &["is_semver_string (string) -> bool", "is_semver_string_bool (string, bool) -> bool"],
        |_, args| Ok(Value::Bool(read(args)?.is_ok())),
    ),
    ("isGreaterThan", &["semver_is_greater_than Semver.(Semver) -> bool"], |_, args| {
        two(args, |order| Value::Bool(order.is_gt()))
    }),
    ("isLessThan", &["semver_is_less_than Semver.(Semver) -> bool"], |_, args| {
        two(args, |order| Value::Bool(order.is_lt()))
    }),
    ("compareTo", &["semver_compare_to Semver.(Semver) -> int"], |_, args| {
        two(args, |order| Value::Int(order as i64))
    }),
    ("major", &["semver_major Semver.() -> int"], |_, args| number(args, 0)),
    ("minor", &["semver_minor Semver.() -> int"], |_, args| number(args, 1)),
    ("patch", &["semver_patch Semver.() -> int"], |_, args| number(args, 2)),
];

/// A version like `1.2.3-rc.1+build`.
#[derive(Clone, Debug)]
pub struct Semver {
    numbers: [u64; 3],
    before: Vec<Identifier>,
    build: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    /// Comes before any text.
    Number(u64),
    Text(String),
}

fn read(args: &[Value<'_>]) -> Result<Result<Semver, String>, EvalError> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Ok(Semver::parse(text)),
        [Value::String(text), Value::Bool(true)] => Ok(normalize(text).and_then(|text| Semver::parse(&text))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn two<'a>(args: &[Value<'a>], get: impl FnOnce(Ordering) -> Value<'a>) -> Outcome<'a> {
    match args {
        [Value::Semver(one), Value::Semver(another)] => Ok(get(one.compare(another))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn number<'a>(args: &[Value<'a>], which: usize) -> Outcome<'a> {
    match args {
        #[expect(clippy::cast_possible_wrap, reason = "as Kubernetes has it")]
        [Value::Semver(version)] => Ok(Value::Int(version.numbers[which] as i64)),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// `v1.02` as `1.2.0`.
fn normalize(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".to_owned());
    }
    parts.resize(3, "0".to_owned());
    Ok(parts.join("."))
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) { rest.to_owned() } else { format!("0{rest}") }
}

impl Semver {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let parts: Vec<&str> = text.splitn(3, '.').collect();
        let [major, minor, rest] = parts.as_slice() else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let (major, minor) = (numeric("major", "Major", major)?, numeric("minor", "Minor", minor)?);
        let (rest, build) = rest.split_once('+').map_or((*rest, None), |(rest, build)| (rest, Some(build)));
        let (patch, before) =
            rest.split_once('-').map_or((rest, None), |(patch, before)| (patch, Some(before)));
        let patch = numeric("patch", "Patch", patch)?;
        let before = before.map_or(Ok(Vec::new()), |before| before.split('.').map(identifier).collect())?;
        let build = build.map_or(Ok(Vec::new()), |build| build.split('.').map(metadata).collect())?;
        Ok(Self { numbers: [major, minor, patch], before, build })
    }

    /// Which of two versions comes first; what was built how says nothing.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.before.cmp(&other.before),
            }
        })
    }
}

fn all(text: &str, allowed: fn(char) -> bool) -> bool {
    text.chars().all(allowed)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

fn numeric(name: &str, capital: &str, text: &str) -> Result<u64, String> {
    if !all(text, |c| c.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {name} number {text:?}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{capital} number must not contain leading zeroes {text:?}"));
    }
    parse_uint(text)
}

fn parse_uint(text: &str) -> Result<u64, String> {
    let problem = if text.is_empty() { "invalid syntax" } else { "value out of range" };
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: {problem}"))
}

fn identifier(text: &str) -> Result<Identifier, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if !all(text, is_word) {
        return Err(format!("Invalid character(s) found in prerelease {text:?}"));
    }
    if !all(text, |c| c.is_ascii_digit()) {
        return Ok(Identifier::Text(text.to_owned()));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("Numeric PreRelease version must not contain leading zeroes {text:?}"));
    }
    parse_uint(text).map(Identifier::Number)
}

fn metadata(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("Build meta data is empty".to_owned());
    }
    if all(text, is_word) {
        Ok(text.to_owned())
    } else {
        Err(format!("Invalid character(s) found in build meta data {text:?}"))
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        for (i, identifier) in self.before.iter().enumerate() {
            f.write_str(if i == 0 { "-" } else { "." })?;
            match identifier {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Text(text) => f.write_str(text)?,
            }
        }
        for (i, build) in self.build.iter().enumerate() {
            write!(f, "{}{build}", if i == 0 { "+" } else { "." })?;
        }
        Ok(())
    }
}
