//! What the subresource `scale` reads of objects.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use crate::numbers::go_float;

/// Where the subresource `scale` finds its fields: `.spec.replicas` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    spec: String,
    status: String,
    selector: Option<String>,
}

impl ScalePaths {
    /// As `subresources.scale` of a definition names them.
    pub fn new(spec: &str, status: &str, selector: Option<&str>) -> Self {
        Self { spec: spec.to_owned(), status: status.to_owned(), selector: selector.map(str::to_owned) }
    }

    /// Checks the fields of an object.
    pub fn check(&self, object: &Value) -> FieldErrors {
        let mut errors = replicas(object, &self.spec);
        errors.extend(self.check_status(object));
        errors
    }

    /// Checks the fields that a change of the status may change.
    pub fn check_status(&self, object: &Value) -> FieldErrors {
        let mut errors = replicas(object, &self.status);
        if let Some(path) = &self.selector {
            let found = follow(object, path).and_then(|found| match found {
                None => Ok(()),
                Some(Value::String(_)) => Ok(()),
                Some(other) => Err(mismatch(&dotted(path), other, "string")),
            });
            errors.extend(found.err().map(|error| FieldError::invalid(path.as_str(), "", error)));
        }
        errors
    }
}

fn replicas(object: &Value, path: &str) -> FieldErrors {
    let found = follow(object, path).and_then(|found| match found {
        None => Ok(0),
        Some(value) => value.as_i64().ok_or_else(|| mismatch(&dotted(path), value, "int64")),
    });
    let refuse = |count: i64, detail: String| vec![FieldError::invalid(path, count, detail)];
    match found {
        Err(error) => refuse(0, error),
        Ok(count) if count < 0 => refuse(count, "should be a non-negative integer".to_owned()),
        Ok(count) if count > i64::from(i32::MAX) => {
            refuse(count, format!("should be less than or equal to {}", i32::MAX))
        }
        Ok(_) => Vec::new(),
    }
}

fn dotted(path: &str) -> String {
    format!(".{}", path.trim_start_matches('.'))
}

/// What fields by name lead to; none where one is missing.
fn follow<'v>(object: &'v Value, path: &str) -> Result<Option<&'v Value>, String> {
    let path = path.strip_prefix('.').unwrap_or(path);
    let mut value = object;
    let mut read = 0;
    for name in path.split('.') {
        let Value::Object(fields) = value else {
            // Null has no fields, and is not refused for it.
            let missing = value.is_null().then_some(None);
            let before = path.get(..read).unwrap_or(path).trim_end_matches('.');
            return missing.ok_or_else(|| mismatch(&dotted(before), value, "map[string]interface{}"));
        };
        let Some(inner) = fields.get(name) else { return Ok(None) };
        value = inner;
        read += name.len() + 1;
    }
    Ok(Some(value))
}

/// What is said of a value of another type than wanted.
pub(crate) fn mismatch(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, ty) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(is) => (is.to_string(), "bool"),
        Value::Number(number) if number.is_i64() => (number.to_string(), "int64"),
        Value::Number(number) => (go_float(number.as_f64().unwrap_or_default()), "float64"),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (value.to_string(), "[]interface {}"),
        Value::Object(_) => (value.to_string(), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {ty}, expected {wanted}")
}
