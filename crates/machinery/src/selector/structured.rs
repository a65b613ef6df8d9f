//! Label selectors as objects have them (`metav1.LabelSelector`): as text, and what is wrong with them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::Deserialize;
use serde_json::Value;

use super::LabelSelector;
use crate::cells::str_of;
use crate::names::Form;
use crate::{FieldError, FieldErrors};

fn items<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// The text of a selector as Kubernetes writes it: by key, empty when it selects
/// everything. `None` if it has an operator that is none.
pub fn shown(selector: &Value) -> Option<String> {
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let mut parts: Vec<(&str, String)> = labels
        .map(|(key, value)| (key.as_str(), format!("{key}={}", value.as_str().unwrap_or(""))))
        .collect();
    for expression in items(selector, "matchExpressions") {
        let mut values: Vec<&str> = items(expression, "values").filter_map(Value::as_str).collect();
        values.sort_unstable();
        let (key, values) = (str_of(expression, "key"), values.join(","));
        let part = match str_of(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        };
        parts.push((key, part));
    }
    skiff_ordered::sort_by_key(&mut parts, |(key, _)| *key);
    Some(parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(","))
}

/// A selector as JSON with its fields in the order of Go's type.
pub fn written(selector: &Value) -> String {
    let one = |expression: &Value| fields(expression, &["key", "operator", "values"], Value::to_string);
    let list = |value: &Value| {
        let all = value.as_array().into_iter().flatten().map(one);
        format!("[{}]", all.collect::<Vec<_>>().join(","))
    };
    fields(selector, &["matchLabels", "matchExpressions"], |value| match value {
        Value::Array(_) => list(value),
        other => other.to_string(),
    })
}

fn fields(object: &Value, names: &[&str], shown: impl Fn(&Value) -> String) -> String {
    let there =
        names.iter().filter_map(|name| Some((name, object.get(*name).filter(|value| !value.is_null())?)));
    let parts: Vec<String> = there.map(|(name, value)| format!("\"{name}\":{}", shown(value))).collect();
    format!("{{{}}}", parts.join(","))
}

/// Reads a selector; none if something in it is wrong.
pub fn read(selector: &Value) -> Option<LabelSelector> {
    let is_right = validate("", selector, Values::Checked).is_empty();
    let typed = v1::LabelSelector::deserialize(selector).ok().filter(|_| is_right)?;
    LabelSelector::try_from(&typed).ok()
}

/// Whether values of labels in a selector must be right. They were not always looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// They must be such as labels can have.
    Checked,
    /// They may be anything.
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
    for (index, expression) in items(selector, "matchExpressions").enumerate() {
        errors.extend(validate_expression(&format!("{path}.matchExpressions[{index}]"), expression, values));
    }
    errors
}

fn validate_expression(path: &str, expression: &Value, values: Values) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let given: Vec<&str> = items(expression, "values").filter_map(Value::as_str).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_have_the_texts_of_kubernetes() {
        let check = |selector: Value, text: Option<&str>, json: &str| {
            assert_eq!(shown(&selector).as_deref(), text);
            assert_eq!(written(&selector), json);
        };
        check(json!({}), Some(""), "{}");
        check(
            json!({"matchExpressions": [{"values": ["z", "y"], "key": "a", "operator": "In"}], "matchLabels": {"b": "c"}}),
            Some("a in (y,z),b=c"),
            r#"{"matchLabels":{"b":"c"},"matchExpressions":[{"key":"a","operator":"In","values":["z","y"]}]}"#,
        );
        check(
            json!({"matchExpressions": [{"key": "a", "operator": "Like"}]}),
            None,
            r#"{"matchExpressions":[{"key":"a","operator":"Like"}]}"#,
        );
    }
}
