//! Numbers that may also be shares of something: `3` or `25%`.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use super::check::not_negative;

const FORM: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// The share that a text says, in percent.
fn percent(value: &Value) -> Option<i64> {
    let digits = value.as_str()?.strip_suffix('%')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(i64::MAX))
}

/// The number, of whatever it is; 0 for what is neither.
pub(crate) fn number(value: &Value) -> i64 {
    percent(value).or_else(|| value.as_i64()).or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// A number that is not negative, or a share.
pub(crate) fn check(path: &str, value: &Value) -> FieldErrors {
    match value {
        Value::String(_) if percent(value).is_none() => {
            [FieldError::invalid(path, value.clone(), FORM)].into()
        }
        Value::String(_) => FieldErrors::new(),
        number => not_negative(path, number.as_i64().unwrap_or(0)),
    }
}

/// A share of no more than all.
pub(crate) fn at_most_all(path: &str, value: &Value) -> FieldErrors {
    match percent(value) {
        Some(percent) if percent > 100 => {
            [FieldError::invalid(path, value.clone(), "must not be greater than 100%")].into()
        }
        _ => FieldErrors::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::texts;
    use serde_json::json;

    #[test]
    fn shares_and_numbers() {
        let run = |value: Value, size: i64, errors: &[&str]| {
            assert_eq!(number(&value), size);
            let mut found = check("f", &value);
            found.extend(at_most_all("f", &value));
            assert_eq!(texts(found), errors);
        };
        run(json!(3), 3, &[]);
        run(json!("25%"), 25, &[]);
        run(json!(-1), -1, &["f: Invalid value: -1: must be greater than or equal to 0"]);
        run(json!("101%"), 101, &[r#"f: Invalid value: "101%": must not be greater than 100%"#]);
        run(json!("1.5%"), 0, &[&format!("f: Invalid value: \"1.5%\": {FORM}")]);
        run(json!("%"), 0, &[&format!("f: Invalid value: \"%\": {FORM}")]);
    }
}
