//! Checks of selectors as objects have them.

use serde_json::Value;

use crate::cells::str_of;
use crate::names::Form;
use crate::{FieldError, FieldErrors};

/// Whether values of labels in a selector must be right. They were not always looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// They must.
    Checked,
    /// They need not.
    Tolerated,
}

/// Checks a `metav1.LabelSelector`.
pub fn validate(path: &str, selector: &Value, values: Values) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        let at = format!("{path}.matchLabels");
        errors.extend(Form::QualifiedName.check(&at, key));
        errors.extend(Form::LabelValue.check(&at, value.as_str().unwrap_or_default()));
    }
    for (index, expression) in items(selector, "matchExpressions").iter().enumerate() {
        errors.extend(validate_expression(&format!("{path}.matchExpressions[{index}]"), expression, values));
    }
    errors
}

fn validate_expression(path: &str, expression: &Value, values: Values) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let given: Vec<&str> = items(expression, "values").iter().filter_map(Value::as_str).collect();
    match str_of(expression, "operator") {
        "In" | "NotIn" if given.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(format!("{path}.values"), why));
        }
        "Exists" | "DoesNotExist" if !given.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(format!("{path}.values"), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(format!("{path}.operator"), other, why));
        }
    }
    errors.extend(Form::QualifiedName.check(&format!("{path}.key"), str_of(expression, "key")));
    if values == Values::Checked {
        for (index, value) in given.iter().enumerate() {
            errors.extend(Form::LabelValue.check(&format!("{path}.values[{index}]"), value));
        }
    }
    errors
}

fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_operators_and_values_are_checked() {
        let check = |selector: Value, values: Values, expected: &[&str]| {
            let errors = validate("s", &selector, values);
            assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), expected);
        };
        let expression = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "k", "operator": operator, "values": values}]});
        check(json!({"matchLabels": {"a": "b"}}), Values::Checked, &[]);
        check(json!({"matchLabels": {"a b": "-"}}), Values::Checked, &["s.matchLabels", "s.matchLabels"]);
        check(expression("In", &["a"]), Values::Checked, &[]);
        check(expression("In", &["-"]), Values::Checked, &["s.matchExpressions[0].values[0]"]);
        check(expression("In", &["-"]), Values::Tolerated, &[]);
        check(expression("NotIn", &[]), Values::Checked, &["s.matchExpressions[0].values"]);
        check(expression("Exists", &["a"]), Values::Checked, &["s.matchExpressions[0].values"]);
        check(expression("Like", &[]), Values::Checked, &["s.matchExpressions[0].operator"]);
    }
}
