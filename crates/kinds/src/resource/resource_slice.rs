//! ResourceSlice: devices that a driver offers, on a node or for several.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeSelector;
use serde_json::{Map, Value, json};
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::cells::{items, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Selectable, Strategy,
};
use skiff_schema::Schema;

use super::devices;
use crate::core::pod;
use crate::groups::RESOURCE;
use crate::row::stored;
use crate::shared::check::{driver_name, immutable};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Node", "The node that the devices are on."),
            text("Driver", "The driver that offers them."),
            text("Pool", "The pool that the slice is a part of."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        selectable: vec![
            Selectable::fixed("spec.driver", |object| object.str(&["spec", "driver"]).to_owned()),
            Selectable::indexed("spec.nodeName", |object| object.str(&["spec", "nodeName"]).to_owned()),
        ]
        .into(),
        ..stored(schema, RESOURCE, "io.k8s.api.resource.v1.ResourceSlice", Scope::Cluster, SliceStrategy)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([
        object.name().into(),
        object.str(&["spec", "nodeName"]).into(),
        object.str(&["spec", "driver"]).into(),
        object.str(&["spec", "pool", "name"]).into(),
        age(object, now),
    ])
}

const MOST_DEVICES: usize = 128;
/// Of devices with taints, counters or lists.
const MOST_ADVANCED_DEVICES: usize = 64;
/// Attributes and capacities of a device together.
const MOST_ATTRIBUTES: usize = 32;
const MOST_TAINTS: usize = 16;
/// Bytes in the name of a pool.
const LONGEST_POOL: usize = 253;

/// What is special about slices.
struct SliceStrategy;

impl Strategy for SliceStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn unselectable(&self, label: &str) -> String {
        format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {label}")
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    /// What stands for nothing in a slice of a driver that makes no use of them.
    fn prepare_create(&self, _: Context<'_>, _: &mut Object) {}

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        check(object, None)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        check(new, Some(old))
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        let driver = new.str(&["spec", "driver"]);
        if driver.to_lowercase() == driver {
            return Vec::new();
        }
        vec![format!(
            "spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters"
        )]
    }
}

fn check(object: &Object, old: Option<&Object>) -> FieldErrors {
    let spec = object.get(&["spec"]).unwrap_or(&Value::Null);
    let mut errors = driver_name("spec.driver", str_of(spec, "driver"));
    errors.extend(pool(&spec["pool"]));
    if let Some(old) = old {
        for path in [&["spec", "pool", "name"][..], &["spec", "driver"], &["spec", "nodeName"]] {
            errors.extend(immutable(&path.join("."), object.get(path), old.get(path)));
        }
    }
    errors.extend(placed(
        "spec",
        spec,
        &["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"],
        PLACES,
    ));
    if spec["nodeSelector"]["nodeSelectorTerms"].as_array().is_some_and(|terms| terms.len() != 1) {
        let terms = spec["nodeSelector"]["nodeSelectorTerms"].clone();
        let detail = "must have exactly one node selector term";
        errors.push(FieldError::invalid("spec.nodeSelector.nodeSelectorTerms", terms, detail));
    }
    let (counters, list) = (items(object, &["spec", "sharedCounters"]), items(object, &["spec", "devices"]));
    if !spec["sharedCounters"].is_null() && !spec["devices"].is_null() {
        let detail = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid("spec", "", detail));
    }
    let is_advanced = |device: &Value| !device["taints"].is_null() || !device["consumesCounters"].is_null();
    let most = if list.iter().any(is_advanced) { MOST_ADVANCED_DEVICES } else { MOST_DEVICES };
    let each_placed = spec["perDeviceNodeSelection"] == true;
    let check = |path: &str, one: &Value| device(path, one, each_placed);
    errors.extend(devices::set("spec.devices", list, most, check, devices::name_of));
    errors.extend(devices::set("spec.sharedCounters", counters, 8, counter_set, devices::name_of));
    errors
}

fn pool(pool: &Value) -> FieldErrors {
    const NAME: &str = "spec.pool.name";
    let mut errors = FieldErrors::new();
    match str_of(pool, "name") {
        "" => errors.push(FieldError::required(NAME, "")),
        name => {
            if name.len() > LONGEST_POOL {
                errors.push(FieldError::too_long(NAME, LONGEST_POOL));
            }
            errors.extend(name.split('/').flat_map(|part| Form::Subdomain.check(NAME, part)));
        }
    }
    let number = |field: &str| pool[field].as_i64().unwrap_or_default();
    if number("resourceSliceCount") <= 0 {
        let count = number("resourceSliceCount");
        errors.push(FieldError::invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"));
    }
    if number("generation") < 0 {
        let detail = "must be greater than or equal to zero";
        errors.push(FieldError::invalid("spec.pool.generation", number("generation"), detail));
    }
    errors
}

const PLACES: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
const PLACES_OF_ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// Where devices are: exactly one of these fields says so.
fn placed(path: &str, object: &Value, fields: &[&str], one: &str) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    let mut given = Vec::new();
    for field in fields {
        match &object[*field] {
            Value::String(name) if name.is_empty() => {
                let detail = if path == "spec" {
                    "must be either unset or set to a non-empty string"
                } else {
                    "must not be empty"
                };
                errors.push(FieldError::invalid(at(field), "", detail));
                continue;
            }
            Value::String(name) => errors.extend(Form::Subdomain.check(&at(field), name)),
            Value::Object(_) => {
                let selector: NodeSelector =
                    serde_json::from_value(object[*field].clone()).unwrap_or_default();
                errors.extend(pod::node_selector(&at(field), &selector, pod::Values::Checked));
            }
            Value::Bool(false) => {
                errors.push(FieldError::invalid(at(field), false, "must be either unset or set to true"));
                continue;
            }
            Value::Bool(true) => {}
            _ => continue,
        }
        given.push(format!("`{field}`"));
    }
    match given.len() {
        0 => errors.push(FieldError::required(path, one)),
        1 => {}
        _ => {
            let detail = format!("{one}, but multiple fields are set");
            errors.push(FieldError::invalid(path, format!("{{{}}}", given.join(", ")), detail));
        }
    }
    errors
}

fn device(path: &str, device: &Value, is_placed_alone: bool) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let map = |field: &str| device[field].as_object();
    let mut errors = match str_of(device, "name") {
        "" => [FieldError::required(at("name"), "")].into(),
        name => Form::DnsLabel.check(&at("name"), name),
    };
    let count = map("attributes").map_or(0, Map::len) + map("capacity").map_or(0, Map::len);
    if count > MOST_ATTRIBUTES {
        let detail =
            format!("the total number of attributes and capacities must not exceed {MOST_ATTRIBUTES}");
        errors.push(FieldError::invalid(path, count, detail));
    }
    for (name, value) in map("attributes").into_iter().flatten() {
        errors.extend(devices::qualified(&at("attributes"), name));
        errors.extend(attribute(&format!("{path}.attributes[{name}]"), value));
    }
    for (name, _) in map("capacity").into_iter().flatten() {
        errors.extend(devices::qualified(&at("capacity"), name));
    }
    let taints = device["taints"].as_array().map_or(&[][..], Vec::as_slice);
    errors.extend(devices::each(&at("taints"), taints, MOST_TAINTS, taint));
    const OWN: [&str; 3] = ["nodeName", "nodeSelector", "allNodes"];
    if is_placed_alone {
        errors.extend(placed(path, device, &OWN, PLACES_OF_ONE));
    } else if OWN.iter().any(|field| !device[*field].is_null()) {
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        errors.push(FieldError::invalid(path, Value::Null, detail));
    }
    errors
}

/// The fields in which an attribute may have a value.
const VALUES: [&str; 8] = ["bool", "int", "string", "version", "bools", "ints", "strings", "versions"];

/// An attribute has exactly one value, which may be a list.
fn attribute(path: &str, attribute: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let given: Vec<&str> = VALUES.into_iter().filter(|kind| !attribute[*kind].is_null()).collect();
    for field in &given {
        let at = format!("{path}.{field}");
        let is_version = field.starts_with("version");
        match &attribute[*field] {
            Value::String(text) => errors.extend(attribute_text(&at, text, is_version)),
            Value::Array(items) if items.is_empty() => {
                errors.push(FieldError::invalid(at, json!([]), "must not be empty if specified"));
            }
            Value::Array(items) => {
                let texts =
                    items.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_str()?)));
                let check = |(index, text)| attribute_text(&format!("{at}[{index}]"), text, is_version);
                errors.extend(texts.flat_map(check));
            }
            _ => {}
        }
    }
    match given.len() {
        0 => errors.push(FieldError::invalid(path, "", "exactly one value must be specified")),
        1 => {}
        _ => errors.push(FieldError::invalid(path, json!(attribute), "exactly one value must be specified")),
    }
    errors
}

fn attribute_text(path: &str, text: &str, is_version: bool) -> FieldErrors {
    const LONGEST: usize = 64;
    let mut errors = FieldErrors::new();
    if is_version && !is_semantic_version(text) {
        let detail = "must be a string compatible with semver.org spec 2.0.0";
        errors.push(FieldError::invalid(path, text, detail));
    }
    if text.len() > LONGEST {
        errors.push(FieldError::too_long(path, LONGEST));
    }
    errors
}

/// Whether a text is a version by <https://semver.org> 2.0.0: `1.2.3-rc.1+build.5`.
fn is_semantic_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_pre = |part: &str| is_word(part) && (is_number(part) || part.bytes().any(|b| !b.is_ascii_digit()));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_pre))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn taint(path: &str, taint: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = Form::QualifiedName.check(&at("key"), str_of(taint, "key"));
    if !str_of(taint, "value").is_empty() {
        errors.extend(Form::LabelValue.check(&at("value"), str_of(taint, "value")));
    }
    match str_of(taint, "effect") {
        "" => errors.push(FieldError::required(at("effect"), "")),
        effect => errors.extend(devices::effect(&at("effect"), effect)),
    }
    errors
}

fn counter_set(path: &str, set: &Value) -> FieldErrors {
    let mut errors = match str_of(set, "name") {
        "" => [FieldError::required(format!("{path}.name"), "")].into(),
        name => Form::DnsLabel.check(&format!("{path}.name"), name),
    };
    if set["counters"].as_object().is_none_or(Map::is_empty) {
        errors.push(FieldError::required(format!("{path}.counters"), ""));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};

    fn slice(change: Value) -> Object {
        let mut spec = json!({
            "driver": "d.example.com", "pool": {"name": "p", "resourceSliceCount": 1}, "nodeName": "n",
        });
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        object(json!({ "spec": spec }))
    }

    #[test]
    fn versions_are_semantic() {
        for text in ["0.0.0", "1.2.3", "10.20.30-rc.1+b.007", "1.0.0--x", "1.0.0+01"] {
            assert!(is_semantic_version(text), "{text}");
        }
        for text in
            ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "v1.2.3", "1.2.3+a+b"]
        {
            assert!(!is_semantic_version(text), "{text}");
        }
    }

    #[test]
    fn devices_are_somewhere() {
        let check = |change: Value, expected: &[&str]| {
            assert_eq!(texts(super::check(&slice(change), None)), expected)
        };
        check(json!({"devices": [{"name": "a"}, {"name": "b"}]}), &[]);
        check(json!({"nodeName": null}), &[&format!("spec: Required value: {PLACES}")]);
        check(
            json!({"allNodes": true}),
            &[&format!(
                r#"spec: Invalid value: "{{`nodeName`, `allNodes`}}": {PLACES}, but multiple fields are set"#
            )],
        );
        check(
            json!({"devices": [{"name": "a"}, {"name": "a"}]}),
            &[r#"spec.devices[1]: Duplicate value: "a""#],
        );
    }

    #[test]
    fn a_slice_stays_where_it_is() {
        let errors = super::check(&slice(json!({"nodeName": "m"})), Some(&slice(json!({}))));
        assert_eq!(texts(errors), [r#"spec.nodeName: Invalid value: "m": field is immutable"#]);
    }
}
