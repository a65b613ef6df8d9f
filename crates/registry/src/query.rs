//! Query parameters.

use std::num::IntErrorKind;
use std::time::Duration;

use skiff_machinery::{FieldError, FieldErrors};

use crate::errors::{ApiError, Subject};

/// The parameters of a URL, decoded, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits `a=b&c=d`.
    pub fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter; empty when it is not there.
    pub fn get(&self, key: &str) -> &str {
        self.all(key).next().unwrap_or("")
    }

    /// Every value of a parameter.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Every parameter, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A boolean: absent, `0` and `false` are false.
    pub fn flag(&self, key: &str) -> bool {
        let value = self.all(key).next();
        value.is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "f"))
    }

    /// A number; 400 when it is not one.
    pub fn number(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.all(key).next() else { return Ok(None) };
        text.parse().map(Some).map_err(|error: std::num::ParseIntError| {
            let is_large = matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
            let why = if is_large { "value out of range" } else { "invalid syntax" };
            ApiError::BadRequest(format!("strconv.ParseInt: parsing {text:?}: {why}"))
        })
    }

    /// Whether nothing is to be written: `dryRun=All`.
    pub fn is_dry_run(&self) -> bool {
        self.all("dryRun").next().is_some()
    }

    /// Checks what the query of a write says: who manages the fields, and whether by force, what is to be written, and what
    /// becomes of unknown fields. `options` is the kind that errors name, e.g. `PatchOptions`.
    pub fn check_writer(&self, options: &str, applies: bool) -> Result<(), ApiError> {
        let mut errors = FieldErrors::new();
        let manager = self.get("fieldManager");
        if applies && manager.is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if options == "PatchOptions" && !applies && self.all("force").next().is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if manager.len() > MAX_MANAGER {
            errors.push(FieldError::too_long("fieldManager", MAX_MANAGER));
        }
        if let Some((at, c)) = manager.char_indices().find(|(_, c)| c.is_control()) {
            let text = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
            errors.push(FieldError::invalid("fieldManager", manager, text));
        }
        errors.extend(what_is_wrong_with_dry_run(&self.all("dryRun").collect::<Vec<_>>()));
        errors.extend(self.how_to_validate().err());
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(options_subject(options), errors)) }
    }

    /// How long the client waits, if it says so and says more than nothing; 400 when it is no duration.
    pub fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        let seconds = match self.get("timeout") {
            "" => Some(0.0),
            text => seconds(text),
        };
        let Some(seconds) = seconds else {
            return Err(ApiError::BadRequest("invalid timeout specified in the request URL".to_owned()));
        };
        Ok(Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero()))
    }

    /// How unknown and duplicate fields are treated, in a query that was checked.
    pub fn field_validation(&self) -> FieldValidation {
        self.how_to_validate().unwrap_or(FieldValidation::Warn)
    }

    fn how_to_validate(&self) -> Result<FieldValidation, FieldError> {
        const SUPPORTED: [&str; 4] = ["", "Ignore", "Strict", "Warn"];
        match self.get("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Strict" => Ok(FieldValidation::Strict),
            "Ignore" => Ok(FieldValidation::Ignore),
            other => Err(FieldError::not_supported("fieldValidation", other, &SUPPORTED)),
        }
    }
}

/// The longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;

/// A `dryRun` option can only be `All`.
pub(crate) fn what_is_wrong_with_dry_run(values: &[&str]) -> Option<FieldError> {
    let right = values.iter().all(|value| *value == "All");
    (!right).then(|| FieldError::not_supported("dryRun", values.to_vec(), &["All"]))
}

/// What errors about options name.
pub(crate) fn options_subject(kind: &str) -> Subject {
    Subject { group: "meta.k8s.io".into(), kind: kind.into(), ..Subject::default() }
}

/// How many seconds a text means that is a duration as Go writes them: numbers with units, e.g. `1m30.5s`.
fn seconds(text: &str) -> Option<f64> {
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0.0);
    }
    let mut sum = None;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number: f64 = rest[..rest.len() - unit.len()].parse().ok()?;
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let each = match &unit[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum = Some(sum.unwrap_or(0.0) + sign * number * each);
        rest = &unit[end..];
    }
    sum
}

/// What happens to unknown and duplicate fields of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
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
        let check = |query: &str, applies: bool, why: &str| {
            let error = Query::parse(query).check_writer("PatchOptions", applies).unwrap_err();
            assert_eq!(error.to_string(), format!(r#"PatchOptions.meta.k8s.io "" is invalid: {why}"#));
        };
        check("dryRun=Some", false, r#"dryRun: Unsupported value: ["Some"]: supported values: "All""#);
        check(
            "dryRun=&fieldValidation=Strict",
            true,
            r#"[fieldManager: Required value: is required for apply patch, dryRun: Unsupported value: [""]: supported values: "All"]"#,
        );
    }

    #[test]
    fn managers_have_names_and_only_applies_force() {
        let check = |query: &str, applies: bool, right: bool| {
            let outcome = Query::parse(query).check_writer("PatchOptions", applies);
            assert_eq!(outcome.is_ok(), right, "{query}: {outcome:?}");
        };
        check("fieldManager=kubectl", false, true);
        check(&format!("fieldManager={}", "m".repeat(129)), false, false);
        check("fieldManager=a%07b", false, false);
        check("force=true", false, false);
        check("force=true", true, false);
        check("force=true&fieldManager=m", true, true);
    }

    #[test]
    fn timeouts_are_durations() {
        let timeout = |text: &str| Query::parse(&format!("timeout={text}")).timeout();
        let check = |text: &str, millis: u64| {
            assert_eq!(timeout(text).unwrap(), Some(Duration::from_millis(millis)), "{text}");
        };
        check("34s", 34_000);
        check("1m30.5s", 90_500);
        check("100ms", 100);
        check("1h", 3_600_000);
        for text in ["", "0", "0s", "-1h"] {
            assert_eq!(timeout(text).unwrap(), None, "{text}");
        }
        for text in ["invalid", "5", "s", "1x", "1s5", ".s", "-"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}
