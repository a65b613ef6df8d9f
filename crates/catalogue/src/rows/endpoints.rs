//! Endpoints (core/v1): the older list of a Service's addresses.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, NONE, age, age_column, int_of, items, name_column, str_of, text};
use super::{CORE, Plain, stored};
use crate::{Kind, Object, Row, Scope};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![name_column(), text("Endpoints", "Addresses and ports that are ready."), age_column()],
        print,
        deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ..stored(CORE, "io.k8s.api.core.v1.Endpoints", Scope::Namespaced, Plain)
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
}
