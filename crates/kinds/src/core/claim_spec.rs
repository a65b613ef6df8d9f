//! What claims and templates of claims ask for: defaults, checks and warnings.

use serde_json::{Map, Value, json};
use skiff_machinery::cells::str_of;
use skiff_machinery::names::Form;
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{FieldError, FieldErrors};

use super::volumes;
use crate::shared::defaults::fill;
use crate::shared::go;

/// Fills the defaults.
pub(crate) fn default(spec: &mut Map<String, Value>) {
    fill(spec, "volumeMode", "Filesystem");
}

/// Gives both fields that say what the volume is filled with what one of them says. Sources of other kinds than were known
/// when there was but one field are ignored in it, unless it was used before; so are those in other namespaces.
pub(super) fn settle_sources(spec: &mut Map<String, Value>, old: Option<&Value>) {
    let is_set = |spec: &Map<String, Value>, field: &str| spec.get(field).is_some_and(Value::is_object);
    let before = old.and_then(Value::as_object);
    let had = |field: &str| before.is_some_and(|old| is_set(old, field));
    let abroad = |source: &Value| !str_of(source, "namespace").is_empty();
    if spec.get("dataSourceRef").is_some_and(abroad) && !had("dataSourceRef") {
        spec.remove("dataSourceRef");
    }
    let is_old = !had("dataSource") && !had("dataSourceRef");
    if is_old && !is_set(spec, "dataSourceRef") && !spec.get("dataSource").is_some_and(is_claim_or_snapshot) {
        spec.remove("dataSource");
    }
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(source), None | Some(Value::Null)) if source.is_object() => {
            spec.insert("dataSourceRef".to_owned(), source);
        }
        (None | Some(Value::Null), Some(source)) if source.is_object() && !abroad(&source) => {
            let mut source = source;
            source.as_object_mut().map(|source| source.remove("namespace"));
            spec.insert("dataSource".to_owned(), source);
        }
        _ => {}
    }
}

fn is_claim_or_snapshot(source: &Value) -> bool {
    matches!(
        (str_of(source, "kind"), str_of(source, "apiGroup")),
        ("PersistentVolumeClaim", "") | ("VolumeSnapshot", "snapshot.storage.k8s.io")
    )
}

/// What is looked at closely. What was wrong before may stay wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strict {
    values: Values,
    groups: bool,
}

impl Default for Strict {
    fn default() -> Self {
        Self { values: Values::Checked, groups: true }
    }
}

impl Strict {
    /// For a claim whose spec was this before.
    pub(super) fn after(old: &Value) -> Self {
        let was_right = selector::validate("", &old["selector"], Values::Checked).is_empty();
        let had_group = |field: &str| old[field]["apiGroup"].is_string();
        Self {
            values: if was_right { Values::Checked } else { Values::Tolerated },
            groups: !had_group("dataSource") && !had_group("dataSourceRef"),
        }
    }
}

/// Checks a spec at `path`.
pub(crate) fn check(path: &str, spec: &Value, strict: Strict) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let modes = spec["accessModes"].as_array().into_iter().flatten();
    let modes: Vec<&str> = modes.filter_map(Value::as_str).collect();
    let mut errors = FieldErrors::new();
    if modes.is_empty() {
        errors.push(FieldError::required(at("accessModes"), "at least 1 access mode is required"));
    }
    errors.extend(selector::validate(&at("selector"), &spec["selector"], strict.values));
    errors.extend(volumes::check_modes(&at("accessModes"), &modes));
    let amount = at("resources[storage]");
    match volumes::parsed(&spec["resources"]["requests"]["storage"]) {
        None => errors.push(FieldError::required(amount, "")),
        Some(wanted) => errors.extend(volumes::positive(&amount, wanted)),
    }
    for field in
        ["storageClassName", "volumeMode", "dataSource", "dataSourceRef", "volumeAttributesClassName"]
    {
        match (field, &spec[field]) {
            ("volumeMode", kind) => errors.extend(volumes::check_kind(&at(field), kind)),
            ("dataSource" | "dataSourceRef", value) if value.is_object() => {
                errors.extend(source(&at(field), value, strict.groups));
                if field == "dataSourceRef" {
                    errors.extend(sources(path, spec));
                }
            }
            (_, Value::String(class)) if !class.is_empty() => {
                errors.extend(Form::Subdomain.check(&at(field), class))
            }
            _ => {}
        }
    }
    errors
}

/// What a volume is filled with.
fn source(path: &str, source: &Value, groups: bool) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let (kind, group) = (str_of(source, "kind"), str_of(source, "apiGroup"));
    let mut errors = FieldErrors::new();
    for field in ["name", "kind"] {
        if str_of(source, field).is_empty() {
            errors.push(FieldError::required(at(field), ""));
        }
    }
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(path, kind, detail));
    }
    if !group.is_empty() && groups {
        errors.extend(Form::Subdomain.check(&at("apiGroup"), group));
    }
    let namespace = str_of(source, "namespace");
    if !namespace.is_empty() {
        errors.extend(Form::DnsLabel.check(&at("namespace"), namespace));
    }
    errors
}

/// Both fields that say what a volume is filled with say the same.
fn sources(path: &str, spec: &Value) -> FieldErrors {
    let (one, other) = (&spec["dataSource"], &spec["dataSourceRef"]);
    let is_same = |field: &&str| one[*field] == other[*field];
    let detail = match one.is_object() {
        true if !str_of(other, "namespace").is_empty() => {
            "may not be specified when dataSourceRef.namespace is specified"
        }
        true if !["apiGroup", "kind", "name"].iter().all(is_same) => "must match dataSourceRef",
        _ => return FieldErrors::new(),
    };
    [FieldError::invalid(path, json!({}), detail)].into()
}

/// Amounts in parts of bytes are warned of.
pub(crate) fn warnings(path: &str, spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for list in ["requests", "limits"] {
        let amount = volumes::parsed(&spec["resources"][list]["storage"]);
        if let Some(amount) = amount.filter(|amount| amount.millis() % 1000 != 0) {
            let text = amount.to_string();
            warnings.push(format!(
                "{path}.resources.{list}[storage]: fractional byte value {text:?} is invalid, must be an integer"
            ));
        }
    }
    warnings
}

/// A spec as Kubernetes' own type has it.
pub(super) fn shown(spec: &Value) -> String {
    let requirement = |one: &Value| {
        let mut fields = vec![("key", go::text(one, "key")), ("operator", go::text(one, "operator"))];
        if !one["values"].is_null() {
            fields.push(("values", go::plain(one, "values")));
        }
        go::object(&fields)
    };
    let selector = |selector: &Value| {
        let mut fields = Vec::new();
        if !selector["matchLabels"].is_null() {
            fields.push(("matchLabels", go::plain(selector, "matchLabels")));
        }
        if !selector["matchExpressions"].is_null() {
            fields.push(("matchExpressions", go::list(selector, "matchExpressions", requirement)));
        }
        go::object(&fields)
    };
    let source = |source: &Value, with_namespace: bool| {
        let mut fields = vec![
            ("APIGroup", go::plain(source, "apiGroup")),
            ("Kind", go::text(source, "kind")),
            ("Name", go::text(source, "name")),
        ];
        if with_namespace {
            fields.push(("Namespace", go::plain(source, "namespace")));
        }
        go::object(&fields)
    };
    let resources = &spec["resources"];
    go::object(&[
        ("AccessModes", go::plain(spec, "accessModes")),
        ("Selector", go::optional(spec, "selector", selector)),
        (
            "Resources",
            go::object(&[
                ("Limits", go::plain(resources, "limits")),
                ("Requests", go::plain(resources, "requests")),
            ]),
        ),
        ("VolumeName", go::text(spec, "volumeName")),
        ("StorageClassName", go::plain(spec, "storageClassName")),
        ("VolumeMode", go::plain(spec, "volumeMode")),
        ("DataSource", go::optional(spec, "dataSource", |one| source(one, false))),
        ("DataSourceRef", go::optional(spec, "dataSourceRef", |one| source(one, true))),
        ("VolumeAttributesClassName", go::plain(spec, "volumeAttributesClassName")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::texts;

    #[test]
    fn both_fields_say_what_a_volume_is_filled_with() {
        let check = |spec: Value, old: Option<Value>, expected: Value| {
            let mut spec = spec.as_object().unwrap().clone();
            settle_sources(&mut spec, old.as_ref());
            assert_eq!(Value::Object(spec), expected);
        };
        let claim = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let other = json!({"apiGroup": "x.io", "kind": "Other", "name": "a"});
        check(json!({"dataSource": claim}), None, json!({"dataSource": claim, "dataSourceRef": claim}));
        check(json!({"dataSource": other}), None, json!({}));
        check(json!({"dataSourceRef": other}), None, json!({"dataSource": other, "dataSourceRef": other}));
        let abroad = json!({"kind": "PersistentVolumeClaim", "name": "a", "namespace": "b"});
        check(json!({"dataSourceRef": abroad}), None, json!({}));
        check(
            json!({"dataSourceRef": abroad}),
            Some(json!({"dataSourceRef": abroad})),
            json!({"dataSourceRef": abroad}),
        );
    }

    #[test]
    fn claims_ask_for_some_storage() {
        let check = |spec: Value, expected: &[&str]| {
            assert_eq!(texts(super::check("s", &spec, Strict::default())), expected)
        };
        check(json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}), &[]);
        check(
            json!({}),
            &[
                "s.accessModes: Required value: at least 1 access mode is required",
                "s.resources[storage]: Required value",
            ],
        );
        check(
            json!({
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "0"}}, "storageClassName": "A",
                "dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}, "volumeMode": "Tape",
                "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"},
            }),
            &[
                r#"s.resources[storage]: Invalid value: "0": must be greater than zero"#,
                concat!(
                    r#"s.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case "#,
                    "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character ",
                    "(e.g. 'example.com', regex used for validation is ",
                    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ),
                r#"s.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem""#,
                "s: Invalid value: {}: must match dataSourceRef",
            ],
        );
    }

    #[test]
    fn parts_of_bytes_are_warned_of() {
        let spec = json!({"resources": {"requests": {"storage": "1500m"}}});
        assert_eq!(
            warnings("spec", &spec),
            [
                r#"spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer"#
            ]
        );
    }
}
