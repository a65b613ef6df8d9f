//! The environment variables that tell a container of the Services that exist when it starts.

use k8s_openapi::api::core::v1::Service;
use std::collections::BTreeMap;

/// What the variables of one Service are made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceFacts {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The primary cluster address.
    cluster_ip: String,
    ports: Vec<PortFacts>,
}

#[derive(Clone, Debug, PartialEq)]
struct PortFacts {
    name: Option<String>,
    number: i32,
    /// In lower case.
    protocol: String,
}

impl ServiceFacts {
    /// The facts of a Service with a cluster address; `None` for headless ones and those without ports.
    pub(crate) fn of(service: Service) -> Option<Self> {
        let spec = service.spec?;
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let cluster_ip = spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None")?;
        let ports: Vec<PortFacts> = spec
            .ports
            .into_iter()
            .flatten()
            .map(|port| PortFacts {
                name: port.name.filter(|name| !name.is_empty()),
                number: port.port,
                protocol: port.protocol.as_deref().unwrap_or("TCP").to_lowercase(),
            })
            .collect();
        if ports.is_empty() {
            return None;
        }
        Some(Self { namespace: service.metadata.namespace?, name: service.metadata.name?, cluster_ip, ports })
    }

    fn variables(&self, into: &mut BTreeMap<String, String>) {
        let Some(first) = self.ports.first() else { return };
        let prefix = variable_name(&self.name);
        into.insert(format!("{prefix}_SERVICE_HOST"), self.cluster_ip.clone());
        into.insert(format!("{prefix}_SERVICE_PORT"), first.number.to_string());
        for port in &self.ports {
            if let Some(name) = &port.name {
                into.insert(
                    format!("{prefix}_SERVICE_PORT_{}", variable_name(name)),
                    port.number.to_string(),
                );
            }
        }
        into.insert(format!("{prefix}_PORT"), self.url(first));
        for port in &self.ports {
            let prefix = format!("{prefix}_PORT_{}_{}", port.number, port.protocol.to_uppercase());
            into.insert(format!("{prefix}_PROTO"), port.protocol.clone());
            into.insert(format!("{prefix}_PORT"), port.number.to_string());
            into.insert(format!("{prefix}_ADDR"), self.cluster_ip.clone());
            into.insert(prefix, self.url(port));
        }
    }

    fn url(&self, port: &PortFacts) -> String {
        let host = if self.cluster_ip.contains(':') {
            format!("[{}]", self.cluster_ip)
        } else {
            self.cluster_ip.clone()
        };
        format!("{}://{host}:{}", port.protocol, port.number)
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// The variables for a pod of `namespace`: those of `default/kubernetes` always, those of its own namespace
/// if `links`. A Service of the pod's own namespace wins over the one of the same name in `default`.
pub(crate) fn variables<'a>(
    services: impl Iterator<Item = &'a ServiceFacts> + Clone,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let master = |service: &&ServiceFacts| service.namespace == "default" && service.name == "kubernetes";
    let own = |service: &&ServiceFacts| service.namespace == namespace && (links || master(service));
    let mut variables = BTreeMap::new();
    let shadowed = services.clone().filter(own).any(|service| service.name == "kubernetes");
    if !shadowed {
        services.clone().filter(master).for_each(|service| service.variables(&mut variables));
    }
    services.filter(own).for_each(|service| service.variables(&mut variables));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str, ip: &str, ports: &[(Option<&str>, i32, &str)]) -> ServiceFacts {
        let ports = ports.iter().map(|(name, number, protocol)| PortFacts {
            name: name.map(Into::into),
            number: *number,
            protocol: (*protocol).into(),
        });
        ServiceFacts {
            namespace: namespace.into(),
            name: name.into(),
            cluster_ip: ip.into(),
            ports: ports.collect(),
        }
    }

    fn check(services: &[ServiceFacts], namespace: &str, links: bool, expected: &[&str]) {
        let lines: Vec<String> = variables(services.iter(), namespace, links)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn one_service_gives_the_whole_set() {
        let redis =
            service("a", "redis-primary", "10.0.0.11", &[(Some("web-ui"), 6379, "tcp"), (None, 53, "udp")]);
        check(
            &[redis],
            "a",
            true,
            &[
                "REDIS_PRIMARY_PORT=tcp://10.0.0.11:6379",
                "REDIS_PRIMARY_PORT_53_UDP=udp://10.0.0.11:53",
                "REDIS_PRIMARY_PORT_53_UDP_ADDR=10.0.0.11",
                "REDIS_PRIMARY_PORT_53_UDP_PORT=53",
                "REDIS_PRIMARY_PORT_53_UDP_PROTO=udp",
                "REDIS_PRIMARY_PORT_6379_TCP=tcp://10.0.0.11:6379",
                "REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.0.0.11",
                "REDIS_PRIMARY_PORT_6379_TCP_PORT=6379",
                "REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp",
                "REDIS_PRIMARY_SERVICE_HOST=10.0.0.11",
                "REDIS_PRIMARY_SERVICE_PORT=6379",
                "REDIS_PRIMARY_SERVICE_PORT_WEB_UI=6379",
            ],
        );
    }

    #[test]
    fn ipv6_hosts_are_bracketed_in_urls() {
        let vars = variables([service("a", "s", "fd00::1", &[(None, 80, "tcp")])].iter(), "a", true);
        assert_eq!(vars["S_PORT"], "tcp://[fd00::1]:80");
        assert_eq!(vars["S_SERVICE_HOST"], "fd00::1");
    }

    #[test]
    fn the_master_is_always_there_and_own_names_win() {
        let host = |services: &[ServiceFacts], namespace, links| {
            variables(services.iter(), namespace, links).get("KUBERNETES_SERVICE_HOST").cloned()
        };
        let master = service("default", "kubernetes", "10.96.0.1", &[(None, 443, "tcp")]);
        let own = service("a", "kubernetes", "10.96.0.2", &[(None, 443, "tcp")]);
        let other = service("a", "x", "10.96.0.3", &[(None, 1, "tcp")]);
        let all = [master, own, other];
        assert_eq!(host(&all, "b", true).as_deref(), Some("10.96.0.1"));
        assert_eq!(host(&all, "a", true).as_deref(), Some("10.96.0.2"));
        assert_eq!(host(&all, "a", false).as_deref(), Some("10.96.0.1"));
        assert!(variables(all.iter(), "a", true).contains_key("X_PORT"));
        assert!(!variables(all.iter(), "a", false).contains_key("X_PORT"));
        assert!(!variables(all.iter(), "b", true).contains_key("X_PORT"));
    }
}
