//! Label selectors, from text to what objects hold and back.

use serde_json::{Map, Value, json};

/// `a=b,c in (d,e),!f` as a LabelSelector.
pub(crate) fn of_text(text: &str) -> Result<Value, String> {
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for part in parts(text) {
        match requirement(part.trim()).ok_or_else(|| {
            format!(
                "couldn't parse the selector string \"{text}\": unable to parse requirement: \"{}\"",
                part.trim()
            )
        })? {
            Requirement::Equal(key, value) => drop(labels.insert(key, value.into())),
            Requirement::Other(expression) => expressions.push(expression),
        }
    }
    let mut selector = json!({});
    if !labels.is_empty() {
        selector["matchLabels"] = Value::Object(labels);
    }
    if !expressions.is_empty() {
        selector["matchExpressions"] = Value::Array(expressions);
    }
    Ok(selector)
}

enum Requirement {
    Equal(String, String),
    Other(Value),
}

/// The parts between commas that stand in no parentheses.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_u32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let key = |text: &str| {
        let text = text.trim();
        let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        good.then(|| text.to_owned())
    };
    let other = |key: String, operator: &str, values: Option<Vec<&str>>| {
        let mut expression = json!({"key": key, "operator": operator});
        if let Some(values) = values {
            expression["values"] = json!(values);
        }
        Some(Requirement::Other(expression))
    };
    if let Some(name) = part.strip_prefix('!') {
        return other(key(name)?, "DoesNotExist", None);
    }
    if let Some((name, value)) = part.split_once("!=") {
        return other(key(name)?, "NotIn", Some(vec![value.trim()]));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::Equal(key(name)?, value.trim().to_owned()));
    }
    for (word, operator) in [(" notin ", "NotIn"), (" in ", "In")] {
        if let Some((name, values)) = part.split_once(word) {
            let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
            return other(key(name)?, operator, Some(values.split(',').map(str::trim).collect()));
        }
    }
    other(key(part)?, "Exists", None)
}

/// A LabelSelector, or a map of labels, as text.
pub(crate) fn text(selector: &Value) -> String {
    let labels = if selector["matchLabels"].is_object() || selector["matchExpressions"].is_array() {
        &selector["matchLabels"]
    } else {
        selector
    };
    let mut parts: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_selectors() {
        let selector = json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["d", "e"]},
                {"key": "f", "operator": "DoesNotExist"},
                {"key": "g", "operator": "Exists"},
                {"key": "h", "operator": "NotIn", "values": ["i"]},
            ],
        });
        assert_eq!(of_text("a=b,c in (d,e),!f,g,h!=i"), Ok(selector.clone()));
        assert_eq!(text(&selector), "a=b,c in (d,e),!f,g,h notin (i)");
        assert_eq!(text(&json!({"app": "x"})), "app=x");
        assert!(of_text("a b").is_err());
    }
}
