//! Checks of one Service.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::facts::{is_externally_accessible, is_headless, kind, needs_health_check_port};
use super::validate_addresses;
use crate::shared::check::{self, one_of, one_of_optional, port, port_or_name};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object, addresses};

/// Longest session affinity, in seconds.
const MOST_AFFINITY_SECONDS: i32 = 86_400;
/// The port of the node agent, which load balancers may not cover.
const KUBELET_PORT: i32 = 10250;
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const LOAD_BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

/// Checks a Service whose addresses and ports have been allocated.
pub(super) fn validate(object: &Object) -> FieldErrors {
    let service: Service = match check::typed(object) {
        Ok(service) => service,
        Err(errors) => return errors,
    };
    let spec = service.spec.unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut errors = topology_annotations(object);
    if ports.is_empty() && !is_headless(object) && kind(object) != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    errors.extend(type_specific(object, &spec, ports));
    errors.extend(each_port(ports));
    errors.extend(check::labels("spec.selector", check::pairs(spec.selector.as_ref())));
    errors.extend(session_affinity(&spec));
    errors.extend(validate_addresses::validate(object));
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        errors.extend(addresses::check_not_special(&format!("spec.externalIPs[{index}]"), ip));
    }
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    errors.extend(one_of("spec.type", spec.type_.as_deref(), &types));
    errors.extend(unique_ports(object, ports));
    errors.extend(load_balancer(object, &spec));
    errors.extend(traffic_policies(object, &spec));
    errors
}

fn topology_annotations(object: &Object) -> FieldErrors {
    const MODE: &str = "service.kubernetes.io/topology-mode";
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    let annotations = object.annotations();
    match (annotations.get(MODE), annotations.get(HINTS)) {
        (Some(mode), Some(hints)) if mode != hints => {
            let path = format!("metadata.annotations[{MODE}]");
            let detail = format!("must match annotations[{HINTS}] when both are specified");
            [FieldError::invalid(path, *mode, detail)].into()
        }
        _ => FieldErrors::new(),
    }
}

fn type_specific(object: &Object, spec: &ServiceSpec, ports: &[ServicePort]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let kind = kind(object);
    if kind == "LoadBalancer" {
        for (index, port) in ports.iter().enumerate().filter(|(_, port)| port.port == KUBELET_PORT) {
            let detail = format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
            errors.push(FieldError::invalid(format!("spec.ports[{index}]"), port.port, detail));
        }
    }
    if matches!(kind, "LoadBalancer" | "NodePort") && is_headless(object) {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid("spec.clusterIPs[0]", "None", detail));
    }
    if kind == "ExternalName" {
        errors.extend(external_name(spec));
    }
    errors
}

fn external_name(spec: &ServiceSpec) -> FieldErrors {
    const NOT_SET: &str = "may not be set for ExternalName services";
    let is_some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let mut errors = FieldErrors::new();
    if is_some(&spec.cluster_ips) {
        errors.push(FieldError::forbidden("spec.clusterIPs", NOT_SET));
    }
    if is_some(&spec.ip_families) {
        errors.push(FieldError::forbidden("spec.ipFamilies", NOT_SET));
    }
    if spec.ip_family_policy.is_some() {
        errors.push(FieldError::forbidden("spec.ipFamilyPolicy", NOT_SET));
    }
    let name = spec.external_name.as_deref().unwrap_or("");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.push(FieldError::required("spec.externalName", "")),
        name => errors.extend(Form::Subdomain.check("spec.externalName", name)),
    }
    errors
}

fn each_port(ports: &[ServicePort]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut names = BTreeSet::new();
    for (index, service_port) in ports.iter().enumerate() {
        let path = |field: &str| format!("spec.ports[{index}].{field}");
        match service_port.name.as_deref().unwrap_or("") {
            "" if ports.len() > 1 => errors.push(FieldError::required(path("name"), "")),
            "" => {}
            name => {
                errors.extend(Form::DnsLabel.check(&path("name"), name));
                if !names.insert(name) {
                    errors.push(FieldError::duplicate(path("name"), name));
                }
            }
        }
        errors.extend(port(&path("port"), service_port.port.into()));
        let protocols = ["SCTP", "TCP", "UDP"];
        errors.extend(one_of(&path("protocol"), service_port.protocol.as_deref(), &protocols));
        let target = service_port.target_port.clone().unwrap_or(IntOrString::Int(0));
        errors.extend(port_or_name(&path("targetPort"), &target));
        if let Some(protocol) = &service_port.app_protocol {
            errors.extend(Form::QualifiedName.check(&path("appProtocol"), protocol));
        }
    }
    errors
}

/// No two ports may be the same to a client: neither inside (port) nor outside (node port).
fn unique_ports(object: &Object, ports: &[ServicePort]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let node_ports = || ports.iter().enumerate().filter(|(_, port)| port.node_port.unwrap_or(0) != 0);
    if kind(object) == "ClusterIP" {
        for (index, _) in node_ports() {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(format!("spec.ports[{index}].nodePort"), detail));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in node_ports() {
        if !seen.insert((port.protocol.as_deref(), port.node_port)) {
            let path = format!("spec.ports[{index}].nodePort");
            errors.push(FieldError::duplicate(path, port.node_port.unwrap_or(0)));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        if !seen.insert((port.protocol.as_deref(), port.port)) {
            // As Kubernetes' own type has it.
            let shown = format!(
                r#"{{"Name":"","Protocol":{},"AppProtocol":null,"Port":{},"TargetPort":0,"NodePort":0}}"#,
                json!(port.protocol),
                port.port
            );
            let error = FieldError::duplicate(format!("spec.ports[{index}]"), Value::Null);
            errors.push(error.showing(shown));
        }
    }
    errors
}

fn session_affinity(spec: &ServiceSpec) -> FieldErrors {
    const CONFIG: &str = "spec.sessionAffinityConfig";
    let affinity = spec.session_affinity.as_deref();
    let mut errors = one_of("spec.sessionAffinity", affinity, &["ClientIP", "None"]);
    match affinity {
        Some("ClientIP") => {
            let missing = |path: &str| FieldError::required(path, "when session affinity type is ClientIP");
            let config = spec.session_affinity_config.as_ref();
            match (config, config.and_then(|config| config.client_ip.as_ref())) {
                (None, _) => errors.push(missing(CONFIG)),
                (_, None) => errors.push(missing("spec.sessionAffinityConfig.clientIP")),
                (_, Some(client_ip)) => {
                    let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
                    match client_ip.timeout_seconds {
                        None => errors.push(missing(path)),
                        Some(seconds) if !(1..=MOST_AFFINITY_SECONDS).contains(&seconds) => {
                            let detail =
                                format!("must be greater than 0 and less than {MOST_AFFINITY_SECONDS}");
                            errors.push(FieldError::invalid(path, seconds, detail));
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        Some("None") if spec.session_affinity_config.is_some() => {
            errors.push(FieldError::forbidden(CONFIG, "must not be set when session affinity is None"));
        }
        _ => {}
    }
    errors
}

fn load_balancer(object: &Object, spec: &ServiceSpec) -> FieldErrors {
    let is_balancer = kind(object) == "LoadBalancer";
    let mut errors = source_ranges(object, spec, is_balancer);
    let allocate = "spec.allocateLoadBalancerNodePorts";
    match spec.allocate_load_balancer_node_ports {
        None if is_balancer => errors.push(FieldError::required(allocate, "")),
        Some(_) if !is_balancer => errors.push(FieldError::forbidden(allocate, LOAD_BALANCER_ONLY)),
        _ => {}
    }
    if let Some(class) = &spec.load_balancer_class {
        errors.extend(Form::QualifiedName.check("spec.loadBalancerClass", class));
        if !is_balancer {
            errors.push(FieldError::forbidden("spec.loadBalancerClass", LOAD_BALANCER_ONLY));
        }
    }
    errors
}

/// Source ranges from the spec, else from the annotation of old; surrounding spaces are legal.
fn source_ranges(object: &Object, spec: &ServiceSpec, is_balancer: bool) -> FieldErrors {
    let listed = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    let annotations = object.annotations();
    let annotation = annotations.get(SOURCE_RANGES);
    let in_annotation = format!("metadata.annotations[{SOURCE_RANGES}]");
    let (path, ranges): (&str, Vec<(String, &str)>) = if !listed.is_empty() {
        let path = |index| format!("spec.loadBalancerSourceRanges[{index}]");
        let ranges = listed.iter().enumerate().map(|(index, range)| (path(index), range.as_str()));
        // The name of the field in Go.
        ("spec.LoadBalancerSourceRanges", ranges.collect())
    } else if let Some(text) = annotation {
        let ranges = text.split(',').map(|range| (in_annotation.clone(), range));
        (
            &in_annotation,
            ranges.filter(|(_, range)| !text.trim().is_empty() || !range.trim().is_empty()).collect(),
        )
    } else {
        return FieldErrors::new();
    };
    let mut errors = FieldErrors::new();
    if !is_balancer {
        errors.push(FieldError::forbidden(path, LOAD_BALANCER_ONLY));
    }
    for (path, range) in ranges {
        if let Err(detail) = addresses::cidr(range.trim()) {
            errors.push(FieldError::invalid(path, range.trim(), detail));
        }
    }
    errors
}

fn traffic_policies(object: &Object, spec: &ServiceSpec) -> FieldErrors {
    const POLICIES: &[&str] = &["Cluster", "Local"];
    let external = spec.external_traffic_policy.as_deref().unwrap_or("");
    let path = "spec.externalTrafficPolicy";
    let mut errors = if is_externally_accessible(object) {
        one_of(path, Some(external), POLICIES)
    } else if external.is_empty() {
        FieldErrors::new()
    } else {
        let detail = "may only be set for externally-accessible services";
        FieldErrors::from([FieldError::invalid(path, external, detail)])
    };
    let path = "spec.healthCheckNodePort";
    match (needs_health_check_port(object), spec.health_check_node_port.unwrap_or(0)) {
        (true, 0) => errors.push(FieldError::required(path, "")),
        (true, number) => errors.extend(port(path, number.into())),
        (false, 0) => {}
        (false, number) => {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(path, number, detail));
        }
    }
    let internal = spec.internal_traffic_policy.as_deref();
    errors.extend(match kind(object) {
        "ClusterIP" | "NodePort" | "LoadBalancer" => one_of("spec.internalTrafficPolicy", internal, POLICIES),
        _ => one_of_optional("spec.internalTrafficPolicy", internal, POLICIES),
    });
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    let distribution = spec.traffic_distribution.as_deref();
    errors.extend(one_of_optional("spec.trafficDistribution", distribution, &distributions));
    errors
}

/// Checks `status.loadBalancer`.
pub(super) fn validate_status(object: &Object) -> FieldErrors {
    let points = skiff_machinery::cells::items(object, &["status", "loadBalancer", "ingress"]);
    let path = "status.loadBalancer.ingress";
    if kind(object) != "LoadBalancer" && !points.is_empty() {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        return [FieldError::forbidden(path, detail)].into();
    }
    let points = points.iter().enumerate();
    points.flat_map(|(index, point)| ingress_point(&format!("{path}[{index}]"), point)).collect()
}

fn ingress_point(path: &str, point: &Value) -> FieldErrors {
    let text = |field: &str| point.get(field).and_then(Value::as_str);
    let ip = text("ip").filter(|ip| !ip.is_empty());
    let mut errors = FieldErrors::new();
    if let Some(Err(detail)) = ip.map(addresses::ip) {
        errors.push(FieldError::invalid(format!("{path}.ip"), ip.unwrap_or(""), detail));
    }
    let mode_path = format!("{path}.ipMode");
    match (ip, text("ipMode")) {
        (Some(_), None) => {
            errors.push(FieldError::required(mode_path, "must be specified when `ip` is set"));
        }
        (None, Some(_)) => {
            errors.push(FieldError::forbidden(mode_path, "may not be specified when `ip` is not set"));
        }
        (_, mode) => errors.extend(one_of_optional(&mode_path, mode, &["Proxy", "VIP"])),
    }
    if let Some(host) = text("hostname").filter(|host| !host.is_empty()) {
        let path = format!("{path}.hostname");
        errors.extend(Form::Subdomain.check(&path, host));
        if addresses::ip(host).is_ok() {
            errors.push(FieldError::invalid(path, host, "must be a DNS name, not an IP address"));
        }
    }
    errors
}
