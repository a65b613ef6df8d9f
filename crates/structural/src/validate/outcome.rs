//! What checks found.

use std::collections::HashSet;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors};

use crate::numbers::shown;
use crate::path::Path;

/// Findings that are kept of one value. More tell a reader nothing; the value stays refused.
const MOST: usize = 1000;

/// The findings of checks and how many checks had none.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    failures: Vec<Failure>,
    texts: HashSet<String>,
    /// Tells of two alternatives that both fail which comes nearer.
    pub(super) matches: usize,
}

/// One finding.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The value's path; none if the finding names the path in its text.
    path: Option<String>,
    text: String,
    wrong: Wrong,
}

/// What is wrong, as far as it is told apart from the text.
#[derive(Clone, Debug)]
pub(super) enum Wrong {
    Required,
    NotAllowed { value: Value, allowed: Vec<Value> },
    TooLong { most: i64 },
    TooMany { actual: i64, most: i64 },
    Type(Value),
    Other(Value),
}

impl Failure {
    /// A finding; `text` makes the message of `PATH in body`.
    pub(super) fn new(path: &Path<'_>, wrong: Wrong, text: impl FnOnce(&str) -> String) -> Self {
        let path = path.to_string();
        let text = text(&format!("{path} in body"));
        Self { path: Some(path), text, wrong }
    }

    pub(super) fn invalid(
        path: &Path<'_>,
        value: impl Into<Value>,
        text: impl FnOnce(&str) -> String,
    ) -> Self {
        Self::new(path, Wrong::Other(value.into()), text)
    }

    /// `PATH in body must be of type WANTED: "found"`
    pub(super) fn wrong_type(path: &Path<'_>, wanted: &str, found: &str) -> Self {
        Self::new(path, Wrong::Type(found.into()), |p| format!("{p} must be of type {wanted}: {found:?}"))
    }

    /// A finding about no field.
    pub(super) fn plain(text: String) -> Self {
        Self { path: None, text, wrong: Wrong::Other("".into()) }
    }

    fn into_error(self, below: Option<&Path<'_>>) -> FieldError {
        let own =
            self.path.as_deref().map(|path| path.strip_prefix('.').unwrap_or(path)).filter(|p| !p.is_empty());
        let path = match (below, own) {
            (None, None) => "<nil>".to_owned(),
            (None, Some(own)) => own.to_owned(),
            (Some(below), None) => below.to_string(),
            (Some(below), Some(own)) => below.child(own).to_string(),
        };
        match self.wrong {
            Wrong::Required => FieldError::required(path, ""),
            Wrong::NotAllowed { value, allowed } => {
                let words: Vec<String> = allowed
                    .iter()
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                    .collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                FieldError::not_supported(path, shown(&value), &words)
            }
            Wrong::TooLong { most } => {
                let unit = if most == 1 { "byte" } else { "bytes" };
                let detail = format!("may not be more than {most} {unit}");
                FieldError::new(FieldErrorKind::TooLong, path, Value::Null, detail)
            }
            Wrong::TooMany { actual, most } => {
                let unit = if most == 1 { "item" } else { "items" };
                let detail = format!("must have at most {most} {unit}");
                FieldError::new(FieldErrorKind::TooMany, path, actual, detail)
            }
            Wrong::Type(value) => {
                FieldError::new(FieldErrorKind::TypeInvalid, path, shown(&value), self.text)
            }
            Wrong::Other(value) => FieldError::invalid(path, shown(&value), self.text),
        }
    }
}

impl Outcome {
    pub(super) fn of(failure: Failure) -> Self {
        let mut outcome = Self::default();
        outcome.fail(failure);
        outcome
    }

    pub(super) fn is_valid(&self) -> bool {
        self.failures.is_empty()
    }

    /// Counts a check that was made.
    pub(super) fn matched(&mut self) {
        self.matches += 1;
    }

    /// Adds a finding, unless its text is there already.
    pub(super) fn fail(&mut self, failure: Failure) {
        if self.failures.len() < MOST && self.texts.insert(failure.text.clone()) {
            self.failures.push(failure);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.matches += other.matches;
        if self.failures.is_empty() {
            self.failures = other.failures;
            self.texts = other.texts;
        } else {
            other.failures.into_iter().for_each(|failure| self.fail(failure));
        }
    }

    /// The same without findings.
    pub(super) fn forgiven(self) -> Self {
        Self { matches: self.matches, ..Self::default() }
    }

    /// The findings as errors of fields at or below a path.
    pub(super) fn into_errors(self, below: Option<&Path<'_>>) -> FieldErrors {
        self.failures.into_iter().map(|failure| failure.into_error(below)).collect()
    }
}
