//! Endpoints (core/v1): the older list of a Service's addresses.

use jiff::Timestamp;
use serde_json::Value;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;
use crate::shared::check::{self, one_of};
use crate::shared::defaults::list_mut;
use skiff_machinery::cells::{self, NONE, age, age_column, int_of, items, name_column, str_of, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy, addresses,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("Endpoints", "Addresses and ports that are ready."), age_column()],
        print: Printer::Fixed(print),
        deprecation: Some(
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into(),
        ),
        ..stored(schema, CORE, "io.k8s.api.core.v1.Endpoints", Scope::Namespaced, EndpointsStrategy)
            .short(&["ep"])
            .plural("endpoints")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), ready(items(object, &["subsets"])).into(), age(object, now)])
}

/// `ip:port` of the ready addresses, port by port; plain addresses where a subset has no ports.
fn ready(subsets: &[Value]) -> String {
    if subsets.is_empty() {
        return NONE.to_owned();
    }
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut texts = Vec::new();
    for subset in subsets {
        let addresses = list(subset, "addresses");
        let ports = list(subset, "ports");
        if ports.is_empty() {
            texts.extend(addresses.iter().map(|address| str_of(address, "ip").to_owned()));
        }
        for port in &ports {
            let number = int_of(port, "port");
            texts.extend(addresses.iter().map(|address| host_port(str_of(address, "ip"), number)));
        }
    }
    cells::three_of(&texts, "")
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// What is special about Endpoints.
struct EndpointsStrategy;

impl Strategy for EndpointsStrategy {
    fn folder(&self) -> Option<&'static str> {
        Some("services/endpoints")
    }

    fn default(&self, object: &mut Object) {
        for subset in list_mut(object.as_map_mut(), "subsets") {
            for port in list_mut(subset, "ports") {
                crate::shared::defaults::fill_text(port, "protocol", "TCP");
            }
        }
    }

    fn prepare_create(&self, _: Context<'_>, _: &mut Object) {}

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let subsets = items(object, &["subsets"]).iter().enumerate();
        subsets.flat_map(|(index, subset)| validate_subset(&format!("subsets[{index}]"), subset)).collect()
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}

fn validate_subset(path: &str, subset: &Value) -> FieldErrors {
    let list = |key: &str| subset.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut errors = FieldErrors::new();
    if list("addresses").is_empty() && list("notReadyAddresses").is_empty() {
        errors.push(FieldError::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for field in ["addresses", "notReadyAddresses"] {
        for (index, address) in list(field).iter().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            let (field, ip) = (format!("{path}.ip"), str_of(address, "ip"));
            errors.extend(addresses::check_not_special(&field, ip));
            // Kubernetes looks twice, and does not mind zeros the second time.
            if addresses::ip(ip).is_err_and(|why| why == addresses::NOT_AN_IP) {
                errors.push(FieldError::invalid(field, ip, "must be a valid IP address"));
            }
            let names = [("hostname", Form::DnsLabel), ("nodeName", Form::Subdomain)];
            for (field, form) in names {
                let name = str_of(address, field);
                if !name.is_empty() {
                    errors.extend(form.check(&format!("{path}.{field}"), name));
                }
            }
        }
    }
    let ports = list("ports");
    for (index, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let name = str_of(port, "name");
        if !name.is_empty() {
            errors.extend(Form::DnsLabel.check(&format!("{path}.name"), name));
        } else if ports.len() > 1 {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        errors.extend(check::port(&format!("{path}.port"), int_of(port, "port")));
        let protocol = Some(str_of(port, "protocol"));
        errors.extend(one_of(&format!("{path}.protocol"), protocol, &["SCTP", "TCP", "UDP"]));
        if let Some(app) = port["appProtocol"].as_str() {
            errors.extend(Form::QualifiedName.check(&format!("{path}.appProtocol"), app));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prints_ready_addresses() {
        let check = |subsets: Value, text: &str| assert_eq!(ready(subsets.as_array().unwrap()), text);
        check(json!([]), "<none>");
        check(json!([{"notReadyAddresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]), "");
        check(json!([{"addresses": [{"ip": "10.0.0.1"}]}]), "10.0.0.1");
        let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]);
        check(
            json!([{"addresses": addresses, "ports": [{"port": 80}, {"port": 443}]}]),
            "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more...",
        );
    }

    #[test]
    fn checks_subsets() {
        let check = |subset: Value, expected: &[&str]| {
            let errors = validate_subset("s", &subset);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        let addresses = json!([{"ip": "10.0.0.1"}]);
        check(json!({"addresses": addresses, "ports": [{"port": 80, "protocol": "TCP"}]}), &[]);
        check(json!({}), &["s: Required value: must specify `addresses` or `notReadyAddresses`"]);
        check(
            json!({"addresses": [{"ip": "127.0.0.1"}]}),
            &[
                r#"s.addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#,
            ],
        );
        check(
            json!({"addresses": addresses, "ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "name": "b", "protocol": "TCP"}]}),
            &["s.ports[0].name: Required value"],
        );
        let errors = validate_subset(
            "s",
            &json!({"addresses": addresses, "ports": [{"port": 80, "protocol": "TCP", "appProtocol": ""}]}),
        );
        assert!(
            errors[0]
                .to_string()
                .starts_with(r#"s.ports[0].appProtocol: Invalid value: "": name part must be non-empty"#)
        );
    }
}
