//! Checks that a Service's addresses, families and policy fit each other.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::json;

use super::facts::{cluster_ips, is_headless, kind};
use crate::shared::check::one_of_optional;
use skiff_machinery::cells::strings;
use skiff_machinery::{FieldError, FieldErrors, Object, addresses};

const IPS: &str = "spec.clusterIPs";

/// Checks one object; what ExternalName may not have is checked with the types.
pub(super) fn validate(service: &Object) -> FieldErrors {
    if kind(service) == "ExternalName" {
        return FieldErrors::new();
    }
    let mut errors = in_step(service);
    errors.extend(families(service));
    let ips = cluster_ips(service);
    let (parsed, malformed) = parse(&ips);
    let stop = !malformed.is_empty();
    errors.extend(malformed);
    if ips.len() > 2 {
        errors.push(FieldError::invalid(IPS, json!(ips), "may only hold up to 2 values"));
    }
    if stop {
        return errors;
    }
    if let [first, second, ..] = parsed[..]
        && first.is_ipv4() == second.is_ipv4()
    {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(IPS, json!(ips), detail));
    }
    if !is_headless(service) && errors.is_empty() {
        errors.extend(match_families(service, &parsed));
    }
    errors
}

/// `clusterIP` and the first of `clusterIPs` are the same thing.
fn in_step(service: &Object) -> FieldErrors {
    let singular = service.str(&["spec", "clusterIP"]);
    let ips = cluster_ips(service);
    match (singular, ips.first()) {
        ("", None) => FieldErrors::new(),
        ("", Some(_)) => {
            [FieldError::invalid(IPS, json!(ips), "must be empty when `clusterIP` is not specified")].into()
        }
        (_, None) => [FieldError::required(IPS, "")].into(),
        (singular, Some(first)) if singular != *first => {
            [FieldError::invalid(IPS, json!(ips), "first value must match `clusterIP`")].into()
        }
        _ => FieldErrors::new(),
    }
}

fn families(service: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (index, family) in strings(service, &["spec", "ipFamilies"]).into_iter().enumerate() {
        let path = format!("spec.ipFamilies[{index}]");
        errors.extend(one_of_optional(&path, Some(family), &["IPv4", "IPv6"]));
        if !seen.insert(family) {
            errors.push(FieldError::duplicate(path, family));
        }
    }
    let policy = Some(service.str(&["spec", "ipFamilyPolicy"])).filter(|policy| !policy.is_empty());
    let supported = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.extend(one_of_optional("spec.ipFamilyPolicy", policy, &supported));
    errors
}

/// The addresses, without a `None` in its place, and what is wrong with the others.
fn parse(ips: &[&str]) -> (Vec<IpAddr>, FieldErrors) {
    let (mut parsed, mut errors) = (Vec::new(), FieldErrors::new());
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && *ip == "None" {
            if ips.len() > 1 {
                errors.push(FieldError::invalid(IPS, json!(ips), "'None' must be the first and only value"));
            }
            continue;
        }
        match addresses::ip(ip) {
            Ok(ip) => parsed.push(ip),
            Err(detail) => errors.push(FieldError::invalid(format!("{IPS}[{index}]"), *ip, detail)),
        }
    }
    (parsed, errors)
}

fn match_families(service: &Object, ips: &[IpAddr]) -> FieldErrors {
    let families = strings(service, &["spec", "ipFamilies"]);
    let pairs = families.into_iter().zip(ips).enumerate();
    pairs
        .filter(|(_, (family, ip))| *family != addresses::family(**ip))
        .map(|(index, (family, ip))| {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            FieldError::invalid(format!("{IPS}[{index}]"), ip.to_string(), detail)
        })
        .collect()
}
