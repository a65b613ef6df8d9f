//! Checks of a change to a Service: what may not change while it has an address.

use serde_json::{Value, json};

use super::facts::{cluster_ips, is_headless, kind, needs_health_check_port, same};
use skiff_machinery::cells::strings;
use skiff_machinery::{FieldError, FieldErrors, Object};

const ONCE: &str = "may not change once set";
const POLICY: &str = "spec.ipFamilyPolicy";

/// Checks only the change; the new object is checked by [`super::validate`].
pub(super) fn validate_update(new: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let lasting = kind(new) != "ExternalName" && kind(old) != "ExternalName";
    if lasting && !(is_headless(new) && is_headless(old)) {
        errors.extend(address_change(new, old));
        errors.extend(family_change(new, old));
    }
    if needs_health_check_port(new) && needs_health_check_port(old) && !same(new, old, "healthCheckNodePort")
    {
        errors.push(FieldError::forbidden("spec.healthCheckNodePort", "field is immutable"));
    }
    let balancers = kind(new) == "LoadBalancer" && kind(old) == "LoadBalancer";
    if balancers && !same(new, old, "loadBalancerClass") {
        let class = new.get(&["spec", "loadBalancerClass"]).cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec.loadBalancerClass", class, ONCE));
    }
    errors
}

fn address_change(new: &Object, old: &Object) -> FieldErrors {
    list_change(new, cluster_ips(new), cluster_ips(old), "spec.clusterIPs", "clusterIP")
}

fn family_change(new: &Object, old: &Object) -> FieldErrors {
    let families = |service| strings(service, &["spec", "ipFamilies"]);
    list_change(new, families(new), families(old), "spec.ipFamilies", "ipFamily")
}

/// The first item stays; the second may come, and may go with the policy SingleStack.
fn list_change(new: &Object, after: Vec<&str>, before: Vec<&str>, path: &str, what: &str) -> FieldErrors {
    let whole: Value = json!(after);
    let changed = |index: usize| FieldError::invalid(format!("{path}[{index}]"), whole.clone(), ONCE);
    if before.len() == after.len() {
        let differs = before.iter().zip(&after).enumerate().filter(|(_, (before, after))| before != after);
        return differs.map(|(index, _)| changed(index)).collect();
    }
    let mut errors = FieldErrors::new();
    match (before.first(), after.first()) {
        (Some(_), None) => {
            let detail = format!("primary {what} can not be unset");
            errors.push(FieldError::invalid(format!("{path}[0]"), whole.clone(), detail));
        }
        (Some(first), Some(now)) if first != now => errors.push(changed(0)),
        _ => {}
    }
    let policy = new.str(&["spec", "ipFamilyPolicy"]);
    if before.len() > after.len() && after.len() == 1 && policy != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.push(FieldError::invalid(POLICY, policy, detail));
    }
    errors
}
