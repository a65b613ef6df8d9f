//! What may only be used in namespaces with a quota that is about it, as `ResourceQuotaConfiguration` says it.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use super::{Counted, Refused, Request, scope};
use crate::amounts::{Amounts, items, text};

/// One of `limitedResources`.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitedResource {
    group: String,
    resource: String,
    /// Uses whose names contain one of these need a quota that counts them.
    contains: Vec<String>,
    /// Objects in one of these scopes need a quota that is about it; expressions as in a ResourceQuota's `scopeSelector`.
    scopes: Vec<Value>,
}

impl LimitedResource {
    /// The limits of a `ResourceQuotaConfiguration`, whose fields have the types that they should have.
    ///
    /// # Errors
    /// What is missing in it, by field.
    pub fn read(configuration: &Value) -> Result<Vec<Self>, FieldErrors> {
        let (mut limits, mut errors) = (Vec::new(), FieldErrors::new());
        for (at, limit) in items(&configuration["limitedResources"]).iter().enumerate() {
            let resource = text(&limit["resource"]);
            if resource.is_empty() {
                errors.push(FieldError::required(format!("limitedResources[{at}].resource"), ""));
            }
            limits.push(Self {
                group: text(&limit["apiGroup"]).to_owned(),
                resource: resource.to_owned(),
                contains: items(&limit["matchContains"]).iter().map(|part| text(part).to_owned()).collect(),
                scopes: items(&limit["matchScopes"]).to_vec(),
            });
        }
        if errors.is_empty() { Ok(limits) } else { Err(errors) }
    }
}

/// Refuses what needs a quota and has none. `concerned` are those of the namespace's quotas that count the object.
pub(super) fn check<'q>(
    limited: &[LimitedResource],
    quotas: &[Value],
    concerned: impl Iterator<Item = &'q Value>,
    usage: &Amounts,
    request: &Request<'_>,
) -> Result<(), Refused> {
    if limited.is_empty() {
        return Ok(());
    }
    let mut needed = names(limited, usage, request.counted);
    for quota in concerned {
        for name in
            Amounts::read(&quota["status"]["hard"]).names().filter(|name| request.counted.counts(name))
        {
            needed.remove(name);
        }
    }
    if !needed.is_empty() {
        let names = needed.into_iter().collect::<Vec<_>>().join(",");
        return Err(format!("insufficient quota to consume: {names}").into());
    }
    let uncovered = uncovered(limited, quotas, request);
    if uncovered.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = uncovered.into_iter().map(shown).collect();
    Err(Refused::Uncovered(format!("insufficient quota to match these scopes: [{}]", shown.join(" "))))
}

/// What is used by names that need a quota.
fn names<'u>(limited: &[LimitedResource], usage: &'u Amounts, counted: Counted<'_>) -> BTreeSet<&'u str> {
    let limits: Vec<&LimitedResource> =
        limited.iter().filter(|limit| counted.is_of(&limit.group, &limit.resource)).collect();
    let is_limited =
        |name: &str| limits.iter().any(|limit| limit.contains.iter().any(|part| name.contains(part)));
    usage
        .iter()
        .filter(|(name, amount)| amount.nanos() > 0 && is_limited(name))
        .map(|(name, _)| name)
        .collect()
}

/// The scopes in which the object is and that no quota is about. As in Kubernetes they count whatever resource they are
/// listed for.
fn uncovered<'l>(limited: &'l [LimitedResource], quotas: &[Value], request: &Request<'_>) -> Vec<&'l Value> {
    let Request { counted, object, .. } = *request;
    let matched = limited.iter().flat_map(|limit| &limit.scopes);
    matched
        .filter(|expression| scope::selects(expression, counted, object))
        .filter(|expression| {
            let name = text(&expression["scopeName"]);
            !quotas.iter().any(|quota| scope::covers(quota, name, counted, object))
        })
        .collect()
}

/// As Go prints an expression: `{PriorityClass In [high low]}`.
fn shown(expression: &Value) -> String {
    let values: Vec<&str> = items(&expression["values"]).iter().map(text).collect();
    let (scope, operator) = (text(&expression["scopeName"]), text(&expression["operator"]));
    format!("{{{scope} {operator} [{}]}}", values.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::charge;
    use super::*;
    use crate::Operation;

    fn limits() -> Vec<LimitedResource> {
        let configuration = json!({"limitedResources": [
            {"resource": "persistentvolumeclaims", "matchContains": [".storageclass.storage.k8s.io/requests.storage"]},
            {"resource": "pods", "matchContains": ["requests.cpu"], "matchScopes": [
                {"scopeName": "PriorityClass", "operator": "In", "values": ["high", "higher"]}]},
            {"apiGroup": "example.com", "resource": "widgets", "matchContains": ["count/"]},
        ]});
        LimitedResource::read(&configuration).unwrap()
    }

    fn quota(hard: Value, spec: Value) -> Value {
        let used: serde_json::Map<String, Value> =
            hard.as_object().unwrap().keys().map(|name| (name.clone(), "0".into())).collect();
        json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}})
    }

    fn pod(class: &str, cpu: &str) -> Value {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        json!({"spec": {"priorityClassName": class, "containers": [container]}})
    }

    #[track_caller]
    fn check(counted: Counted<'_>, quotas: &[Value], object: &Value, old: Option<&Value>, expected: &str) {
        let operation = old.map_or(Operation::Create, |old| Operation::Update { old });
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let request = Request { counted, subresource: None, operation, object, now };
        let answer = match charge(quotas, &limits(), &request) {
            Ok(_) => String::new(),
            Err(Refused::Forbidden(text)) => text,
            Err(Refused::Uncovered(text)) => format!("500 {text}"),
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn what_is_limited_needs_a_quota_that_counts_it() {
        let needs_cpu = "insufficient quota to consume: requests.cpu";
        check(Counted::Pods, &[], &pod("", "1"), None, needs_cpu);
        check(Counted::Pods, &[], &pod("", "0"), None, "");
        check(Counted::Pods, &[quota(json!({"pods": "9"}), json!({}))], &pod("", "1"), None, needs_cpu);
        let covering = || quota(json!({"requests.cpu": "9"}), json!({}));
        check(Counted::Pods, &[covering()], &pod("", "1"), None, "");
        let elsewhere = quota(json!({"requests.cpu": "9"}), json!({"scopes": ["Terminating"]}));
        check(Counted::Pods, &[elsewhere], &pod("", "1"), None, needs_cpu);
        let claim = |size: &str| {
            let resources = json!({"requests": {"storage": size}});
            json!({"spec": {"storageClassName": "gold", "resources": resources}})
        };
        let needs = "insufficient quota to consume: gold.storageclass.storage.k8s.io/requests.storage";
        check(Counted::Claims, &[covering()], &claim("1Gi"), None, needs);
        // What is there already stays, and may shrink.
        check(Counted::Claims, &[], &claim("1Gi"), Some(&claim("2Gi")), "");
        check(Counted::Claims, &[], &claim("2Gi"), Some(&claim("1Gi")), needs);
        check(Counted::Services, &[], &json!({"spec": {}}), None, "");
        let widgets = Counted::Objects { group: "example.com", resource: "widgets" };
        check(widgets, &[], &json!({}), None, "insufficient quota to consume: count/widgets.example.com");
        let others = Counted::Objects { group: "example.org", resource: "widgets" };
        check(others, &[], &json!({}), None, "");
    }

    #[test]
    fn scopes_that_are_limited_need_a_quota_about_them() {
        let cpu = || json!({"requests.cpu": "9"});
        let uncovered = "500 insufficient quota to match these scopes: [{PriorityClass In [high higher]}]";
        let general = quota(cpu(), json!({}));
        check(Counted::Pods, std::slice::from_ref(&general), &pod("high", "1"), None, uncovered);
        check(Counted::Pods, std::slice::from_ref(&general), &pod("low", "1"), None, "");
        let selector = |values: Value| {
            let expression = json!({"scopeName": "PriorityClass", "operator": "In", "values": values});
            quota(cpu(), json!({"scopeSelector": {"matchExpressions": [expression]}}))
        };
        check(Counted::Pods, &[selector(json!(["high"]))], &pod("high", "1"), None, "");
        check(
            Counted::Pods,
            &[general.clone(), selector(json!(["low"]))],
            &pod("high", "1"),
            None,
            uncovered,
        );
        let plain = quota(cpu(), json!({"scopes": ["PriorityClass"]}));
        check(Counted::Pods, &[plain], &pod("higher", "1"), None, "");
    }

    #[test]
    fn a_limit_names_its_resource() {
        let wrong = json!({"limitedResources": [{"resource": "pods"}, {"matchContains": ["a"]}]});
        let errors = LimitedResource::read(&wrong).unwrap_err();
        assert_eq!(errors[0].to_string(), "limitedResources[1].resource: Required value");
        assert_eq!(LimitedResource::read(&json!({})), Ok(Vec::new()));
    }
}
