//! Field selectors: `label=value` terms over the few fields that a kind offers.

use thiserror::Error;

use crate::{Kind, Object};

/// How a term compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldOperator {
    /// `=` or `==`
    Equals,
    /// `!=`
    NotEquals,
}

/// What one field must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's label, e.g. `metadata.name`.
    pub label: String,
    /// Equal or not.
    pub operator: FieldOperator,
    /// What it is compared with; an unset field equals the empty text.
    pub value: String,
}

/// Requirements that must all hold; none at all selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// A selector that cannot be understood, in Kubernetes' words.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FieldSelectorError {
    /// Malformed text.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Syntax {
        /// All of it.
        selector: String,
        /// The part without an operator.
        term: String,
    },
    /// A backslash before something that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A character that needs a backslash before it, by its number.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(u32),
    /// The kind does not offer a field, but others; what it says of that.
    #[error("{0}")]
    Label(String),
    /// The kind offers only the two fields that all kinds offer.
    #[error("{0:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")]
    LabelOfPlainKind(String),
}

impl FieldSelector {
    /// Reads the text of a query parameter; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        let terms = split_terms(text).into_iter().filter(|term| !term.is_empty());
        let requirements = terms.map(|term| requirement(text, term)).collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }

    /// A selector of these requirements.
    pub fn of(requirements: Vec<FieldRequirement>) -> Self {
        Self { requirements }
    }

    /// The requirements, in the order in which they were written.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that a field must have exactly, e.g. the one name that a watch is about.
    pub fn exact(&self, label: &str) -> Option<&str> {
        let fits = |r: &&FieldRequirement| r.label == label && r.operator == FieldOperator::Equals;
        self.requirements.iter().find(fits).map(|r| r.value.as_str())
    }

    /// Checks that the kind offers every field that is named.
    pub fn check(&self, kind: &Kind) -> Result<(), FieldSelectorError> {
        let unknown = |r: &&FieldRequirement| {
            !matches!(r.label.as_str(), "metadata.name" | "metadata.namespace")
                && !kind.selectable.iter().any(|s| s.label == r.label)
        };
        match self.requirements.iter().find(unknown) {
            None => Ok(()),
            Some(r) if kind.selectable.is_empty() && kind.strategy.is_typed() => {
                Err(FieldSelectorError::LabelOfPlainKind(r.label.clone()))
            }
            Some(r) => Err(FieldSelectorError::Label(kind.strategy.unselectable(&r.label))),
        }
    }

    /// Whether an object is selected. A field that the kind does not offer counts as empty.
    pub fn matches(&self, kind: &Kind, object: &Object) -> bool {
        self.requirements.iter().all(|r| {
            let equal = match r.label.as_str() {
                "metadata.name" => object.name() == r.value,
                "metadata.namespace" => object.namespace() == r.value,
                label => match kind.selectable.iter().find(|s| s.label == label) {
                    Some(selectable) => selectable.value(object) == r.value,
                    None => r.value.is_empty(),
                },
            };
            equal == (r.operator == FieldOperator::Equals)
        })
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn requirement(selector: &str, term: &str) -> Result<FieldRequirement, FieldSelectorError> {
    const OPERATORS: &[(&str, FieldOperator)] =
        &[("!=", FieldOperator::NotEquals), ("==", FieldOperator::Equals), ("=", FieldOperator::Equals)];
    let found = term.char_indices().find_map(|(i, _)| {
        let (text, operator) = OPERATORS.iter().find(|(text, _)| term[i..].starts_with(text))?;
        Some((&term[..i], *operator, &term[i + text.len()..]))
    });
    let Some((label, operator, value)) = found else {
        return Err(FieldSelectorError::Syntax { selector: selector.to_owned(), term: term.to_owned() });
    };
    Ok(FieldRequirement { label: label.to_owned(), operator, value: unescape(value)? })
}

fn unescape(text: &str) -> Result<String, FieldSelectorError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                Some(other) => return Err(FieldSelectorError::Escape(format!("\\{other}"))),
                None => return Err(FieldSelectorError::Escape("\\".to_owned())),
            },
            ',' | '=' => return Err(FieldSelectorError::Unescaped(u32::from(c))),
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_terms() {
        let check = |text: &str, expected: &[(&str, bool, &str)]| {
            let selector = FieldSelector::parse(text).unwrap();
            let got: Vec<_> = selector
                .requirements()
                .iter()
                .map(|r| (r.label.as_str(), r.operator == FieldOperator::Equals, r.value.as_str()))
                .collect();
            assert_eq!(got, expected, "{text}");
        };
        check("", &[]);
        check("metadata.name=a", &[("metadata.name", true, "a")]);
        check("a==b,c!=d", &[("a", true, "b"), ("c", false, "d")]);
        check("a=", &[("a", true, "")]);
        check(r"a=b\,c\=d", &[("a", true, "b,c=d")]);
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let check = |text: &str, error: &str| {
            assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), error);
        };
        check("a", "invalid selector: 'a'; can't understand 'a'");
        check("a=b=c", "invalid field selector: unescaped character in value: 61");
        check(r"a=\n", r"invalid field selector: invalid escape sequence: \n");
    }
}
