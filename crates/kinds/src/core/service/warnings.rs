//! What is legal in a Service but probably not what was meant.

use super::facts::{field, is_headless, kind};
use skiff_machinery::cells::strings;
use skiff_machinery::{Object, addresses};

pub(super) fn warnings(service: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |text: &str| warnings.push(text.to_owned());
    let deprecated = "service.kubernetes.io/topology-aware-hints";
    if service.annotations().contains_key(deprecated) {
        warn(&format!(
            "annotation {deprecated} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    let external_ips = !strings(service, &["spec", "externalIPs"]).is_empty();
    let external_name = kind(service) == "ExternalName";
    if is_headless(service) {
        if field(service, "loadBalancerIP").is_some() {
            warn("spec.loadBalancerIP is ignored for headless services");
        }
        if external_ips {
            warn("spec.externalIPs is ignored for headless services");
        }
        if service.str(&["spec", "sessionAffinity"]) != "None" {
            warn("spec.SessionAffinity is ignored for headless services");
        }
    } else if external_ips && !external_name {
        warn("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    for text in unusual_texts(service) {
        warn(&text);
    }
    if external_name && external_ips {
        warn("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if !external_name && field(service, "externalName").is_some() {
        warn("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if service.str(&["spec", "trafficDistribution"]) == "PreferClose" {
        warn("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
    warnings
}

/// Addresses and ranges that are valid but not in the usual form.
fn unusual_texts(service: &Object) -> Vec<String> {
    let mut texts = Vec::new();
    for name in ["clusterIPs", "externalIPs"] {
        for (index, ip) in strings(service, &["spec", name]).into_iter().enumerate() {
            texts.extend(addresses::unusual(&format!("spec.{name}[{index}]"), ip));
        }
    }
    let balancer_ip = service.str(&["spec", "loadBalancerIP"]);
    if !balancer_ip.is_empty() {
        texts.extend(addresses::unusual("spec.loadBalancerIP", balancer_ip));
    }
    for (index, range) in strings(service, &["spec", "loadBalancerSourceRanges"]).into_iter().enumerate() {
        if addresses::cidr(range.trim()).is_ok_and(addresses::has_host_bits) {
            texts.push(format!(
                "spec.loadBalancerSourceRanges[{index}]: CIDR value {range:?} is ambiguous in this context (host bits are set)"
            ));
        }
    }
    texts
}
