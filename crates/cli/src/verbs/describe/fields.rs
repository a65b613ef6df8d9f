//! Objects of any kind: every field that says something.

use serde_json::Value;

/// Fields that say nothing to a reader.
const HIDDEN: [&str; 5] = ["managedFields", "uid", "resourceVersion", "generation", "selfLink"];

/// Every field of an object, for kinds of which nothing more is known.
pub(super) fn describe(object: &Value) -> String {
    let mut text = String::new();
    let metadata = &object["metadata"];
    for (title, value) in [("Name", &metadata["name"]), ("Namespace", &metadata["namespace"])] {
        if let Some(value) = value.as_str() {
            text.push_str(&format!("{:<14}{value}\n", format!("{title}:")));
        }
    }
    for field in
        ["labels", "annotations", "creationTimestamp", "deletionTimestamp", "ownerReferences", "finalizers"]
    {
        write_field(&mut text, field, &metadata[field], 0);
    }
    for (field, value) in object.as_object().into_iter().flatten() {
        if !["metadata", "kind", "apiVersion"].contains(&field.as_str()) {
            write_field(&mut text, field, value, 0);
        }
    }
    text
}

fn write_field(text: &mut String, name: &str, value: &Value, depth: usize) {
    if HIDDEN.contains(&name) {
        return;
    }
    let indent = "  ".repeat(depth);
    let title = title(name, depth);
    match value {
        Value::Null => {}
        Value::Object(map) if map.is_empty() => {}
        Value::Array(list) if list.is_empty() => {}
        Value::Object(map) => {
            text.push_str(&format!("{indent}{title}:\n"));
            map.iter().for_each(|(name, value)| write_field(text, name, value, depth + 1));
        }
        Value::Array(list) => {
            text.push_str(&format!("{indent}{title}:\n"));
            list.iter().for_each(|item| write_item(text, item, depth + 1));
        }
        scalar => text.push_str(&format!("{indent}{title}:  {}\n", plain(scalar))),
    }
}

fn write_item(text: &mut String, item: &Value, depth: usize) {
    let mut lines = String::new();
    match item {
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| write_field(&mut lines, name, value, depth + 1))
        }
        other => lines.push_str(&format!("{}{}\n", "  ".repeat(depth + 1), plain(other))),
    }
    // The first line of an item carries its dash.
    let indent = "  ".repeat(depth);
    text.push_str(&lines.replacen(&format!("{indent}  "), &format!("{indent}- "), 1));
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `clusterIP` → `Cluster IP`. Keys of maps such as labels are left as they are.
fn title(name: &str, depth: usize) -> String {
    if depth > 0 && name.contains(['/', '.', '-', '_']) {
        return name.to_owned();
    }
    let mut out = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        if out.is_empty() {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shows_every_field_once() {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kubia", "namespace": "default", "uid": "u", "labels": {"app.kubernetes.io/x": "y"}},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "protocol": "TCP"}], "clusterIPs": ["10.96.0.7"]},
            "status": {},
        });
        let expected = "Name:         kubia\nNamespace:    default\nLabels:\n  app.kubernetes.io/x:  y\nSpec:\n  \
                        Cluster IP:  10.96.0.7\n  Cluster IPs:\n    - 10.96.0.7\n  Ports:\n    - Port:  80\n      Protocol:  TCP\n";
        assert_eq!(describe(&object), expected);
    }
}
