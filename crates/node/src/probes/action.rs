//! What a probe or lifecycle hook does, with ports and hosts resolved; no I/O.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_ports::TargetPort;
use std::net::IpAddr;
use std::time::Duration;

/// One thing to try.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Exec(Vec<String>),
    Http(HttpRequest),
    Tcp { host: String, port: TargetPort },
    Grpc { host: String, port: TargetPort, service: String },
    Sleep(Duration),
}

/// A GET request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HttpRequest {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: TargetPort,
    /// Path and query, with a leading slash.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl HttpRequest {
    /// The URL, as messages show it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", host_port(&self.host, self.port), self.path)
    }
}

/// `host:port`, with brackets where the host has colons.
pub(crate) fn host_port(host: &str, port: TargetPort) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What `probe` does in `container` of a pod with address `ip`; the error is for the user.
pub(crate) fn of_probe(probe: &Probe, container: &Container, ip: Option<IpAddr>) -> Result<Action, String> {
    let host = ip.map(|ip| ip.to_string()).unwrap_or_default();
    if let Some(exec) = &probe.exec {
        Ok(Action::Exec(exec.command.clone().unwrap_or_default()))
    } else if let Some(get) = &probe.http_get {
        http(get, container, host)
    } else if let Some(socket) = &probe.tcp_socket {
        tcp(socket, container, host)
    } else if let Some(grpc) = &probe.grpc {
        let port = numbered(grpc.port)?;
        Ok(Action::Grpc { host, port, service: grpc.service.clone().unwrap_or_default() })
    } else {
        Err("missing probe handler".into())
    }
}

/// What a lifecycle hook does.
pub(crate) fn of_hook(
    hook: &LifecycleHandler,
    container: &Container,
    ip: Option<IpAddr>,
) -> Result<Action, String> {
    let host = ip.map(|ip| ip.to_string()).unwrap_or_default();
    if let Some(exec) = &hook.exec {
        Ok(Action::Exec(exec.command.clone().unwrap_or_default()))
    } else if let Some(get) = &hook.http_get {
        http(get, container, host)
    } else if let Some(socket) = &hook.tcp_socket {
        tcp(socket, container, host)
    } else if let Some(sleep) = &hook.sleep {
        Ok(Action::Sleep(crate::time::seconds(sleep.seconds)))
    } else {
        Err("invalid handler: no action given".into())
    }
}

fn http(get: &HTTPGetAction, container: &Container, pod_host: String) -> Result<Action, String> {
    let path = get.path.as_deref().unwrap_or_default();
    let headers = get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
    Ok(Action::Http(HttpRequest {
        https: get.scheme.as_deref() == Some("HTTPS"),
        host: get.host.clone().filter(|host| !host.is_empty()).unwrap_or(pod_host),
        port: port(&get.port, container)?,
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        headers: headers.collect(),
    }))
}

fn tcp(socket: &TCPSocketAction, container: &Container, pod_host: String) -> Result<Action, String> {
    let host = socket.host.clone().filter(|host| !host.is_empty()).unwrap_or(pod_host);
    Ok(Action::Tcp { host, port: port(&socket.port, container)? })
}

/// A port by number or by the name the container gives it; the words for one without either are Go's, as with the kubelet.
fn port(port: &IntOrString, container: &Container) -> Result<TargetPort, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            match named {
                Some(port) => port.container_port,
                None => {
                    name.parse().map_err(|_| format!("strconv.Atoi: parsing {name:?}: invalid syntax"))?
                }
            }
        }
    };
    numbered(number)
}

fn numbered(number: i32) -> Result<TargetPort, String> {
    TargetPort::of(number).ok_or_else(|| format!("invalid port number: {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(probe: &str, expected: Result<Action, &str>) {
        let container: Container =
            serde_json::from_str(r#"{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}"#)
                .unwrap();
        let probe: Probe = serde_json::from_str(probe).unwrap();
        let actual = of_probe(&probe, &container, Some("10.0.0.5".parse().unwrap()));
        assert_eq!(actual, expected.map_err(str::to_owned));
    }

    #[test]
    fn hosts_and_ports_are_resolved() {
        let port = |number: u16| TargetPort::of(number).unwrap();
        let request = |path: &str, number: u16| HttpRequest {
            https: false,
            host: "10.0.0.5".into(),
            port: port(number),
            path: path.into(),
            headers: Vec::new(),
        };
        check(
            r#"{"httpGet": {"path": "healthz", "port": "web"}}"#,
            Ok(Action::Http(request("/healthz", 8080))),
        );
        check(r#"{"httpGet": {"port": 80}}"#, Ok(Action::Http(request("/", 80))));
        check(r#"{"httpGet": {"port": "none"}}"#, Err(r#"strconv.Atoi: parsing "none": invalid syntax"#));
        check(
            r#"{"tcpSocket": {"port": "81", "host": "h"}}"#,
            Ok(Action::Tcp { host: "h".into(), port: port(81) }),
        );
        check(r#"{"exec": {"command": ["a"]}}"#, Ok(Action::Exec(vec!["a".into()])));
        check("{}", Err("missing probe handler"));
        assert_eq!(request("/x", 80).url(), "http://10.0.0.5:80/x");
        assert_eq!(host_port("fd00::1", port(80)), "[fd00::1]:80");
    }
}
