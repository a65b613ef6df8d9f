//! Field errors, worded as `k8s.io/apimachinery/pkg/util/validation/field` words them.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde_json::Value;

use crate::go;

/// Why a field was refused; the text of `reason` in `Status.details.causes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value that must be there is missing.
    Required,
    /// The value is malformed.
    Invalid,
    /// The value is not one of those allowed.
    NotSupported,
    /// The value may not be set here.
    Forbidden,
    /// The value must be unique and is not.
    Duplicate,
    /// The referenced thing does not exist.
    NotFound,
    /// The value is longer than allowed.
    TooLong,
    /// The list has more items than allowed.
    TooMany,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// The server could not tell.
    Internal,
}

impl FieldErrorKind {
    /// The machine-readable cause, e.g. `FieldValueInvalid`.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }

    /// Whether the text repeats the offending value.
    fn shows_value(self) -> bool {
        matches!(
            self,
            Self::Invalid
                | Self::TypeInvalid
                | Self::NotSupported
                | Self::Duplicate
                | Self::NotFound
                | Self::TooMany
        )
    }
}

/// One refused field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Why.
    pub kind: FieldErrorKind,
    /// Path of the field, e.g. `spec.ports[0].port`.
    pub field: String,
    /// The offending value, shown where Kubernetes shows it.
    pub value: Value,
    /// What was expected; may be empty.
    pub detail: String,
    /// How the value is shown.
    pub shown: Shown,
}

/// How a [`FieldError`] shows the offending value, where its kind shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// As JSON.
    #[default]
    Json,
    /// Not at all.
    Hidden,
    /// As this text: JSON with fields in an order that means something.
    Text(String),
}

/// How many errors of an object are told. A body as large as allowed could have a million, whose text would take gigabytes.
pub const MOST_ERRORS: usize = 1000;

/// The refused fields of an object, in the order in which they were found: at most [`MOST_ERRORS`] and one, which says that there
/// are more. What is full takes nothing, and ends the iterators that it is filled from, so that checks end with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    fn is_full(&self) -> bool {
        self.0.len() > MOST_ERRORS
    }

    /// Adds one, if there is room.
    pub fn push(&mut self, error: FieldError) {
        if !self.is_full() {
            self.0.push(error);
        }
    }

    /// All of them in one line, as those who read files are told.
    pub fn listed(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Those that are told; when there are more, an error that says so comes last.
    pub fn told(mut self) -> Self {
        if self.is_full() {
            self.0.truncate(MOST_ERRORS);
            let detail = format!("must have at most {MOST_ERRORS} items");
            self.0.push(
                FieldError::new(FieldErrorKind::TooMany, "errors", Value::Null, detail).without_value(),
            );
        }
        self
    }
}

impl Deref for FieldErrors {
    type Target = [FieldError];

    fn deref(&self) -> &[FieldError] {
        &self.0
    }
}

impl DerefMut for FieldErrors {
    fn deref_mut(&mut self) -> &mut [FieldError] {
        &mut self.0
    }
}

impl Extend<FieldError> for FieldErrors {
    fn extend<I: IntoIterator<Item = FieldError>>(&mut self, errors: I) {
        let room = (MOST_ERRORS + 1).saturating_sub(self.0.len());
        self.0.extend(errors.into_iter().take(room));
    }
}

impl FromIterator<FieldError> for FieldErrors {
    fn from_iter<I: IntoIterator<Item = FieldError>>(errors: I) -> Self {
        let mut all = Self::new();
        all.extend(errors);
        all
    }
}

impl<const N: usize> PartialEq<[FieldError; N]> for FieldErrors {
    fn eq(&self, other: &[FieldError; N]) -> bool {
        self.0 == other
    }
}

impl<const N: usize> From<[FieldError; N]> for FieldErrors {
    fn from(errors: [FieldError; N]) -> Self {
        errors.into_iter().collect()
    }
}

impl From<Vec<FieldError>> for FieldErrors {
    fn from(errors: Vec<FieldError>) -> Self {
        errors.into_iter().collect()
    }
}

impl IntoIterator for FieldErrors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a FieldErrors {
    type Item = &'a FieldError;
    type IntoIter = std::slice::Iter<'a, FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FieldError {
    /// `field: Required value[: detail]`
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, Value::Null, detail)
    }

    /// `field: Invalid value: VALUE[: detail]`
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, value, detail)
    }

    /// `field: Forbidden[: detail]`
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, Value::Null, detail)
    }

    /// `field: Duplicate value: VALUE`
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, value, "")
    }

    /// `field: Unsupported value: VALUE: supported values: "a", "b"`
    pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|text| go::quoted(text)).collect();
        let detail = format!("supported values: {}", list.join(", "));
        Self::new(FieldErrorKind::NotSupported, field, value, detail)
    }

    /// `field: Too many: COUNT: must have at most MOST items`
    pub fn too_many(field: impl Into<String>, count: usize, most: usize) -> Self {
        Self::new(FieldErrorKind::TooMany, field, count, format!("must have at most {most} items"))
    }

    /// `field: Too long: may not be more than MOST bytes`
    pub fn too_long(field: impl Into<String>, most: usize) -> Self {
        let detail = format!("may not be more than {most} bytes");
        Self::new(FieldErrorKind::TooLong, field, Value::Null, detail)
    }

    /// An error of any kind.
    pub fn new(
        kind: FieldErrorKind,
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, field: field.into(), value: value.into(), detail: detail.into(), shown: Shown::Json }
    }

    /// The same without the value.
    #[must_use]
    pub fn without_value(self) -> Self {
        Self { shown: Shown::Hidden, ..self }
    }

    /// The same with this text for the value.
    #[must_use]
    pub fn showing(self, text: impl Into<String>) -> Self {
        Self { shown: Shown::Text(text.into()), ..self }
    }

    /// The text without the field path, as in `Status.details.causes[].message`.
    pub fn body(&self) -> String {
        let mut out = self.kind.text().to_owned();
        match &self.shown {
            Shown::Json if self.kind.shows_value() => {
                let shown = self.value.as_str().map_or_else(|| self.value.to_string(), go::quoted);
                out.push_str(&format!(": {shown}"));
            }
            Shown::Text(text) if self.kind.shows_value() => out.push_str(&format!(": {text}")),
            _ => {}
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_end_where_nobody_is_told_more() {
        let check = |there: usize, made: usize, told: usize, last: &str| {
            let mut count = 0;
            let items = (0..there).flat_map(|i| {
                count += 2;
                let inner = FieldErrors::from([FieldError::required(format!("a[{i}]"), "")]);
                inner.into_iter().chain([FieldError::required(format!("b[{i}]"), "")])
            });
            let errors: FieldErrors = items.collect();
            let listed = errors.told();
            assert_eq!((count, listed.len()), (made, told));
            assert_eq!(listed.last().unwrap().to_string(), last);
        };
        check(2, 4, 4, "b[1]: Required value");
        check(MOST_ERRORS / 2, MOST_ERRORS, MOST_ERRORS, "b[499]: Required value");
        check(400_000, MOST_ERRORS + 2, MOST_ERRORS + 1, "errors: Too many: must have at most 1000 items");
    }

    #[test]
    fn words_errors_as_kubernetes_does() {
        let check = |error: FieldError, text: &str| assert_eq!(error.to_string(), text);
        check(FieldError::required("spec.ports", ""), "spec.ports: Required value");
        check(
            FieldError::invalid("spec.clusterIPs[0]", "10.0.0.9", "may not change once set"),
            r#"spec.clusterIPs[0]: Invalid value: "10.0.0.9": may not change once set"#,
        );
        check(
            FieldError::not_supported("spec.type", "Foo", &["ClusterIP", "NodePort"]),
            r#"spec.type: Unsupported value: "Foo": supported values: "ClusterIP", "NodePort""#,
        );
        check(
            FieldError::invalid("spec", "a", "must be b").without_value(),
            "spec: Invalid value: must be b",
        );
        check(FieldError::invalid("a", "b\u{7}é", "c"), r#"a: Invalid value: "b\aé": c"#);
        check(FieldError::invalid("a", "b", "c").showing("{}"), "a: Invalid value: {}: c");
        check(
            FieldError::duplicate("spec.ports[1].name", "a"),
            r#"spec.ports[1].name: Duplicate value: "a""#,
        );
    }
}
