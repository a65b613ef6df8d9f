//! `pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP or HTTPS to a port of a pod, of an endpoint of a
//! Service, or to a node's own server. `NAME` in the URL is `[scheme:]name[:port]`.

mod html;
pub(super) mod route;
mod tls;

use std::net::{IpAddr, SocketAddr};

use hyper::client::conn::http1::SendRequest;
use rand::seq::IndexedRandom as _;
use serde_json::Value;
use skiff_machinery::{Object, go, keys};
use skiff_registry::{ApiError, Call, Registry};
use skiff_store::Page;
use tokio::net::TcpStream;

use super::connection;
use super::endpoints::{SLICES, port_number, service_port, slice_addresses};
use super::node::Nodes;
use crate::http::body::Body;

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    /// With whatever certificate the target shows: nobody has said whose it should be.
    Https,
}

/// What a name in the URL says.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    scheme: Scheme,
    name: &'a str,
    /// A number or a port's name; empty when not given.
    port: &'a str,
}

impl<'a> Target<'a> {
    /// `None` for what names nothing.
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let scheme = Scheme::Http;
        let target = match parts.as_slice() {
            [name] => Self { scheme, name, port: "" },
            [name, port] | ["" | "http", name, port] => Self { scheme, name, port },
            ["https", name, port] => Self { scheme: Scheme::Https, name, port },
            _ => return None,
        };
        (!target.name.is_empty()).then_some(target)
    }
}

/// What a URL names, found but not yet connected to.
pub(super) enum Backend {
    /// A node's own server.
    Node(String),
    /// A port of a pod.
    Pod { scheme: Scheme, address: SocketAddr },
}

impl Backend {
    pub(super) async fn find(registry: &Registry, call: &Call) -> Result<Self, ApiError> {
        let target = Target::parse(&call.path.name).ok_or_else(|| {
            let kind = &call.kind.names.singular;
            ApiError::BadRequest(format!("invalid {kind} request {}", go::quoted(&call.path.name)))
        })?;
        let key = keys::object(&call.kind, call.namespace(), target.name);
        let entry = registry.store().get(&key).await?;
        let entry = entry.ok_or_else(|| ApiError::NotFound(call.subject(target.name)))?;
        let object = registry.decoded(call, &entry)?;
        let address = match &*call.kind.names.kind {
            "Node" => return Ok(Self::Node(target.name.to_owned())),
            "Pod" if object.str(&["status", "podIP"]).is_empty() => return Err(not_allowed()),
            "Pod" => pod_address(&object, target.port),
            _ => endpoint(registry, call, &object, target.port).await?,
        };
        let address = address.ok_or_else(|| ApiError::Unavailable {
            message: match &*call.kind.names.kind {
                "Pod" => format!("no address or port known of pod {:?}", target.name),
                _ => format!("no endpoints available for service {:?}", call.path.name),
            },
        })?;
        if !is_proxyable(address.ip()) {
            return Err(not_allowed());
        }
        Ok(Self::Pod { scheme: target.scheme, address })
    }

    /// A connection, and where it leads.
    pub(super) async fn dial(self, nodes: &Nodes) -> Result<(SendRequest<Body>, SocketAddr), ApiError> {
        let (scheme, address) = match self {
            Self::Node(name) => return nodes.dial(&name).await,
            Self::Pod { scheme, address } => (scheme, address),
        };
        let failed = |why: String| ApiError::Unavailable {
            message: format!("error trying to reach service: dial tcp {address}: {why}"),
        };
        let sender = match scheme {
            Scheme::Http => connection::open(TcpStream::connect(address), failed).await?,
            Scheme::Https => connection::open(tls::connect(address), failed).await?,
        };
        Ok((sender, address))
    }
}

fn not_allowed() -> ApiError {
    ApiError::BadRequest("address not allowed".to_owned())
}

/// Whoever may write a pod's status must not reach what only this machine should reach.
fn is_proxyable(ip: IpAddr) -> bool {
    // An IPv4 address may be written as an IPv6 one, and leads to the same place.
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

/// The pod's address with a port by number or name; without one its first port, else 80.
fn pod_address(pod: &Object, port: &str) -> Option<SocketAddr> {
    let ip: IpAddr = pod.str(&["status", "podIP"]).parse().ok()?;
    let containers = pod.get(&["spec", "containers"]).and_then(Value::as_array);
    let mut ports =
        containers.into_iter().flatten().filter_map(|container| container["ports"].as_array()).flatten();
    let declared = match port {
        "" => ports.next(),
        port => ports.find(|declared| declared["name"] == port),
    };
    let number = declared.and_then(|declared| port_number(&declared["containerPort"]));
    Some(SocketAddr::new(ip, number.or_else(|| port.parse().ok()).or(port.is_empty().then_some(80))?))
}

/// A ready endpoint of a Service, chosen at random.
async fn endpoint(
    registry: &Registry,
    call: &Call,
    service: &Object,
    port: &str,
) -> Result<Option<SocketAddr>, ApiError> {
    if let Some(why) = no_such_port(service, port) {
        return Err(ApiError::Unavailable { message: why });
    }
    let Some(port_name) = service_port(service, port) else { return Ok(None) };
    let prefix = format!("{SLICES}{}/", service.namespace());
    let listing = registry.store().list((&*prefix).into(), Page::default()).await?;
    let (mut addresses, mut is_known) = (Vec::new(), false);
    for entry in &listing.entries {
        let slice = registry.decoded(call, entry)?;
        if slice.labels().get("kubernetes.io/service-name") == Some(&service.name()) {
            is_known = true;
            addresses.extend(slice_addresses(&slice, port_name));
        }
    }
    // Nobody has looked for its endpoints yet; Kubernetes says this of the Service.
    if !is_known {
        return Err(ApiError::NotFound(call.subject(service.name())));
    }
    Ok(addresses.choose(&mut rand::rng()).copied())
}

/// Why a Service has no port of a number.
fn no_such_port(service: &Object, port: &str) -> Option<String> {
    let number: i64 = port.parse().ok()?;
    let ports = service.get(&["spec", "ports"]).and_then(Value::as_array);
    let is_there = ports.into_iter().flatten().any(|declared| declared["port"] == number);
    (!is_there).then(|| format!("no service port {number} found for service {:?}", service.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_names_with_ports() {
        let check = |text: &str, expected: Option<(Scheme, &str, &str)>| {
            let found = Target::parse(text);
            let expected = expected.map(|(scheme, name, port)| Target { scheme, name, port });
            assert_eq!(found, expected, "{text}");
        };
        check("a", Some((Scheme::Http, "a", "")));
        check("a:80", Some((Scheme::Http, "a", "80")));
        check("http:a:web", Some((Scheme::Http, "a", "web")));
        check("https:a:443", Some((Scheme::Https, "a", "443")));
        check("https:a:", Some((Scheme::Https, "a", "")));
        check("ftp:a:21", None);
        check(":80", None);
    }

    #[test]
    fn this_machine_is_out_of_reach_however_it_is_written() {
        let check = |ip: &str, allowed: bool| assert_eq!(is_proxyable(ip.parse().unwrap()), allowed, "{ip}");
        for ip in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "0.0.0.0",
            "::",
        ] {
            check(ip, false);
        }
        for ip in ["10.244.0.7", "fd00::7", "::ffff:10.244.0.7"] {
            check(ip, true);
        }
    }

    #[test]
    fn says_that_there_is_no_such_port() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
        let service = Object::from_value(service).unwrap();
        let expected = "no service port 99 found for service \"s\"";
        assert_eq!(no_such_port(&service, "99").as_deref(), Some(expected));
        assert_eq!(no_such_port(&service, "80"), None);
        assert_eq!(no_such_port(&service, "web"), None);
    }

    #[test]
    fn finds_ports_and_ready_endpoints() {
        let object = |value: Value| Object::from_value(value).unwrap();
        let pod = object(json!({
            "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}, "status": {"podIP": "10.0.0.1"},
        }));
        let check = |port: &str, expected: Option<&str>| {
            assert_eq!(pod_address(&pod, port), expected.map(|text| text.parse().unwrap()));
        };
        check("", Some("10.0.0.1:8080"));
        check("web", Some("10.0.0.1:8080"));
        check("9", Some("10.0.0.1:9"));
        check("none", None);
        let slice = object(json!({
            "ports": [{"name": "web", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            ],
        }));
        assert_eq!(slice_addresses(&slice, "web"), ["10.0.0.1:8080".parse().unwrap()]);
        assert!(slice_addresses(&slice, "").is_empty());
    }
}
