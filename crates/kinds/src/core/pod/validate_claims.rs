//! Checks of the devices that a pod claims, and which of its claims containers use.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, ResourceClaim};
use serde_json::{Value, json};
use skiff_ordered::Ordered as _;

use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors};

/// Checks the claims of a pod at `path`: each has a name of its own and says where it comes from.
pub(super) fn of_pod(path: &str, claims: &[PodResourceClaim]) -> FieldErrors {
    let (mut errors, mut names) = (FieldErrors::new(), BTreeSet::new());
    for (index, claim) in claims.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        match claim.name.as_str() {
            "" => errors.push(FieldError::required(at("name"), "")),
            name if names.contains(name) => errors.push(FieldError::duplicate(at("name"), name)),
            name => {
                errors.extend(Form::DnsLabel.check(&at("name"), name));
                names.insert(name);
            }
        }
        let (named, template) = (&claim.resource_claim_name, &claim.resource_claim_template_name);
        let sources = match (named, template) {
            (Some(_), Some(_)) => {
                Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
            }
            (None, None) => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => None,
        };
        if let Some(detail) = sources {
            // As Kubernetes' own type has it.
            let [name, named, template] = [json!(claim.name), json!(named), json!(template)];
            let shown = format!(
                r#"{{"Name":{name},"ResourceClaimName":{named},"ResourceClaimTemplateName":{template}}}"#
            );
            let error = FieldError::invalid(format!("{path}[{index}]"), Value::Null, detail);
            errors.push(error.showing(shown));
        }
        for (field, name) in [("resourceClaimName", named), ("resourceClaimTemplateName", template)] {
            errors.extend(name.iter().flat_map(|name| Form::Subdomain.check(&at(field), name)));
        }
    }
    errors
}

/// The names under which containers may use a pod's claims.
pub(super) fn names(spec: &PodSpec) -> BTreeSet<&str> {
    let names = spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str());
    names.filter(|name| !name.is_empty()).to_set()
}

/// Checks which claims of the pod, of those `names`, a container uses: each once, in whole or by different requests.
pub(super) fn of_container(path: &str, claims: &[ResourceClaim], names: &BTreeSet<&str>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut used: BTreeSet<(&str, Option<&str>)> = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let (name, request) = (claim.name.as_str(), claim.request.as_deref().filter(|it| !it.is_empty()));
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        if used.contains(&(name, None)) {
            errors.push(FieldError::duplicate(at.as_str(), name));
        } else {
            errors.extend(request.iter().flat_map(|it| Form::DnsLabel.check(&format!("{at}.request"), it)));
            match request {
                Some(request) if used.contains(&(name, Some(request))) => {
                    errors.push(FieldError::duplicate(at.as_str(), format!("{name}/{request}")));
                }
                Some(_) => {}
                None => {
                    let parts = used.iter().filter(|(other, _)| *other == name);
                    errors.extend(parts.map(|_| FieldError::duplicate(at.as_str(), name)));
                }
            }
            used.insert((name, request));
        }
        if !names.contains(name) {
            let all: Vec<&str> = names.iter().copied().collect();
            let which =
                if all.is_empty() { " which is empty".to_owned() } else { format!(": {}", all.join(", ")) };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{which}");
            errors.push(FieldError::new(FieldErrorKind::NotFound, at, name, detail));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::texts;

    #[test]
    fn claims_come_from_somewhere() {
        let check = |claims: Value, expected: &[&str]| {
            let claims: Vec<PodResourceClaim> = serde_json::from_value(claims).unwrap();
            assert_eq!(texts(of_pod("c", &claims)), expected);
        };
        check(
            json!([{"name": "a", "resourceClaimName": "x"}, {"name": "b", "resourceClaimTemplateName": "y"}]),
            &[],
        );
        check(
            json!([{"name": "a"}, {"name": "a", "resourceClaimName": "x", "resourceClaimTemplateName": "y"}]),
            &[
                r#"c[0]: Invalid value: {"Name":"a","ResourceClaimName":null,"ResourceClaimTemplateName":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"#,
                r#"c[1].name: Duplicate value: "a""#,
                r#"c[1]: Invalid value: {"Name":"a","ResourceClaimName":"x","ResourceClaimTemplateName":"y"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"#,
            ],
        );
        check(json!([{"name": "", "resourceClaimName": "x"}]), &["c[0].name: Required value"]);
    }

    #[test]
    fn containers_use_claims_of_their_pod_once() {
        let check = |claims: Value, expected: &[&str]| {
            let claims: Vec<ResourceClaim> = serde_json::from_value(claims).unwrap();
            let names = BTreeSet::from(["a", "b"]);
            assert_eq!(texts(of_container("c", &claims, &names)), expected);
        };
        check(json!([{"name": "a", "request": "x"}, {"name": "a", "request": "y"}, {"name": "b"}]), &[]);
        check(json!([{"name": "a"}, {"name": "a", "request": "y"}]), &[r#"c[1]: Duplicate value: "a""#]);
        check(json!([{"name": "a", "request": "y"}, {"name": "a"}]), &[r#"c[1]: Duplicate value: "a""#]);
        check(
            json!([{"name": "a", "request": "y"}, {"name": "a", "request": "y"}]),
            &[r#"c[1]: Duplicate value: "a/y""#],
        );
        check(
            json!([{"name": "d"}, {"name": ""}]),
            &[
                r#"c[0]: Not found: "d": must be one of the names in pod.spec.resourceClaims: a, b"#,
                "c[1]: Required value",
            ],
        );
    }
}
