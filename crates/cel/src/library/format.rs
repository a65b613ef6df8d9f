//! Named formats of strings.

use base64::Engine as _;

use crate::error::EvalError;
use crate::value::{Meter, Timestamp, Value};

use super::url::Url;
use super::{Outcome, Table, names};

/// A format that strings may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the library")]
pub enum Format {
    Dns1123Label,
    Dns1123Subdomain,
    Dns1035Label,
    QualifiedName,
    Dns1123LabelPrefix,
    Dns1123SubdomainPrefix,
    Dns1035LabelPrefix,
    LabelValue,
    Uri,
    Uuid,
    Byte,
    Date,
    Datetime,
}

/// The names by which expressions know formats.
const NAMES: &[(&str, Format)] = &[
    ("dns1123Label", Format::Dns1123Label),
    ("dns1123Subdomain", Format::Dns1123Subdomain),
    ("dns1035Label", Format::Dns1035Label),
    ("qualifiedName", Format::QualifiedName),
    ("dns1123LabelPrefix", Format::Dns1123LabelPrefix),
    ("dns1123SubdomainPrefix", Format::Dns1123SubdomainPrefix),
    ("dns1035LabelPrefix", Format::Dns1035LabelPrefix),
    ("labelValue", Format::LabelValue),
    ("uri", Format::Uri),
    ("uuid", Format::Uuid),
    ("byte", Format::Byte),
    ("date", Format::Date),
    ("datetime", Format::Datetime),
];

pub(super) const FUNCTIONS: Table = &[
    ("format.dns1123Label", &["format.dns1123Label () -> Format"], |_, _| {
        Ok(Value::Format(Format::Dns1123Label))
    }),
    ("format.dns1123Subdomain", &["format.dns1123Subdomain () -> Format"], |_, _| {
        Ok(Value::Format(Format::Dns1123Subdomain))
    }),
    ("format.dns1035Label", &["format.dns1035Label () -> Format"], |_, _| {
        Ok(Value::Format(Format::Dns1035Label))
    }),
    ("format.qualifiedName", &["format.qualifiedName () -> Format"], |_, _| {
        Ok(Value::Format(Format::QualifiedName))
    }),
    ("format.dns1123LabelPrefix", &["format.dns1123LabelPrefix () -> Format"], |_, _| {
        Ok(Value::Format(Format::Dns1123LabelPrefix))
    }),
    ("format.dns1123SubdomainPrefix", &["format.dns1123SubdomainPrefix () -> Format"], |_, _| {
        Ok(Value::Format(Format::Dns1123SubdomainPrefix))
    }),
    ("format.dns1035LabelPrefix", &["format.dns1035LabelPrefix () -> Format"], |_, _| {
        Ok(Value::Format(Format::Dns1035LabelPrefix))
    }),
    ("format.labelValue", &["format.labelValue () -> Format"], |_, _| Ok(Value::Format(Format::LabelValue))),
    ("format.uri", &["format.uri () -> Format"], |_, _| Ok(Value::Format(Format::Uri))),
    ("format.uuid", &["format.uuid () -> Format"], |_, _| Ok(Value::Format(Format::Uuid))),
    ("format.byte", &["format.byte () -> Format"], |_, _| Ok(Value::Format(Format::Byte))),
    ("format.date", &["format.date () -> Format"], |_, _| Ok(Value::Format(Format::Date))),
    ("format.datetime", &["format.datetime () -> Format"], |_, _| Ok(Value::Format(Format::Datetime))),
    ("format.named", &["format-named (string) -> optional(Format)"], named),
    ("validate", &["format-validate Format.(string) -> optional(list(string))"], validate),
];

impl Format {
    /// Characters of the longest pattern that it stands for, from which the cost of checking is computed.
    pub(crate) fn pattern_size(self) -> u64 {
        match self {
            Self::Dns1123Label | Self::Dns1035Label | Self::Dns1123LabelPrefix | Self::Dns1035LabelPrefix => {
                30
            }
            Self::Dns1123Subdomain | Self::Dns1123SubdomainPrefix | Self::QualifiedName => 60,
            Self::LabelValue => 40,
            Self::Uri => 1103,
            Self::Uuid => 70,
            Self::Byte => 84,
            Self::Date | Self::Datetime => 71,
        }
    }

    /// What is wrong with `text`.
    fn problems(self, text: &str) -> Option<Vec<String>> {
        let unless = |good: bool, problem: &str| (!good).then(|| vec![problem.to_owned()]);
        match self {
            Self::Dns1123Label => names::dns1123_label(text, false),
            Self::Dns1123Subdomain => names::dns1123_subdomain(text, false),
            Self::Dns1035Label => names::dns1035_label(text, false),
            Self::QualifiedName => names::qualified_name(text),
            Self::Dns1123LabelPrefix => names::dns1123_label(text, true),
            Self::Dns1123SubdomainPrefix => names::dns1123_subdomain(text, true),
            Self::Dns1035LabelPrefix => names::dns1035_label(text, true),
            Self::LabelValue => names::label_value(text),
            Self::Uri => Url::parse(text).err().map(|problem| vec![problem]),
            Self::Uuid => unless(is_uuid(text), "does not match the UUID format"),
            Self::Byte => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                unless(!text.is_empty() && decoded.is_ok(), "invalid base64")
            }
            Self::Date => unless(Timestamp::parse_date(text).is_some(), "invalid date"),
            Self::Datetime => unless(is_datetime(text), "invalid datetime"),
        }
    }
}

/// With dashes between the groups, or some of them, or none.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (i, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        rest = if i > 0 { rest.strip_prefix('-').unwrap_or(rest) } else { rest };
        match rest.get(..length) {
            Some(group) if group.bytes().all(|c| c.is_ascii_hexdigit()) => rest = &rest[length..],
            _ => return false,
        }
    }
    rest.is_empty()
}

fn is_datetime(text: &str) -> bool {
    text.len() > 10 && Timestamp::parse(&text.to_uppercase()).is_some()
}

fn named<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(wanted)] = args else { return Err(EvalError::no_such_overload()) };
    let found = NAMES.iter().find(|(name, _)| *name == &**wanted);
    Ok(found.map_or(Value::Optional(None), |(_, format)| Value::some(Value::Format(*format))))
}

fn validate<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Format(format), Value::String(text)] = args else {
        return Err(EvalError::no_such_overload());
    };
    let problems = format.problems(text);
    Ok(problems.map_or(Value::Optional(None), |problems| {
        Value::some(Value::list(problems.into_iter().map(Value::text).collect()))
    }))
}
