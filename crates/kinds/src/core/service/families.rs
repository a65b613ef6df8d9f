//! Address families of a Service: which it wants, which the cluster has, in which order.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Value, json};
use skiff_ordered::Ordered as _;

use super::facts::{cluster_ips, field, kind, same};
use super::validate_addresses;
use skiff_machinery::cells::{string_map, strings};
use skiff_machinery::{FieldError, FieldErrors, Object, addresses};

const POLICY: &str = "spec.ipFamilyPolicy";

/// Fills `ipFamilyPolicy` and `ipFamilies`, and trims addresses that a change to one family gives up.
pub(super) fn resolve(
    service: &mut Object,
    old: Option<&Object>,
    cidrs: &[IpNet],
) -> Result<(), FieldErrors> {
    if kind(service) == "ExternalName" || old.is_some_and(|old| keeps_preferring_both(service, old)) {
        return Ok(());
    }
    if field(service, "ipFamilyPolicy").is_none() {
        let policy = implied_policy(service, old);
        service.set(&["spec", "ipFamilyPolicy"], policy);
    }
    refuse(validate_addresses::validate(service))?;
    let single = service.str(&["spec", "ipFamilyPolicy"]) == "SingleStack";
    if let Some(old) = old {
        if single {
            trim(service, old);
        } else {
            refuse(check_reduced(service, old))?;
        }
    }
    let configured: BTreeSet<&str> = cidrs.iter().map(|cidr| addresses::family(cidr.addr())).to_set();
    let default = cidrs.first().map_or("IPv4", |cidr| addresses::family(cidr.addr()));
    let mut families: Vec<String> =
        strings(service, &["spec", "ipFamilies"]).into_iter().map(str::to_owned).collect();
    let mut errors = if single { check_single(service) } else { FieldErrors::new() };
    errors.extend(infer(service, &mut families, &configured));
    refuse(errors)?;

    let without_selector = string_map(service, &["spec", "selector"]).is_empty();
    let free_of_cluster = service.str(&["spec", "clusterIP"]) == "None" && without_selector;
    if !free_of_cluster {
        refuse(check_configured(service, &families, &configured))?;
    }
    if families.is_empty() {
        families.push(default.to_owned());
    }
    if !single && families.len() == 1 && (free_of_cluster || configured.len() == 2) {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.to_owned());
    }
    service.set(&["spec", "ipFamilies"], families);
    Ok(())
}

fn refuse(errors: FieldErrors) -> Result<(), FieldErrors> {
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// An unchanged PreferDualStack Service does not follow the cluster when that gains or loses a family.
fn keeps_preferring_both(new: &Object, old: &Object) -> bool {
    let prefers = |service: &Object| service.str(&["spec", "ipFamilyPolicy"]) == "PreferDualStack";
    let names = ["clusterIP", "clusterIPs", "ipFamilies"];
    prefers(new)
        && prefers(old)
        && kind(old) != "ExternalName"
        && names.iter().all(|name| same(new, old, name))
}

fn implied_policy(service: &Object, old: Option<&Object>) -> Value {
    if let Some(policy) = old.and_then(|old| field(old, "ipFamilyPolicy")) {
        return policy.clone();
    }
    let without_selector = string_map(service, &["spec", "selector"]).is_empty();
    let headless = service.str(&["spec", "clusterIP"]) == "None";
    json!(if headless && without_selector { "RequireDualStack" } else { "SingleStack" })
}

/// A change to SingleStack alone is clear intent to give up the second address.
fn trim(service: &mut Object, old: &Object) {
    for name in ["clusterIPs", "ipFamilies"] {
        let list = strings(service, &["spec", name]);
        if let (true, [first, _, ..]) = (same(service, old, name), list.as_slice()) {
            let first = json!([first]);
            service.set(&["spec", name], first);
        }
    }
}

fn check_reduced(service: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (name, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let reduced = match (&strings(old, &["spec", name])[..], &strings(service, &["spec", name])[..]) {
            ([first, _], [only]) => first == only,
            _ => false,
        };
        if reduced {
            let detail = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(FieldError::invalid(POLICY, service.str(&["spec", "ipFamilyPolicy"]), detail));
        }
    }
    errors
}

fn check_single(service: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (name, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if strings(service, &["spec", name]).len() == 2 {
            let detail =
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            errors.push(FieldError::invalid(POLICY, "SingleStack", detail));
        }
    }
    errors
}

/// Adds the families of addresses that the user named.
fn infer(service: &Object, families: &mut Vec<String>, configured: &BTreeSet<&str>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let ips = cluster_ips(service);
    for (index, ip) in ips.iter().enumerate().skip(families.len()) {
        let Ok(ip) = addresses::ip(ip) else { break };
        let family = addresses::family(ip);
        if configured.contains(family) {
            families.push(family.to_owned());
        } else {
            let path = format!("spec.clusterIPs[{index}]");
            let detail = format!("{family} is not configured on this cluster");
            errors.push(FieldError::invalid(path, json!(ips), detail));
        }
    }
    errors
}

fn check_configured(service: &Object, families: &[String], configured: &BTreeSet<&str>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let policy = service.str(&["spec", "ipFamilyPolicy"]);
    if policy == "RequireDualStack" && configured.len() < 2 {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(POLICY, policy, detail));
    }
    for (index, family) in families.iter().enumerate() {
        if !configured.contains(family.as_str()) {
            let path = format!("spec.ipFamilies[{index}]");
            errors.push(FieldError::invalid(path, family.as_str(), "not configured on this cluster"));
        }
    }
    errors
}
