//! Names and amounts of resources, as LimitRanges and ResourceQuotas have them.

use serde_json::{Map, Value};
use skiff_machinery::names::Form;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{FieldError, FieldErrors};

/// Resources that quotas count and need no domain.
const QUOTA: &[&str] = &[
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// Resources of which there are only whole ones.
const COUNTED: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

const HUGE_PAGES: &str = "hugepages-";

/// Whether quotas count this under a name without a domain.
pub(super) fn is_quota_resource(name: &str) -> bool {
    let name_of_pages = name.strip_prefix("requests.").unwrap_or(name);
    QUOTA.contains(&name) || name_of_pages.starts_with(HUGE_PAGES)
}

/// Whether a resource is Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a resource is one that nodes offer besides Kubernetes' own, under a name that quotas can have, too.
fn is_extended(name: &str) -> bool {
    let fits = || Form::QualifiedName.fits(&format!("requests.{name}"));
    !is_native(name) && !name.starts_with("requests.") && fits()
}

/// Whether limits may be above requests.
pub(super) fn can_be_overcommitted(name: &str) -> bool {
    is_native(name) && !name.starts_with(HUGE_PAGES)
}

/// Checks the name of any resource.
pub(super) fn check_name(path: &str, name: &str) -> FieldErrors {
    let mut errors = Form::QualifiedName.check(path, name);
    if errors.is_empty() && !name.contains('/') && !is_quota_resource(name) && name != "storage" {
        errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
    }
    errors
}

/// Checks the name of a resource that containers use.
pub(crate) fn check_container_name(path: &str, name: &str) -> FieldErrors {
    let mut errors = check_name(path, name);
    let is_standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES);
    if !name.contains('/') && !is_standard {
        errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
    } else if !is_native(name) && !is_extended(name) {
        errors.push(FieldError::invalid(path, name, "doesn't follow extended resource name standard"));
    }
    errors
}

/// Checks the resources and amounts of a quota.
pub(super) fn check_quota(path: &str, list: Option<&Value>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (name, amount) in amounts(list) {
        let at = format!("{path}[{name}]");
        errors.extend(check_name(&at, name));
        if !name.contains('/') && !is_quota_resource(name) {
            errors.push(FieldError::invalid(at.as_str(), name, "must be a standard resource for quota"));
        }
        errors.extend(check_amount(&at, name, &amount));
    }
    errors
}

/// Checks an amount of a resource: what is counted is whole.
pub(super) fn check_amount(path: &str, name: &str, amount: &Quantity) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if amount.nanos() < 0 {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(path, amount.to_string(), why));
    }
    if (COUNTED.contains(&name) || is_extended(name)) && amount.millis() % 1000 != 0 {
        errors.push(FieldError::invalid(path, amount.to_string(), "must be an integer"));
    }
    errors
}

/// The amounts of a ResourceList by resource; the server has found out that they are amounts.
pub(super) fn amounts(list: Option<&Value>) -> impl Iterator<Item = (&str, Quantity)> {
    let entries = list.and_then(Value::as_object).into_iter().flat_map(Map::iter);
    entries.filter_map(|(name, amount)| {
        let parsed = match amount {
            Value::String(text) => text.parse().ok(),
            other => other.to_string().parse().ok(),
        };
        parsed.map(|amount| (name.as_str(), amount))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::texts;

    #[test]
    fn names_are_of_what_can_be_counted() {
        let check = |name: &str, any: bool, container: bool, quota: bool| {
            let list = json!({name: "1"});
            let found = [
                check_name("x", name).is_empty(),
                check_container_name("x", name).is_empty(),
                check_quota("x", Some(&list)).is_empty(),
            ];
            assert_eq!(found, [any, container, quota], "{name}");
        };
        check("cpu", true, true, true);
        check("pods", true, false, true);
        check("storage", true, false, false);
        check("hugepages-2Mi", true, true, true);
        check("requests.hugepages-2Mi", true, false, true);
        check("example.com/gpu", true, true, true);
        check("requests.example.com/gpu", true, false, true);
        check("count/widgets.example.com", true, true, true);
        check("other", false, false, false);
        check("-", false, false, false);
    }

    #[test]
    fn amounts_of_quotas_are_whole_and_not_negative() {
        let check = |list: Value, expected: &[&str]| {
            assert_eq!(texts(check_quota("spec.hard", Some(&list))), expected);
        };
        check(json!({"cpu": "1500m", "pods": "5", "count/x.y": "1.5k"}), &[]);
        check(json!({"pods": "1.5"}), &[r#"spec.hard[pods]: Invalid value: "1500m": must be an integer"#]);
        check(
            json!({"memory": "-1Gi"}),
            &[r#"spec.hard[memory]: Invalid value: "-1Gi": must be greater than or equal to 0"#],
        );
        check(
            json!({"storage": "1"}),
            &[r#"spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota"#],
        );
    }
}
