//! Where a Service listens: its own address, or where it has none that of an endpoint.

use serde_json::Value;
use skiff_machinery::{Object, keys};
use skiff_registry::codec;
use skiff_store::{Page, Store};

use crate::subresources::endpoints;

/// Host and port behind a port of a Service.
pub(crate) async fn service(
    store: &dyn Store,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<(String, u16), String> {
    let found =
        store.get(&keys::core("services", namespace, name)).await.map_err(|error| error.to_string())?;
    let entry = found.ok_or_else(|| format!("service {name:?} not found"))?;
    let service = codec::decode(&entry).map_err(|error| error.to_string())?;
    match place(&service, port)? {
        Place::Host(host) => Ok((host, port)),
        Place::Endpoints => endpoint(store, &service, port).await,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Host(String),
    /// The Service is headless.
    Endpoints,
}

fn place(service: &Object, port: u16) -> Result<Place, String> {
    let host = match service.str(&["spec", "type"]) {
        "ExternalName" => return Ok(Place::Host(service.str(&["spec", "externalName"]).to_owned())),
        "" | "ClusterIP" | "NodePort" | "LoadBalancer" => service.str(&["spec", "clusterIP"]),
        other => return Err(format!("unsupported service type {other:?}")),
    };
    let ports = service.get(&["spec", "ports"]).and_then(Value::as_array);
    if !ports.into_iter().flatten().any(|declared| declared["port"] == port) {
        return Err(format!("no service port {port} found for service {:?}", service.name()));
    }
    Ok(if host == "None" { Place::Endpoints } else { Place::Host(host.to_owned()) })
}

/// The first ready endpoint of a headless Service.
async fn endpoint(store: &dyn Store, service: &Object, port: u16) -> Result<(String, u16), String> {
    let none = || format!("no endpoints available for service {:?}", service.name());
    let port_name = endpoints::service_port(service, &port.to_string()).ok_or_else(none)?;
    let prefix = format!("{}{}/", endpoints::SLICES, service.namespace());
    let listing = store.list((&*prefix).into(), Page::default()).await.map_err(|error| error.to_string())?;
    for entry in &listing.entries {
        let slice = codec::decode(entry).map_err(|error| error.to_string())?;
        let is_its = slice.labels().get("kubernetes.io/service-name") == Some(&service.name());
        if is_its && let Some(address) = endpoints::slice_addresses(&slice, port_name).first() {
            return Ok((address.ip().to_string(), address.port()));
        }
    }
    Err(none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_is_where_it_says_in_kubernetes_words() {
        let check = |spec: Value, expected: Result<Place, &str>| {
            let service = json!({"metadata": {"name": "hook", "namespace": "web"}, "spec": spec});
            let found = place(&Object::from_value(service).unwrap(), 443);
            assert_eq!(found, expected.map_err(str::to_owned), "{spec}");
        };
        let host = |host: &str| Ok(Place::Host(host.to_owned()));
        let ports = json!([{"port": 80}, {"port": 443}]);
        check(json!({"clusterIP": "10.96.0.9", "type": "ClusterIP", "ports": ports}), host("10.96.0.9"));
        check(json!({"clusterIP": "10.96.0.9", "type": "NodePort", "ports": ports}), host("10.96.0.9"));
        check(json!({"clusterIP": "None", "type": "ClusterIP", "ports": ports}), Ok(Place::Endpoints));
        check(json!({"type": "ExternalName", "externalName": "a.example.com"}), host("a.example.com"));
        check(
            json!({"clusterIP": "10.96.0.9", "type": "ClusterIP", "ports": [{"port": 80}]}),
            Err("no service port 443 found for service \"hook\""),
        );
        check(json!({"type": "Odd"}), Err("unsupported service type \"Odd\""));
    }
}
