//! EndpointSlice: a part of a Service's endpoints, of one address family.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, age, age_column, items, name_column, text};
use super::{Plain, stored};
use crate::{GroupVersion, Kind, Object, Row, Scope};

pub(super) fn row() -> Kind {
    let gv = GroupVersion::fixed("discovery.k8s.io", "v1");
    Kind {
        columns: vec![
            name_column(),
            text("AddressType", "Kind of the addresses: IPv4, IPv6 or FQDN."),
            text("Ports", "Ports of every endpoint."),
            text("Endpoints", "Addresses of the endpoints, ready or not."),
            age_column(),
        ],
        print,
        counts_generations: true,
        ..stored(gv, "io.k8s.api.discovery.v1.EndpointSlice", Scope::Namespaced, Plain)
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
