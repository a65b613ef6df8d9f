//! Who makes the volumes of a class, and what it is told.

use serde_json::Value;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object};

/// The name of what makes volumes, in a field.
pub(super) fn name(field: &str, name: &str) -> FieldErrors {
    if name.is_empty() {
        return [FieldError::required(field, "")].into();
    }
    Form::QualifiedName.check(field, &name.to_lowercase())
}

const MOST_PARAMETERS: usize = 512;
/// Keys and values together, in bytes.
const LARGEST_PARAMETERS: usize = 256 << 10;

/// What is told to those who make or change volumes.
pub(super) fn parameters(object: &Object) -> FieldErrors {
    const FIELD: &str = "parameters";
    let parameters = object.get(&[FIELD]).and_then(Value::as_object);
    if parameters.is_some_and(|parameters| parameters.len() > MOST_PARAMETERS) {
        return [FieldError::too_long(FIELD, MOST_PARAMETERS)].into();
    }
    let mut errors = FieldErrors::new();
    let mut size = 0;
    for (key, value) in parameters.into_iter().flatten() {
        if key.is_empty() {
            errors.push(FieldError::invalid(FIELD, key.as_str(), "field can not be empty."));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > LARGEST_PARAMETERS {
        errors.push(FieldError::too_long(FIELD, LARGEST_PARAMETERS));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::shared::testing::texts;

    #[test]
    fn provisioners_have_qualified_names_in_any_case() {
        assert_eq!(texts(name("p", "kubernetes.io/No-Provisioner")), [""; 0]);
        assert_eq!(texts(name("p", "")), ["p: Required value"]);
    }

    #[test]
    fn parameters_are_bounded() {
        let check = |parameters: Map<String, Value>, expected: &[&str]| {
            let object = Object::from_value(json!({ "parameters": parameters })).unwrap();
            assert_eq!(texts(super::parameters(&object)), expected);
        };
        let many = |count: usize| (0..count).map(|n| (n.to_string(), json!("")));
        check(many(512).collect(), &[]);
        check(many(513).collect(), &["parameters: Too long: may not be more than 512 bytes"]);
        check(
            Map::from_iter([("a".to_owned(), "x".repeat(256 << 10).into())]),
            &["parameters: Too long: may not be more than 262144 bytes"],
        );
        check(
            Map::from_iter([(String::new(), "x".into())]),
            &[r#"parameters: Invalid value: "": field can not be empty."#],
        );
    }
}
