//! Checks of stateful sets.

use serde_json::{Value, json};
use skiff_machinery::names::Form;
use skiff_machinery::selector::Values;
use skiff_machinery::{FieldError, FieldErrors, Object, cells};

use crate::core::claim_spec;
use crate::shared::check::{self, one_of_optional};
use crate::shared::share;
use crate::shared::template::TEMPLATE;
use crate::shared::workload::{self, Fit};

/// What may differ in a spec that is changed; all else stays as it was.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

/// Whether what was there before may be wrong: it is not looked at again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    New,
    /// Names and claims are as they were; the template is, too, if it was refused today.
    Before {
        template: bool,
    },
}

pub(super) fn validate(object: &Object) -> FieldErrors {
    check_spec(object, Found::New)
}

pub(super) fn validate_update(new: &Object, old: &Object) -> FieldErrors {
    let before = check_spec(old, Found::Before { template: true });
    let mut errors = check_spec(new, Found::Before { template: before.is_empty() });
    let rest = |object: &Object| {
        let mut spec = object.get(&["spec"]).and_then(Value::as_object).cloned().unwrap_or_default();
        CHANGEABLE.iter().for_each(|field| drop(spec.remove(*field)));
        spec
    };
    if rest(new) != rest(old) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

pub(super) fn validate_status(new: &Object, old: &Object) -> FieldErrors {
    const ALL: &str = "cannot be greater than status.replicas";
    let counts = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    let mut errors = check::none_negative(new, "status", &counts);
    let some = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    errors.extend(workload::at_most(new, &some, "replicas", ALL));
    let ready = "cannot be greater than status.readyReplicas";
    errors.extend(workload::at_most(new, &["availableReplicas"], "readyReplicas", ready));
    errors.extend(workload::collisions_grow(new, old));
    errors
}

fn check_spec(object: &Object, found: Found) -> FieldErrors {
    let mut errors = check_policies(object);
    if found == Found::New {
        errors.extend(check_claims(object));
    }
    errors.extend(check::none_negative(object, "spec", &["replicas", "minReadySeconds"]));
    if let Some(start) = object.int(&["spec", "ordinals", "start"]) {
        errors.extend(check::not_negative("spec.ordinals.start", start));
    }
    let service = object.str(&["spec", "serviceName"]);
    if found == Found::New && !service.is_empty() {
        errors.extend(Form::DnsLabel.check("spec.serviceName", service));
    }
    match workload::selector_of(object) {
        None => errors.push(FieldError::required("spec.selector", "")),
        Some(selector) => {
            let everything = "empty selector is invalid for statefulset";
            errors.extend(workload::check_selector(selector, everything, Values::Checked));
        }
    }
    match workload::fit(object, TEMPLATE) {
        Fit::Unknown => {
            let selector = workload::selector_of(object);
            errors.extend(selector.map(|selector| workload::about_selector(selector, "")));
        }
        Fit::Missed => {
            errors.push(workload::missed(object, TEMPLATE));
            errors.extend(check_template(object, found));
        }
        Fit::Selected => errors.extend(check_template(object, found)),
    }
    errors.extend(workload::never_end(object, TEMPLATE, "StatefulSet"));
    errors
}

fn check_policies(object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    match object.str(&["spec", "podManagementPolicy"]) {
        "OrderedReady" | "Parallel" => {}
        "" => errors.push(FieldError::required("spec.podManagementPolicy", "")),
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.push(FieldError::invalid("spec.podManagementPolicy", other, detail));
        }
    }
    errors.extend(check_update(object));
    for field in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
        let policy =
            object.get(&["spec", "persistentVolumeClaimRetentionPolicy", field]).and_then(Value::as_str);
        errors.extend(one_of_optional(&path, policy, &["Retain", "Delete"]));
    }
    errors
}

/// What the claims ask for that each pod is to have.
fn check_claims(object: &Object) -> FieldErrors {
    let claims = cells::items(object, &["spec", "volumeClaimTemplates"]).iter().enumerate();
    let check = |(index, claim): (usize, &Value)| {
        let path = format!("spec.volumeClaimTemplates[{index}].spec");
        claim_spec::check(&path, &claim["spec"], claim_spec::Strict::default())
    };
    claims.flat_map(check).collect()
}

/// How pods are replaced.
fn check_update(object: &Object) -> FieldErrors {
    const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
    let rolling =
        object.get(&["spec", "updateStrategy", "rollingUpdate"]).filter(|rolling| !rolling.is_null());
    match (object.str(&["spec", "updateStrategy", "type"]), rolling) {
        ("", _) => [FieldError::required("spec.updateStrategy", "")].into(),
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            [FieldError::invalid(ROLLING, rolling.clone(), detail).showing(go_rolling(rolling))].into()
        }
        ("RollingUpdate", Some(rolling)) => check_rolling(ROLLING, rolling),
        ("OnDelete" | "RollingUpdate", None) => FieldErrors::new(),
        (other, rolling) => {
            let rolling = rolling.map_or_else(|| "null".to_owned(), go_rolling);
            let shown = format!(r#"{{"Type":{},"RollingUpdate":{rolling}}}"#, Value::from(other));
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            [FieldError::invalid("spec.updateStrategy", other, detail).showing(shown)].into()
        }
    }
}

/// A rolling update with the names of Go's fields.
fn go_rolling(rolling: &Value) -> String {
    let partition = rolling["partition"].as_i64().unwrap_or(0);
    let most = rolling.get("maxUnavailable").unwrap_or(&Value::Null);
    format!(r#"{{"Partition":{partition},"MaxUnavailable":{most}}}"#)
}

fn check_rolling(path: &str, rolling: &Value) -> FieldErrors {
    let partition = rolling["partition"].as_i64().unwrap_or(0);
    let mut errors = check::not_negative(&format!("{path}.partition"), partition);
    if let Some(most) = rolling.get("maxUnavailable").filter(|most| !most.is_null()) {
        let path = format!("{path}.maxUnavailable");
        errors.extend(share::check(&path, most));
        if share::number(most) == 0 {
            errors.push(FieldError::invalid(path.as_str(), most.clone(), "cannot be 0"));
        }
        errors.extend(share::at_most_all(&path, most));
    }
    errors
}

/// Checks the template as pods will have it: with volumes for the claims, and with names that the controller gives.
fn check_template(object: &Object, found: Found) -> FieldErrors {
    if found == (Found::Before { template: false }) {
        return FieldErrors::new();
    }
    let mut pods = object.clone();
    pods.remove(&["spec", "template", "spec", "subdomain"]);
    pods.remove(&["spec", "template", "spec", "hostname"]);
    let claims = cells::items(object, &["spec", "volumeClaimTemplates"]);
    let names: Vec<&str> = claims.iter().filter_map(|claim| claim["metadata"]["name"].as_str()).collect();
    if !claims.is_empty() {
        let mut volumes: Vec<Value> = names
            .iter()
            .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
            .collect();
        let others = cells::items(object, &["spec", "template", "spec", "volumes"]).iter();
        volumes.extend(others.filter(|one| !names.iter().any(|name| one["name"] == *name)).cloned());
        pods.set(&["spec", "template", "spec", "volumes"], volumes);
    }
    let mut errors = TEMPLATE.validate(&pods);
    // Kubernetes looks at these twice.
    errors.extend(TEMPLATE.validate_metadata(object));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};

    #[test]
    fn claims_of_new_sets_are_looked_at() {
        let set = |spec: Value| object(json!({"spec": {"volumeClaimTemplates": [{"spec": spec}]}}));
        let right = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        assert_eq!(texts(check_claims(&set(right))), [""; 0]);
        let wrong = set(json!({"accessModes": ["ReadWriteOnce"]}));
        let missing = "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value";
        assert_eq!(texts(check_claims(&wrong)), [missing]);
        assert!(texts(validate(&wrong)).contains(&missing.to_owned()));
        assert!(!texts(validate_update(&wrong, &wrong)).contains(&missing.to_owned()));
    }
}
