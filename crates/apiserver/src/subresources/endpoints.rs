//! Ports of Services and the endpoints behind them, as objects say them.

use std::net::SocketAddr;

use serde_json::Value;
use skiff_machinery::Object;

/// Prefix of the EndpointSlices.
pub(crate) const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";

/// A number that can be a port.
pub(super) fn port_number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok())
}

/// The name (possibly empty) of the Service's port with this name or number; of its only port without one.
pub(crate) fn service_port<'a>(service: &'a Object, port: &str) -> Option<&'a str> {
    let ports = service.get(&["spec", "ports"]).and_then(Value::as_array)?;
    let found = match (port, ports.as_slice()) {
        ("", [only]) => only,
        (port, ports) => ports.iter().find(|declared| {
            declared["name"] == port
                || declared["port"].as_u64().is_some_and(|number| number.to_string() == port)
        })?,
    };
    Some(found["name"].as_str().unwrap_or_default())
}

/// The ready addresses of a slice with its port of this name.
pub(crate) fn slice_addresses(slice: &Object, port_name: &str) -> Vec<SocketAddr> {
    let list = |field: &str| slice.get(&[field]).and_then(Value::as_array).into_iter().flatten();
    let mut ports = list("ports").filter(|port| port["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = ports.next().and_then(|port| port_number(&port["port"])) else { return Vec::new() };
    list("endpoints")
        .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        .filter_map(|endpoint| endpoint["addresses"][0].as_str()?.parse().ok())
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}
