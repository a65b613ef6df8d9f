//! EndpointSlice: a part of a Service's endpoints, of one address family.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::DISCOVERY;
use crate::row::stored;
use crate::shared::check::{self, one_of};
use crate::shared::defaults::{fill, fill_text, list_mut};
use skiff_machinery::cells::{self, age, age_column, items, name_column, str_of, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy, addresses,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("AddressType", "Kind of the addresses: IPv4, IPv6 or FQDN."),
            text("Ports", "Ports of every endpoint."),
            text("Endpoints", "Addresses of the endpoints, ready or not."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, DISCOVERY, "io.k8s.api.discovery.v1.EndpointSlice", Scope::Namespaced, SliceStrategy)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let ports: Vec<String> = items(object, &["ports"]).iter().map(port).collect();
    let addresses = items(object, &["endpoints"]).iter().filter_map(|endpoint| endpoint.get("addresses"));
    let addresses: Vec<String> = addresses
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    cells::row([
        object.name().into(),
        object.str(&["addressType"]).into(),
        cells::three_of(&ports, "<unset>").into(),
        cells::three_of(&addresses, "<unset>").into(),
        age(object, now),
    ])
}

/// The port's number, or `*` for all ports.
fn port(port: &Value) -> String {
    match port.get("port").and_then(Value::as_i64) {
        Some(number) => number.to_string(),
        None => "*".to_owned(),
    }
}

const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
const MOST_HINTS: usize = 8;

/// What is special about EndpointSlices.
struct SliceStrategy;

impl Strategy for SliceStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Object
    }

    fn default(&self, object: &mut Object) {
        for port in list_mut(object.as_map_mut(), "ports") {
            fill(port, "name", "");
            fill_text(port, "protocol", "TCP");
        }
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        drop_topology(object);
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, _: &Object) {
        drop_topology(new);
    }

    fn counts_labels(&self) -> bool {
        true
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_rest(object);
        errors.extend(validate_endpoints(object));
        errors
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = validate_rest(new);
        // Endpoints that stay were valid once.
        if items(new, &["endpoints"]) != items(old, &["endpoints"]) {
            errors.extend(validate_endpoints(new));
        }
        errors.extend(check::immutable("addressType", new.get(&["addressType"]), old.get(&["addressType"])));
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        const MANAGERS: [&str; 2] =
            ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
        let mut warnings = Vec::new();
        if old.is_none() && new.str(&["addressType"]) == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        let manager = new.str(&["metadata", "labels", "endpointslice.kubernetes.io/managed-by"]);
        if !MANAGERS.contains(&manager) {
            for (index, endpoint) in items(new, &["endpoints"]).iter().enumerate() {
                let texts = addresses_of(endpoint).enumerate();
                warnings.extend(texts.filter_map(|(at, text)| {
                    addresses::unusual(&format!("endpoints[{index}].addresses[{at}]"), text)
                }));
            }
        }
        warnings
    }
}

/// Everything but the endpoints.
fn validate_rest(object: &Object) -> FieldErrors {
    let kind = object.str(&["addressType"]);
    let mut errors = one_of("addressType", Some(kind), &["FQDN", "IPv4", "IPv6"]);
    errors.extend(validate_ports(items(object, &["ports"])));
    errors
}

fn validate_endpoints(object: &Object) -> FieldErrors {
    let (endpoints, kind) = (items(object, &["endpoints"]), object.str(&["addressType"]));
    if endpoints.len() > MOST_ENDPOINTS {
        return [FieldError::too_many("endpoints", endpoints.len(), MOST_ENDPOINTS)].into();
    }
    let check = |(index, endpoint)| validate_endpoint(&format!("endpoints[{index}]"), endpoint, kind);
    endpoints.iter().enumerate().flat_map(check).collect()
}

fn addresses_of(endpoint: &Value) -> impl Iterator<Item = &str> {
    endpoint.get("addresses").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn validate_endpoint(path: &str, endpoint: &Value, kind: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = format!("{path}.addresses");
    match addresses_of(endpoint).count() {
        0 => errors.push(FieldError::required(at.clone(), "must contain at least 1 address")),
        count if count > MOST_ADDRESSES => {
            errors.push(FieldError::too_many(at.clone(), count, MOST_ADDRESSES))
        }
        _ => {}
    }
    for (index, address) in addresses_of(endpoint).enumerate() {
        errors.extend(validate_address(&at, index, address, kind));
    }
    let name = |field: &str| endpoint.get(field).and_then(Value::as_str);
    if let Some(node) = name("nodeName") {
        errors.extend(Form::Subdomain.check(&format!("{path}.nodeName"), node));
    }
    if let Some(hostname) = name("hostname") {
        errors.extend(Form::DnsLabel.check(&format!("{path}.hostname"), hostname));
    }
    for (field, form) in [("forZones", Form::LabelValue), ("forNodes", Form::Subdomain)] {
        let hints = endpoint.pointer(&format!("/hints/{field}")).and_then(Value::as_array);
        let hints = hints.map_or(&[][..], Vec::as_slice);
        errors.extend(validate_hints(&format!("{path}.hints.{field}"), hints, form));
        if hints.len() > MOST_HINTS {
            break;
        }
    }
    errors
}

/// What only versions before this one could say of endpoints is not kept.
fn drop_topology(object: &mut Object) {
    list_mut(object.as_map_mut(), "endpoints")
        .for_each(|endpoint| drop(endpoint.remove("deprecatedTopology")));
}

/// The address `index` of the list at `path`. Where the kind is not known, there is nothing to say.
fn validate_address(path: &str, index: usize, address: &str, kind: &str) -> FieldErrors {
    let at = format!("{path}[{index}]");
    if !matches!(kind, "IPv4" | "IPv6") {
        return if kind == "FQDN" { check::domain_name(&at, address) } else { FieldErrors::new() };
    }
    let ip = match addresses::ip(address) {
        Ok(ip) => ip,
        Err(detail) => return [FieldError::invalid(at, address, detail)].into(),
    };
    if kind == "IPv6" && ip.to_string() != address {
        let detail = format!("must be in canonical form (\"{ip}\")");
        return [FieldError::invalid(at, address, detail)].into();
    }
    let mut errors = FieldErrors::new();
    if addresses::family(ip) != kind {
        errors.push(FieldError::invalid(path, address, format!("must be an {kind} address")));
    }
    errors.extend(addresses::check_not_special(&at, address));
    errors
}

fn validate_hints(path: &str, hints: &[Value], form: Form) -> FieldErrors {
    if hints.len() > MOST_HINTS {
        return [FieldError::too_many(path, hints.len(), MOST_HINTS)].into();
    }
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (index, name) in hints.iter().map(|hint| str_of(hint, "name")).enumerate() {
        let path = format!("{path}[{index}].name");
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.as_str(), name));
        }
        errors.extend(form.check(&path, name));
    }
    errors
}

fn validate_ports(ports: &[Value]) -> FieldErrors {
    if ports.len() > MOST_PORTS {
        return [FieldError::too_many("ports", ports.len(), MOST_PORTS)].into();
    }
    let mut errors = FieldErrors::new();
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("ports[{index}].{field}");
        let name = str_of(port, "name");
        if !name.is_empty() {
            errors.extend(Form::DnsLabel.check(&at("name"), name));
        }
        if !names.insert(name) {
            errors.push(FieldError::duplicate(at("name"), name));
        }
        errors.extend(one_of(&at("protocol"), Some(str_of(port, "protocol")), &["SCTP", "TCP", "UDP"]));
        if let Some(app) = port["appProtocol"].as_str() {
            errors.extend(Form::QualifiedName.check(&at("appProtocol"), app));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn checks_endpoints() {
        let check = |endpoint: Value, kind: &str, expected: &[&str]| {
            let errors = validate_endpoint("e", &endpoint, kind);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(json!({"addresses": ["10.0.0.1"]}), "IPv4", &[]);
        check(json!({"addresses": ["a.example"]}), "FQDN", &[]);
        check(json!({}), "IPv4", &["e.addresses: Required value: must contain at least 1 address"]);
        check(
            json!({"addresses": ["fd00::1"]}),
            "IPv4",
            &[r#"e.addresses: Invalid value: "fd00::1": must be an IPv4 address"#],
        );
        check(
            json!({"addresses": ["010.0.0.1"]}),
            "IPv4",
            &[r#"e.addresses[0]: Invalid value: "010.0.0.1": must not have leading 0s"#],
        );
        check(
            json!({"addresses": ["FD00::1"]}),
            "IPv6",
            &[r#"e.addresses[0]: Invalid value: "FD00::1": must be in canonical form ("fd00::1")"#],
        );
        check(
            json!({"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "a"}, {"name": "a"}]}}),
            "IPv4",
            &[r#"e.hints.forZones[1].name: Duplicate value: "a""#],
        );
        check(json!({"addresses": ["10.0.0.1"], "hints": {"forZones": [{}]}}), "IPv4", &[]);
    }

    #[test]
    fn checks_ports() {
        let check = |ports: Value, expected: &[&str]| {
            let mut object = Object::from_value(json!({ "ports": ports })).unwrap();
            SliceStrategy.default(&mut object);
            let errors = validate_ports(items(&object, &["ports"]));
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(json!([{"port": 80}]), &[]);
        check(json!([{}]), &[]);
        check(json!([{"port": 80}, {"port": 81}]), &[r#"ports[1].name: Duplicate value: """#]);
        check(
            json!([{"port": 80, "protocol": "X"}]),
            &[r#"ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP""#],
        );
    }
}
