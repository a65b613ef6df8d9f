//! Connections to a node's own server, the kubelet API.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::client::conn::http1::SendRequest;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use skiff_machinery::{Object, keys};
use skiff_registry::{ApiError, Registry, Subject, codec};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection;
use crate::http::body::Body;

/// Where a node's server listens when its Node does not say.
const DEFAULT_PORT: u16 = 10250;

/// The way to the servers of nodes.
pub(crate) struct Nodes {
    /// Says where they are.
    pub(crate) registry: Arc<Registry>,
    /// Who asks them, and whom they have to be.
    pub(crate) tls: Arc<ClientConfig>,
}

impl Nodes {
    /// A fresh HTTP/1.1 connection to the server of a node, which upgrades need.
    pub(super) async fn dial(&self, node: &str) -> Result<(SendRequest<Body>, SocketAddr), ApiError> {
        let entry = self.registry.store().get(&keys::core("nodes", "", node)).await?;
        let entry = entry.ok_or_else(|| ApiError::NotFound(Subject::core("nodes", node)))?;
        let address = address(&codec::decode(&entry)?)
            .ok_or_else(|| ApiError::Internal(format!("no preferred addresses found for node {node:?}")))?;
        let failed =
            |why: String| ApiError::Internal(format!("error dialing backend: dial tcp {address}: {why}"));
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let connector = TlsConnector::from(self.tls.clone());
            connector.connect(ServerName::from(address.ip()), stream).await
        };
        Ok((connection::open(connecting, failed).await?, address))
    }
}

/// The node's internal address and the port of its server.
fn address(node: &Object) -> Option<SocketAddr> {
    let addresses = node.get(&["status", "addresses"]).and_then(Value::as_array);
    let internal = addresses.into_iter().flatten().find(|address| address["type"] == "InternalIP")?;
    let ip: IpAddr = internal["address"].as_str()?.parse().ok()?;
    let port = node.get(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Some(SocketAddr::new(ip, port.unwrap_or(DEFAULT_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_the_address_of_the_nodes_server() {
        let check = |status: Value, expected: Option<&str>| {
            let node = Object::from_value(json!({"status": status})).unwrap();
            assert_eq!(address(&node), expected.map(|text| text.parse().unwrap()));
        };
        let addresses =
            json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.7"}]);
        check(json!({"addresses": addresses}), Some("10.0.0.7:10250"));
        check(
            json!({"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10350}}}),
            Some("10.0.0.7:10350"),
        );
        check(json!({}), None);
    }
}
