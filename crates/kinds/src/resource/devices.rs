//! What claims ask for, and classes say of devices: checks that both share.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use skiff_machinery::cells::str_of;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use super::selector;
use crate::shared::check::driver_name;
use crate::shared::defaults::{existing_mut, fill_number, fill_text, list_mut};
use crate::shared::go;

const MOST: usize = 32;
const MOST_ALTERNATIVES: usize = 8;
/// Bytes of what is told to a driver.
const LARGEST_PARAMETERS: usize = 10 << 10;

/// Fills the defaults of what a claim asks for.
pub(super) fn default(spec: &mut Map<String, Value>) {
    let Some(devices) = existing_mut(spec, "devices") else { return };
    for request in list_mut(devices, "requests") {
        if let Some(exactly) = existing_mut(request, "exactly") {
            default_count(exactly);
        }
        list_mut(request, "firstAvailable").for_each(default_count);
    }
}

fn default_count(request: &mut Map<String, Value>) {
    fill_text(request, "allocationMode", "ExactCount");
    if request.get("allocationMode").is_some_and(|mode| mode == "ExactCount") {
        fill_number(request, "count", 1);
    }
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Checks each of a list that is not too long.
pub(super) fn each(
    path: &str,
    items: &[Value],
    most: usize,
    check: impl Fn(&str, &Value) -> FieldErrors,
) -> FieldErrors {
    if items.len() > most {
        return [FieldError::too_many(path, items.len(), most)].into();
    }
    let at = |index: usize| format!("{path}[{index}]");
    items.iter().enumerate().flat_map(|(index, item)| check(&at(index), item)).collect()
}

/// As [`each`], and that their keys differ.
pub(super) fn set(
    path: &str,
    items: &[Value],
    most: usize,
    check: impl Fn(&str, &Value) -> FieldErrors,
    key: impl Fn(&Value) -> String,
) -> FieldErrors {
    let mut errors = each(path, items, most, check);
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate().filter(|_| items.len() <= most) {
        let key = key(item);
        if !seen.insert(key.clone()) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), key));
        }
    }
    errors
}

/// The name of an object in a list.
pub(super) fn name_of(item: &Value) -> String {
    str_of(item, "name").to_owned()
}

fn text_of(item: &Value) -> String {
    item.as_str().unwrap_or_default().to_owned()
}

/// Checks the spec of a claim at `path`.
pub(super) fn check(path: &str, spec: &Value) -> FieldErrors {
    let devices = &spec["devices"];
    let at = |field: &str| format!("{path}.devices.{field}");
    let names = request_names(devices);
    let refer = |path: &str, item: &Value| request_reference(path, &text_of(item), &names);
    let mut errors = set(&at("requests"), list(devices, "requests"), MOST, request, name_of);
    errors.extend(each(&at("constraints"), list(devices, "constraints"), MOST, |path, one| {
        let mut errors = set(&format!("{path}.requests"), list(one, "requests"), MOST, refer, text_of);
        errors.extend(constraint(path, one));
        errors
    }));
    errors.extend(each(&at("config"), list(devices, "config"), MOST, |path, one| {
        let mut errors = set(&format!("{path}.requests"), list(one, "requests"), MOST, refer, text_of);
        errors.extend(configuration(path, one));
        errors
    }));
    errors
}

fn request_names(devices: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for request in list(devices, "requests") {
        let name = name_of(request);
        let below = list(request, "firstAvailable").iter().map(|one| format!("{name}/{}", name_of(one)));
        names.extend(below);
        names.insert(name);
    }
    names
}

fn request_name(path: &str, name: &str) -> FieldErrors {
    Form::DnsLabel.check(path, name)
}

fn request_reference(path: &str, name: &str, names: &BTreeSet<String>) -> FieldErrors {
    let unknown = || {
        let detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        FieldError::invalid(path, name, detail)
    };
    let segments: Vec<&str> = name.split('/').collect();
    if segments.len() > 2 {
        return [unknown()].into();
    }
    let mut errors: FieldErrors =
        segments.into_iter().flat_map(|segment| request_name(path, segment)).collect();
    if !names.contains(name) {
        errors.push(unknown());
    }
    errors
}

fn request(path: &str, request: &Value) -> FieldErrors {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    let mut errors = request_name(&format!("{path}.name"), str_of(request, "name"));
    let (exactly, first) = (&request["exactly"], list(request, "firstAvailable"));
    match (exactly.is_object(), first.is_empty()) {
        (false, true) => errors.push(FieldError::required(path, ONE)),
        (true, false) => {
            let detail = format!("{ONE}, but multiple fields are set");
            errors.push(FieldError::invalid(path, Value::Null, detail));
        }
        (true, true) => errors.extend(wanted(&format!("{path}.exactly"), exactly)),
        (false, false) => {
            let alternative = |path: &str, one: &Value| {
                let mut errors = request_name(&format!("{path}.name"), str_of(one, "name"));
                errors.extend(wanted(path, one));
                errors
            };
            let at = format!("{path}.firstAvailable");
            errors.extend(set(&at, first, MOST_ALTERNATIVES, alternative, name_of));
        }
    }
    errors
}

/// How many devices of a class are asked for, and which.
fn wanted(path: &str, request: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = match str_of(request, "deviceClassName") {
        "" => [FieldError::required(at("deviceClassName"), "")].into(),
        class => Form::Subdomain.check(&at("deviceClassName"), class),
    };
    errors.extend(selectors(&at("selectors"), request));
    let count = request["count"].as_i64().unwrap_or_default();
    match str_of(request, "allocationMode") {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(at("count"), count, detail));
        }
        "ExactCount" if count <= 0 => {
            errors.push(FieldError::invalid(at("count"), count, "must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        mode => {
            let modes = ["All", "ExactCount"];
            errors.push(FieldError::not_supported(at("allocationMode"), mode, &modes));
        }
    }
    for (index, one) in list(request, "tolerations").iter().enumerate() {
        errors.extend(toleration(&format!("{path}.tolerations[{index}]"), one));
    }
    errors
}

/// The selectors of an object, at `path`.
pub(super) fn selectors(path: &str, object: &Value) -> FieldErrors {
    each(path, list(object, "selectors"), MOST, selector::check)
}

fn toleration(path: &str, one: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let (key, value) = (str_of(one, "key"), str_of(one, "value"));
    let mut errors = FieldErrors::new();
    if !key.is_empty() {
        errors.extend(Form::QualifiedName.check(&at("key"), key));
    }
    match str_of(one, "operator") {
        "Exists" if !value.is_empty() => {
            errors.push(FieldError::invalid(at("value"), value, "must be empty for operator `Exists`"));
        }
        "Exists" => {}
        "Equal" => errors.extend(Form::LabelValue.check(&at("value"), value)),
        "" => errors.push(FieldError::required(at("operator"), "")),
        other => errors.push(FieldError::not_supported(at("operator"), other, &["Equal", "Exists"])),
    }
    errors.extend(effect(&at("effect"), str_of(one, "effect")));
    errors
}

/// What a taint does; nothing is fine.
pub(super) fn effect(path: &str, effect: &str) -> FieldErrors {
    let known = ["NoExecute", "NoSchedule", "None"];
    if effect.is_empty() || known.contains(&effect) {
        return FieldErrors::new();
    }
    [FieldError::not_supported(path, effect, &known)].into()
}

fn constraint(path: &str, one: &Value) -> FieldErrors {
    for field in ["matchAttribute", "distinctAttribute"] {
        if let Some(name) = one[field].as_str() {
            return fully_qualified(&format!("{path}.{field}"), name);
        }
    }
    let detail =
        r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#;
    [FieldError::required(path, detail)].into()
}

fn fully_qualified(path: &str, name: &str) -> FieldErrors {
    let mut errors = qualified(path, name);
    if !name.contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(path, name, detail));
    }
    errors
}

/// The name of an attribute or a capacity: an identifier, with the domain of a driver or not.
pub(super) fn qualified(path: &str, name: &str) -> FieldErrors {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [identifier] => self::identifier(path, identifier),
        [domain, identifier] => {
            let mut errors = match domain {
                "" => [FieldError::invalid(path, "", "the domain must not be empty")].into(),
                domain => driver_name(path, domain),
            };
            match identifier {
                "" => errors.push(FieldError::invalid(path, "", "the name must not be empty")),
                identifier => errors.extend(self::identifier(path, identifier)),
            }
            errors
        }
        _ => FieldErrors::new(),
    }
}

/// An identifier of C, not too long.
fn identifier(path: &str, name: &str) -> FieldErrors {
    const LONGEST: usize = 32;
    const FORM: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
    let mut errors = FieldErrors::new();
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(path, LONGEST));
    }
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        errors.push(FieldError::invalid(path, name, FORM));
    }
    errors
}

/// What is told to a driver.
pub(super) fn configuration(path: &str, one: &Value) -> FieldErrors {
    let at = format!("{path}.opaque");
    let Some(opaque) = one.get("opaque").filter(|opaque| opaque.is_object()) else {
        return [FieldError::required(at, "")].into();
    };
    let mut errors = driver_name(&format!("{at}.driver"), str_of(opaque, "driver"));
    let parameters = format!("{at}.parameters");
    match &opaque["parameters"] {
        Value::Null => errors.push(FieldError::required(parameters, "")),
        value if value.to_string().len() > LARGEST_PARAMETERS => {
            errors.push(FieldError::too_long(parameters, LARGEST_PARAMETERS));
        }
        Value::Object(_) => {}
        _ => errors.push(FieldError::invalid(parameters, "<value omitted>", "must be a valid JSON object")),
    }
    errors
}

/// The spec of a claim as Kubernetes' own type has it.
pub(super) fn shown(spec: &Value) -> String {
    let devices = &spec["devices"];
    let selector = |one: &Value| {
        let cel = |cel: &Value| go::object(&[("Expression", go::text(cel, "expression"))]);
        go::object(&[("CEL", go::optional(one, "cel", cel))])
    };
    let common = |one: &Value| {
        vec![
            ("DeviceClassName", go::text(one, "deviceClassName")),
            ("Selectors", go::list(one, "selectors", selector)),
            ("AllocationMode", go::text(one, "allocationMode")),
            ("Count", one["count"].as_i64().unwrap_or_default().to_string()),
        ]
    };
    let rest = |one: &Value| {
        let toleration = |one: &Value| {
            go::object(&[
                ("Key", go::text(one, "key")),
                ("Operator", go::text(one, "operator")),
                ("Value", go::text(one, "value")),
                ("Effect", go::text(one, "effect")),
                ("TolerationSeconds", go::plain(one, "tolerationSeconds")),
            ])
        };
        let capacity = |one: &Value| go::object(&[("Requests", go::plain(one, "requests"))]);
        vec![
            ("Tolerations", go::list(one, "tolerations", toleration)),
            ("Capacity", go::optional(one, "capacity", capacity)),
        ]
    };
    let exactly = |one: &Value| {
        let admin = vec![("AdminAccess", go::plain(one, "adminAccess"))];
        go::object(&[common(one), admin, rest(one)].concat())
    };
    let alternative =
        |one: &Value| go::object(&[vec![("Name", go::text(one, "name"))], common(one), rest(one)].concat());
    let request = |one: &Value| {
        go::object(&[
            ("Name", go::text(one, "name")),
            ("Exactly", go::optional(one, "exactly", exactly)),
            ("FirstAvailable", go::list(one, "firstAvailable", alternative)),
        ])
    };
    let constraint = |one: &Value| {
        go::object(&[
            ("Requests", go::plain(one, "requests")),
            ("MatchAttribute", go::plain(one, "matchAttribute")),
            ("DistinctAttribute", go::plain(one, "distinctAttribute")),
        ])
    };
    let configuration = |one: &Value| {
        let opaque = |opaque: &Value| {
            go::object(&[
                ("Driver", go::text(opaque, "driver")),
                ("Parameters", go::plain(opaque, "parameters")),
            ])
        };
        go::object(&[
            ("Requests", go::plain(one, "requests")),
            ("Opaque", go::optional(one, "opaque", opaque)),
        ])
    };
    let devices = go::object(&[
        ("Requests", go::list(devices, "requests", request)),
        ("Constraints", go::list(devices, "constraints", constraint)),
        ("Config", go::list(devices, "config", configuration)),
    ]);
    go::object(&[("Devices", devices)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::texts;

    fn found(mut spec: Value) -> Vec<String> {
        default(spec.as_object_mut().unwrap());
        texts(check("spec", &spec))
    }

    #[test]
    fn requests_are_for_devices_of_a_class() {
        let check = |request: Value, expected: &[&str]| {
            assert_eq!(found(json!({"devices": {"requests": [request]}})), expected);
        };
        check(json!({"name": "r", "exactly": {"deviceClassName": "c.example.com"}}), &[]);
        check(
            json!({"name": "r"}),
            &[
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ],
        );
        check(
            json!({"name": "r", "exactly": {"allocationMode": "All", "count": 2}}),
            &[
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
                "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
            ],
        );
    }

    #[test]
    fn constraints_and_configurations_are_of_requests_of_the_claim() {
        let request = json!({"name": "r", "firstAvailable": [{"name": "a", "deviceClassName": "c"}]});
        let spec = |name: &str| {
            json!({"devices": {
                "requests": [request], "constraints": [{"requests": [name], "matchAttribute": "a.example.com/b"}],
            }})
        };
        assert_eq!(found(spec("r")), [""; 0]);
        assert_eq!(found(spec("r/a")), [""; 0]);
        assert_eq!(found(spec("s")).len(), 1);
    }

    #[test]
    fn a_spec_is_shown_as_a_whole() {
        let mut spec = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "d"}}]}});
        default(spec.as_object_mut().unwrap());
        assert_eq!(
            shown(&spec),
            concat!(
                r#"{"Devices":{"Requests":[{"Name":"r","Exactly":{"DeviceClassName":"d","Selectors":null,"#,
                r#""AllocationMode":"ExactCount","Count":1,"AdminAccess":null,"Tolerations":null,"Capacity":null},"#,
                r#""FirstAvailable":null}],"Constraints":null,"Config":null}}"#,
            )
        );
    }
}
