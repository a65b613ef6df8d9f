//! What the subresource `scale` reads of objects.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use crate::numbers::go_float;

/// Where the subresource `scale` finds its fields: `.spec.replicas` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    spec: FieldPath,
    status: FieldPath,
    selector: Option<FieldPath>,
}

/// A path of field names, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldPath {
    /// As the definition has it.
    given: String,
    names: Vec<String>,
}

impl FieldPath {
    fn parse(given: &str) -> Self {
        let names = given.strip_prefix('.').unwrap_or(given).split('.').map(str::to_owned).collect();
        Self { given: given.to_owned(), names }
    }

    /// The first names of it, as errors of accessors show them.
    fn shown(&self, first: usize) -> String {
        format!(".{}", self.names.iter().take(first).map(String::as_str).collect::<Vec<_>>().join("."))
    }

    fn whole(&self) -> String {
        self.shown(self.names.len())
    }

    /// What the fields lead to; none where one is missing.
    fn follow<'v>(&self, object: &'v Value) -> Result<Option<&'v Value>, String> {
        let mut value = object;
        for (read, name) in self.names.iter().enumerate() {
            let Value::Object(fields) = value else {
                // Null has no fields, and is not refused for it.
                let missing = value.is_null().then_some(None);
                return missing.ok_or_else(|| mismatch(&self.shown(read), value, "map[string]interface{}"));
            };
            let Some(inner) = fields.get(name) else { return Ok(None) };
            value = inner;
        }
        Ok(Some(value))
    }

    fn number(&self, object: &Value) -> Result<Option<i64>, String> {
        let whole = |value: &Value| value.as_i64().ok_or_else(|| mismatch(&self.whole(), value, "int64"));
        self.follow(object)?.map(whole).transpose()
    }
}

impl ScalePaths {
    /// As `subresources.scale` of a definition names them.
    pub fn new(spec: &str, status: &str, selector: Option<&str>) -> Self {
        let (spec, status) = (FieldPath::parse(spec), FieldPath::parse(status));
        Self { spec, status, selector: selector.map(FieldPath::parse) }
    }

    /// The wanted replicas of an object; none if it says nothing, an error if it says something else.
    pub fn replicas(&self, object: &Value) -> Result<Option<i64>, String> {
        self.spec.number(object)
    }

    /// The replicas that there are.
    pub fn status_replicas(&self, object: &Value) -> Result<Option<i64>, String> {
        self.status.number(object)
    }

    /// The text of the selector of what is counted.
    pub fn selector(&self, object: &Value) -> Result<Option<String>, String> {
        let Some(path) = &self.selector else { return Ok(None) };
        match path.follow(object)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(mismatch(&path.whole(), other, "string")),
        }
    }

    /// Writes the wanted replicas; objects on the way are made where there are none.
    pub fn set_replicas(&self, object: &mut Value, replicas: i64) -> Result<(), String> {
        let mut value = object;
        for name in &self.spec.names {
            if value.is_null() {
                *value = Value::Object(serde_json::Map::new());
            }
            let Value::Object(fields) = value else {
                return Err(format!(
                    "value cannot be set because {} is not a map[string]interface{{}}",
                    self.spec.whole()
                ));
            };
            value = fields.entry(name.as_str()).or_insert(Value::Null);
        }
        *value = replicas.into();
        Ok(())
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
        if let (Some(path), Err(error)) = (&self.selector, self.selector(object)) {
            errors.push(FieldError::invalid(path.given.as_str(), "", error));
        }
        errors
    }
}

fn replicas(object: &Value, path: &FieldPath) -> FieldErrors {
    let found = path.number(object).map(Option::unwrap_or_default);
    let given = path.given.as_str();
    let refuse = |count: i64, detail: String| FieldErrors::from([FieldError::invalid(given, count, detail)]);
    match found {
        Err(error) => refuse(0, error),
        Ok(count) if count < 0 => refuse(count, "should be a non-negative integer".to_owned()),
        Ok(count) if count > i64::from(i32::MAX) => {
            refuse(count, format!("should be less than or equal to {}", i32::MAX))
        }
        Ok(_) => FieldErrors::new(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replicas_are_read_and_written() {
        let paths = ScalePaths::new(".spec.pods.replicas", ".status.replicas", Some(".status.selector"));
        let mut object = json!({"status": {"replicas": 2, "selector": "a=b"}});
        assert_eq!(paths.replicas(&object), Ok(None));
        assert_eq!(paths.status_replicas(&object), Ok(Some(2)));
        assert_eq!(paths.selector(&object), Ok(Some("a=b".to_owned())));
        assert_eq!(paths.set_replicas(&mut object, 3), Ok(()));
        assert_eq!(object["spec"], json!({"pods": {"replicas": 3}}));
        assert_eq!(paths.replicas(&object), Ok(Some(3)));
        let error = ".spec.pods accessor error: x is of the type string, expected map[string]interface{}";
        assert_eq!(paths.replicas(&json!({"spec": {"pods": "x"}})), Err(error.to_owned()));
        assert!(paths.set_replicas(&mut json!({"spec": 5}), 1).is_err());
    }

    #[test]
    fn bad_values_are_refused() {
        let paths = ScalePaths::new(".spec.replicas", ".status.replicas", Some(".status.selector"));
        let check = |object: Value, wanted: &[&str]| {
            let found: Vec<String> = paths.check(&object).iter().map(ToString::to_string).collect();
            assert_eq!(found, wanted, "{object}");
        };
        check(json!({}), &[]);
        check(
            json!({"spec": {"replicas": 3_000_000_000_i64}, "status": {"replicas": -1, "selector": 5}}),
            &[
                ".spec.replicas: Invalid value: 3000000000: should be less than or equal to 2147483647",
                ".status.replicas: Invalid value: -1: should be a non-negative integer",
                ".status.selector: Invalid value: \"\": .status.selector accessor error: 5 is of the type int64, expected string",
            ],
        );
        check(
            json!({"spec": {"replicas": 1.5}}),
            &[
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: 1.5 is of the type float64, expected int64",
            ],
        );
    }
}
