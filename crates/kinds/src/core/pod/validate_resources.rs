//! Checks of resource requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use serde_json::Value;

use super::super::resources::{can_be_overcommitted, check_amount, check_container_name, check_name};
use super::aggregate;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{FieldError, FieldErrors};

const HUGE_PAGES: &str = "hugepages-";

type Amounts = Option<BTreeMap<String, Amount>>;

/// Checks requests and limits of a container at `path`: known names, valid amounts, no request above its limit.
pub(crate) fn requirements(path: &str, resources: &ResourceRequirements) -> FieldErrors {
    named_requirements(path, resources, check_container_name)
}

fn named_requirements(
    path: &str,
    resources: &ResourceRequirements,
    check: fn(&str, &str) -> FieldErrors,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (name, limit) in resources.limits.iter().flatten() {
        errors.extend(amount(&format!("{path}.limits[{name}]"), name, limit, check));
    }
    for (name, request) in resources.requests.iter().flatten() {
        errors.extend(amount(&format!("{path}.requests[{name}]"), name, request, check));
        errors.extend(beside_limit(path, name, request, &resources.limits));
    }
    errors.extend(huge_pages(path, resources));
    errors
}

fn amount(path: &str, name: &str, amount: &Amount, check: fn(&str, &str) -> FieldErrors) -> FieldErrors {
    let mut errors = check(path, name);
    match parsed(amount) {
        None => errors.push(FieldError::invalid(path, amount.0.as_str(), "must be an amount")),
        Some(quantity) => {
            errors.extend(check_amount(path, name, &quantity));
            if name.strip_prefix(HUGE_PAGES).is_some_and(|page| !is_divisible(quantity, page)) {
                let detail = format!("{quantity} is not positive integer multiple of {name}");
                errors.push(FieldError::invalid(path, quantity.to_string(), detail));
            }
        }
    }
    errors
}

fn parsed(amount: &Amount) -> Option<Quantity> {
    amount.0.parse().ok()
}

/// Whether an amount is made of whole pages of a size.
fn is_divisible(amount: Quantity, page: &str) -> bool {
    let page = page.parse::<Quantity>().ok().and_then(Quantity::integer).filter(|page| *page > 0);
    page.is_some_and(|page| amount.units() % page == 0)
}

/// A request is at most its limit; of what cannot be shared, exactly that.
fn beside_limit(path: &str, name: &str, request: &Amount, limits: &Amounts) -> FieldErrors {
    let shared = can_be_overcommitted(name);
    let Some(limit) = limits.as_ref().and_then(|limits| limits.get(name)) else {
        let detail = "Limit must be set for non overcommitable resources";
        let error = (!shared).then(|| FieldError::required(format!("{path}.limits"), detail));
        return error.into_iter().collect();
    };
    let (Some(asked), Some(most)) = (parsed(request), parsed(limit)) else { return FieldErrors::new() };
    let relation = if !shared && asked.nanos() != most.nanos() {
        "equal to"
    } else if asked.nanos() > most.nanos() {
        "less than or equal to"
    } else {
        return FieldErrors::new();
    };
    let detail = format!("must be {relation} {name} limit of {most}");
    [FieldError::invalid(format!("{path}.requests"), asked.to_string(), detail)].into()
}

/// Checks the requests and limits of a pod as a whole: those of [`requirements`], nothing but what pods can ask for, and
/// no container above them.
pub(super) fn whole_pod(path: &str, spec: &PodSpec, tree: &Value) -> FieldErrors {
    let Some(resources) = &spec.resources else { return FieldErrors::new() };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return [FieldError::forbidden(path, "may not be set for a windows pod")].into();
    }
    let mut errors = FieldErrors::new();
    if resources.claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        let detail = "claims may not be set for Resources at pod-level";
        errors.push(FieldError::forbidden(format!("{path}.claims"), detail));
    }
    errors.extend(named_requirements(path, resources, pod_name));
    for (name, request) in resources.requests.iter().flatten() {
        let together = tree.as_object().and_then(|spec| aggregate::request(spec, name));
        let (Some(together), Some(asked)) = (together, parsed(request)) else { continue };
        if together.nanos() > asked.nanos() {
            let detail =
                format!("must be greater than or equal to aggregate container requests of {together}");
            errors.push(FieldError::invalid(format!("{path}.requests[{name}]"), asked.to_string(), detail));
        }
    }
    errors.extend(container_limits(path, spec, &resources.limits));
    errors
}

/// The limits of each container are at most the pod's.
fn container_limits(path: &str, spec: &PodSpec, limits: &Amounts) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let own = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for (name, limit) in own.into_iter().flatten() {
            let most = limits.as_ref().and_then(|limits| parsed(limits.get(name)?));
            let (Some(limit), Some(most)) = (parsed(limit), most) else { continue };
            if limit.nanos() > most.nanos() {
                let field = format!("{path}.containers[{index}][{name}].limits");
                let detail = format!("must be less than or equal to pod limits of {most}");
                errors.push(FieldError::invalid(field, limit.to_string(), detail));
            }
        }
    }
    errors
}

/// Checks the name of a resource that pods can ask for.
fn pod_name(path: &str, name: &str) -> FieldErrors {
    let errors = check_name(path, name);
    if errors.is_empty() && !aggregate::is_for_pods(name) {
        return [FieldError::not_supported(path, name, &["cpu", HUGE_PAGES, "memory"])].into();
    }
    errors
}

/// Huge pages alone are asked for by nobody.
fn huge_pages(path: &str, resources: &ResourceRequirements) -> FieldErrors {
    let lists = [&resources.limits, &resources.requests];
    let names = || lists.into_iter().flatten().flat_map(|amounts| amounts.keys().map(String::as_str));
    let alone = !names().any(|name| matches!(name, "cpu" | "memory"));
    if names().any(|name| name.starts_with(HUGE_PAGES)) && alone {
        return [FieldError::forbidden(path, "HugePages require cpu or memory")].into();
    }
    FieldErrors::new()
}
