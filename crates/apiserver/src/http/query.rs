//! Query parameters.

use percent_encoding::percent_decode_str;
use skiff_catalogue::FieldError;

use crate::errors::{ApiError, Subject};

/// The parameters of a URL, decoded, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Splits `a=b&c=d`.
    pub(crate) fn parse(text: &str) -> Self {
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; empty when it is not there.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.all(key).next().unwrap_or("")
    }

    /// Every value of a parameter.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Every parameter, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A boolean: absent, `0` and `false` are false.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let value = self.all(key).next();
        value.is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "f"))
    }

    /// A number; 400 when it is not one.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, ApiError> {
        match self.get(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::BadRequest(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// Whether nothing is to be written: `dryRun=All`.
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        dry_run(self.all("dryRun"))
    }

    /// How unknown and duplicate fields are treated.
    pub(crate) fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Strict" => Ok(FieldValidation::Strict),
            "Ignore" => Ok(FieldValidation::Ignore),
            other => Err(option_error("fieldValidation", other, &["Ignore", "Warn", "Strict"])),
        }
    }
}

/// Reads the values of a `dryRun` option.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, ApiError> {
    let mut dry = false;
    for value in values {
        match value {
            "All" => dry = true,
            other => return Err(option_error("dryRun", other, &["All"])),
        }
    }
    Ok(dry)
}

fn option_error(field: &str, value: &str, supported: &[&str]) -> ApiError {
    let subject = Subject { group: "meta.k8s.io".into(), kind: "Options".into(), ..Subject::default() };
    ApiError::invalid(subject, vec![FieldError::not_supported(field, value, supported)])
}

/// What happens to unknown and duplicate fields of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped, with a warning.
    Warn,
    /// Refused.
    Strict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_repeats() {
        let query =
            Query::parse("command=sh&command=-c&labelSelector=a%3Db%2Cc&x+y=1+2&watch=1&follow=false");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c"]);
        assert_eq!(query.get("labelSelector"), "a=b,c");
        assert_eq!(query.get("x y"), "1 2");
        assert!(query.flag("watch") && !query.flag("follow") && !query.flag("none"));
    }

    #[test]
    fn refuses_unknown_options() {
        let error = Query::parse("dryRun=Some").dry_run().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"Options.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": supported values: "All""#
        );
    }
}
