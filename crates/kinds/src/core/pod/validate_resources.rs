//! Checks of resource requests and limits.

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use serde_json::Value;

use super::aggregate;
use skiff_machinery::names::Form;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{FieldError, FieldErrors};

/// Checks requests and limits at `path`: known names, valid amounts, no request above its limit.
pub(crate) fn requirements(path: &str, resources: &ResourceRequirements) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, amount) in amounts.iter().flatten() {
            let field = format!("{path}.{list}[{name}]");
            errors.extend(resource_name(&field, name));
            errors.extend(self::amount(&field, name, &amount.0));
        }
    }
    for (name, request) in resources.requests.iter().flatten() {
        let Some(limit) = resources.limits.as_ref().and_then(|limits| limits.get(name)) else {
            if is_extended(name) {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(format!("{path}.limits"), detail));
            }
            continue;
        };
        let (Ok(asked), Ok(most)) = (request.0.parse::<Quantity>(), limit.0.parse::<Quantity>()) else {
            continue;
        };
        if is_extended(name) && asked.nanos() != most.nanos() {
            let detail = format!("must be equal to {name} limit of {}", limit.0);
            errors.push(FieldError::invalid(format!("{path}.requests"), request.0.as_str(), detail));
        } else if asked.nanos() > most.nanos() {
            let detail = format!("must be less than or equal to {name} limit of {}", limit.0);
            errors.push(FieldError::invalid(format!("{path}.requests"), request.0.as_str(), detail));
        }
    }
    errors.extend(huge_pages(path, resources));
    errors
}

/// Checks the requests and limits of a pod as a whole: those of [`requirements`], nothing but what pods can ask for, and
/// no container above them.
pub(super) fn whole_pod(path: &str, spec: &PodSpec, tree: &Value) -> FieldErrors {
    let Some(resources) = &spec.resources else { return FieldErrors::new() };
    let mut errors = requirements(path, resources);
    if resources.claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        errors.push(FieldError::forbidden(
            format!("{path}.claims"),
            "claims cannot be set for Resources at pod-level",
        ));
    }
    for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for name in
            amounts.iter().flatten().map(|(name, _)| name).filter(|name| !aggregate::is_for_pods(name))
        {
            let field = format!("{path}.{list}[{name}]");
            errors.push(FieldError::not_supported(field, name.as_str(), &["cpu", "hugepages-", "memory"]));
        }
    }
    for (name, request) in resources.requests.iter().flatten() {
        let together = tree.as_object().and_then(|spec| aggregate::request(spec, name));
        let (Some(together), Ok(asked)) = (together, request.0.parse::<Quantity>()) else { continue };
        if together.nanos() > asked.nanos() {
            let detail =
                format!("must be greater than or equal to aggregate container requests of {together}");
            errors.push(FieldError::invalid(format!("{path}.requests[{name}]"), request.0.as_str(), detail));
        }
    }
    errors
}

/// Whether a resource is one of those that can not be shared: everything with a domain of its own.
fn is_extended(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-")
}

fn resource_name(path: &str, name: &str) -> FieldErrors {
    let mut errors = Form::QualifiedName.check(path, name);
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    if errors.is_empty() && !known && !is_extended(name) {
        errors.push(FieldError::invalid(path, name, "must be a standard resource type or fully qualified"));
        errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
    }
    errors
}

/// Huge pages alone are asked for by nobody.
fn huge_pages(path: &str, resources: &ResourceRequirements) -> FieldErrors {
    let lists = [&resources.limits, &resources.requests];
    let names = || lists.into_iter().flatten().flat_map(|amounts| amounts.keys().map(String::as_str));
    let alone = !names().any(|name| matches!(name, "cpu" | "memory"));
    if names().any(|name| name.starts_with("hugepages-")) && alone {
        return [FieldError::forbidden(path, "HugePages require cpu or memory")].into();
    }
    FieldErrors::new()
}

fn amount(path: &str, name: &str, text: &str) -> FieldErrors {
    let refuse = |detail: String| FieldErrors::from([FieldError::invalid(path, text, detail)]);
    match text.parse::<Quantity>() {
        Err(error) => refuse(error.to_string()),
        Ok(amount) if amount.nanos() < 0 => refuse("must be greater than or equal to 0".to_owned()),
        Ok(amount) if is_extended(name) && amount.millis() % 1000 != 0 => {
            refuse("must be an integer".to_owned())
        }
        Ok(_) => FieldErrors::new(),
    }
}
