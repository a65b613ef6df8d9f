//! Simple paths to fields that a schema describes: `.spec.color`, `.spec.labels['a.b']`.

use thiserror::Error;

use crate::model::{Additional, Structural};

/// Whether a path may name fields in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `.a['b']`
    Brackets,
    /// `.a.b` alone.
    Dots,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldPathError {
    /// No field of the schema has that name.
    #[error("does not refer to a valid field")]
    Unknown,
    /// Brackets where there may be none.
    #[error("array notation is not allowed")]
    Brackets,
    /// Something should follow.
    #[error("unexpected end of JSON path")]
    End,
    /// A name in brackets is to be quoted.
    #[error("expected single quoted string but got {0}")]
    Unquoted(String),
    /// A quoted name has an escape that is none.
    #[error("invalid string literal: invalid escape char {0}")]
    Escape(String),
    /// A bracket is open.
    #[error("expected ] but got {0}")]
    Unclosed(String),
    /// A step starts with a dot or a bracket.
    #[error("expected [ or . but got: {0}")]
    Start(String),
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field.
    Field(String),
    /// An entry of a map.
    Key(String),
}

impl Step {
    /// The name of the field or entry.
    pub fn name(&self) -> &str {
        match self {
            Self::Field(name) | Self::Key(name) => name,
        }
    }
}

/// A path and the schema of what it leads to.
pub type Resolved<'s> = (Vec<Step>, Option<&'s Structural>);

/// The text of a path in messages: `spec.labels[a.b]`.
pub fn display(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        match step {
            Step::Field(name) => {
                out.push_str(if out.is_empty() { "" } else { "." });
                out.push_str(name);
            }
            Step::Key(name) => out.push_str(&format!("[{name}]")),
        }
    }
    out
}

/// Follows a path. The schema is none behind an entry of which nothing is known.
pub fn resolve<'s>(
    path: &str,
    schema: &'s Structural,
    notation: Notation,
) -> Result<Resolved<'s>, FieldPathError> {
    let mut tokens = Tokens(path);
    let (mut steps, mut schema) = (Vec::new(), Some(schema));
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or(FieldPathError::End)?.to_owned(),
            "[" if notation == Notation::Dots => return Err(FieldPathError::Brackets),
            "[" => {
                let quoted = tokens.next().ok_or(FieldPathError::End)?;
                let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                unescape(inner.ok_or_else(|| FieldPathError::Unquoted(quoted.to_owned()))?)?
            }
            other => return Err(FieldPathError::Start(other.to_owned())),
        };
        let current = schema.ok_or(FieldPathError::Unknown)?;
        if current.properties.is_empty() {
            schema = match &current.additional {
                Additional::Unstated => return Err(FieldPathError::Unknown),
                Additional::Allowed(_) => None,
                Additional::Schema(schema) => Some(schema),
            };
            steps.push(Step::Key(name));
        } else {
            schema = Some(current.properties.get(&name).ok_or(FieldPathError::Unknown)?);
            steps.push(Step::Field(name));
        }
        if token == "[" {
            match tokens.next() {
                Some("]") => {}
                None => return Err(FieldPathError::End),
                Some(other) => return Err(FieldPathError::Unclosed(other.to_owned())),
            }
        }
    }
    Ok((steps, schema))
}

/// Dots and brackets one by one, and what is between them; quoted text is one token.
struct Tokens<'p>(&'p str);

impl<'p> Iterator for Tokens<'p> {
    type Item = &'p str;

    fn next(&mut self) -> Option<&'p str> {
        let text = self.0;
        let first = text.bytes().next()?;
        let end = match first {
            b'.' | b'[' | b']' => 1,
            b'\'' => {
                let bytes = text.as_bytes();
                let closes = |at: &usize| bytes[*at] == b'\'' && bytes[at - 1] != b'\\';
                (1..bytes.len()).find(closes).map_or(text.len(), |at| at + 1)
            }
            _ => text.find(['.', '[', ']']).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

fn unescape(text: &str) -> Result<String, FieldPathError> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        out.push(match letters.next() {
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some(same @ ('\'' | '\\')) => same,
            None => '\\',
            Some(other) => return Err(FieldPathError::Escape(format!("\\{other}"))),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn follows_paths() {
        let schema = Structural::parse(&json!({"properties": {
            "spec": {"properties": {"a": {"type": "string"}, "a.b": {"type": "integer"},
                "map": {"additionalProperties": {"type": "boolean"}}, "any": {"additionalProperties": true}}}}}))
        .unwrap();
        let check = |path: &str, notation, wanted: &str| {
            let got = match resolve(path, &schema, notation) {
                Ok((steps, schema)) => format!("{} {}", display(&steps), schema.map_or("-", |s| s.ty.name())),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, wanted, "{path}");
        };
        use Notation::{Brackets, Dots};
        check(".spec.a", Dots, "spec.a string");
        check(".spec['a.b']", Brackets, "spec.a.b integer");
        check(".spec['a.b']", Dots, "array notation is not allowed");
        check(".spec.map.x", Dots, "spec.map[x] boolean");
        check(".spec.any.x", Dots, "spec.any[x] -");
        check(".spec.any.x.y", Dots, "does not refer to a valid field");
        check(".spec.map['it\\'s']", Brackets, "spec.map[it's] boolean");
        check(".spec.b", Dots, "does not refer to a valid field");
        check(".spec.a.b", Dots, "does not refer to a valid field");
        check("spec.a", Dots, "expected [ or . but got: spec");
        check(".spec.", Dots, "unexpected end of JSON path");
        check(".spec[a]", Brackets, "expected single quoted string but got a");
        check(".spec['a'", Brackets, "unexpected end of JSON path");
        check(".spec['a'.", Brackets, "expected ] but got .");
        check(".spec['\\q']", Brackets, "invalid string literal: invalid escape char \\q");
    }
}
