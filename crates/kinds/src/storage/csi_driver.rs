//! CSIDriver: what a driver of volumes can do and wants of the cluster.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{
    self, NONE, age, age_column, boolean, items, name_column, str_of, strings, text,
};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
};
use skiff_schema::Schema;
use std::collections::BTreeSet;

use crate::groups::STORAGE;
use crate::row::stored;
use crate::shared::check::{immutable, one_of_optional};
use crate::shared::defaults::{fill, object_mut};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            boolean("AttachRequired", "Whether volumes are attached to nodes before they are mounted."),
            boolean("PodInfoOnMount", "Whether the driver is told of the pod when a volume is mounted."),
            boolean("StorageCapacity", "Whether the scheduler looks at the storage that is left."),
            text("TokenRequests", "For whom service account tokens are passed to the driver."),
            boolean("RequiresRepublish", "Whether mounted volumes are published again and again."),
            text("Modes", "For which kinds of volumes the driver is."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, STORAGE, "io.k8s.api.storage.v1.CSIDriver", Scope::Cluster, DriverStrategy)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let flag = |name: &str| object.get(&["spec", name]).and_then(Value::as_bool);
    let tokens = match object.get(&["spec", "tokenRequests"]) {
        None | Some(Value::Null) => "<unset>".to_owned(),
        Some(_) => {
            let requests = items(object, &["spec", "tokenRequests"]).iter();
            requests.map(|request| str_of(request, "audience")).collect::<Vec<_>>().join(",")
        }
    };
    let modes = strings(object, &["spec", "volumeLifecycleModes"]).join(",");
    cells::row([
        object.name().into(),
        flag("attachRequired").unwrap_or(true).into(),
        flag("podInfoOnMount").unwrap_or_default().into(),
        flag("storageCapacity").unwrap_or_default().into(),
        tokens.into(),
        flag("requiresRepublish").unwrap_or_default().into(),
        if modes.is_empty() { NONE.into() } else { modes.into() },
        age(object, now),
    ])
}

/// Seconds for which a token is valid at least, and at most.
const TOKEN_SECONDS: (i64, i64) = (600, 1 << 32);

const MODES: [&str; 2] = ["Persistent", "Ephemeral"];

/// What is special about drivers.
struct DriverStrategy;

impl Strategy for DriverStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Object) {
        let spec = object_mut(object.as_map_mut(), "spec");
        fill(spec, "attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            fill(spec, field, false);
        }
        fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec.get("volumeLifecycleModes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("volumeLifecycleModes".to_owned(), json!(["Persistent"]));
        }
    }

    /// The scheduler's part of it is off.
    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.remove(&["spec", "preventPodSchedulingIfMissing"]);
    }

    /// The generation counts changes only: the first is the first generation.
    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        const OFF: &[&str] = &["spec", "preventPodSchedulingIfMissing"];
        if old.get(OFF).is_none_or(Value::is_null) {
            new.remove(OFF);
        }
        if new.get(&["spec"]) != old.get(&["spec"]) {
            let generation = old.get(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default();
            new.set(&["metadata", "generation"], generation + 1);
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let at = |field: &str| object.get(&["spec", field]).unwrap_or(&Value::Null);
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        let mut errors = one_of_optional("spec.fsGroupPolicy", at("fsGroupPolicy").as_str(), &policies);
        let requests = items(object, &["spec", "tokenRequests"]);
        errors.extend(tokens(requests));
        for mode in strings(object, &["spec", "volumeLifecycleModes"]) {
            errors.extend(one_of_optional("spec.volumeLifecycleModes", Some(mode), &MODES));
        }
        const PERIOD: &str = "spec.nodeAllocatableUpdatePeriodSeconds";
        if let Some(period) = at("nodeAllocatableUpdatePeriodSeconds").as_i64().filter(|period| *period < 10)
        {
            errors.push(FieldError::invalid(PERIOD, period, "must be greater than or equal to 10 seconds"));
        }
        if let Value::Bool(given) = at("serviceAccountTokenInSecrets")
            && requests.is_empty()
        {
            let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.push(FieldError::invalid("spec.serviceAccountTokenInSecrets", *given, detail));
        }
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        // Kubernetes spells the first so.
        for (field, name) in
            [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            let path = ["spec", field];
            errors.extend(immutable(&format!("spec.{name}"), new.get(&path), old.get(&path)));
        }
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        const REQUESTS: &[&str] = &["spec", "tokenRequests"];
        let is_new = old.is_none_or(|old| old.get(REQUESTS) != new.get(REQUESTS));
        let is_open = new.get(&["spec", "serviceAccountTokenInSecrets"]).is_none_or(Value::is_null);
        if items(new, REQUESTS).is_empty() || !is_new || !is_open {
            return Vec::new();
        }
        vec![
            concat!(
                "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, ",
                "set to true to prevent possible logging of tokens in volume attributes",
            )
            .to_owned(),
        ]
    }
}

/// One token for each audience, not valid too briefly or too long.
fn tokens(requests: &[Value]) -> FieldErrors {
    let (least, most) = TOKEN_SECONDS;
    let mut errors = FieldErrors::new();
    let mut audiences = BTreeSet::new();
    for (index, request) in requests.iter().enumerate() {
        let at = |field: &str| format!("spec.tokenRequests[{index}].{field}");
        let audience = str_of(request, "audience");
        if !audiences.insert(audience) {
            errors.push(FieldError::duplicate(at("audience"), audience));
            continue;
        }
        let Some(seconds) = request.get("expirationSeconds").and_then(Value::as_i64) else { continue };
        if seconds < least {
            let detail = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(at("expirationSeconds"), seconds, detail));
        }
        if seconds > most {
            let detail = "may not specify a duration larger than 2^32 seconds";
            errors.push(FieldError::invalid(at("expirationSeconds"), seconds, detail));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn driver(spec: Value) -> Object {
        let mut driver = object(json!({ "spec": spec }));
        DriverStrategy.default(&mut driver);
        driver
    }

    #[test]
    fn tokens_are_for_different_audiences_and_a_while() {
        let check = |requests: Value, expected: &[&str]| {
            assert_eq!(texts(tokens(requests.as_array().unwrap())), expected);
        };
        check(json!([{"audience": ""}, {"audience": "a", "expirationSeconds": 600}]), &[]);
        check(
            json!([{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}, {"audience": "b", "expirationSeconds": 1_i64 << 33}]),
            &[
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                r#"spec.tokenRequests[1].audience: Duplicate value: "a""#,
                "spec.tokenRequests[2].expirationSeconds: Invalid value: 8589934592: may not specify a duration larger than 2^32 seconds",
            ],
        );
    }

    #[test]
    fn how_volumes_are_attached_stays() {
        let check = |new: Value, expected: &[&str]| {
            let (new, old) = (driver(new), driver(json!({})));
            assert_eq!(texts(with_context(|cx| DriverStrategy.validate_update(cx, &new, &old))), expected);
        };
        check(json!({"podInfoOnMount": true}), &[]);
        check(
            json!({"attachRequired": false, "volumeLifecycleModes": ["Ephemeral"]}),
            &[
                "spec.attachedRequired: Invalid value: false: field is immutable",
                r#"spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable"#,
            ],
        );
    }

    #[test]
    fn the_generation_counts_changes() {
        let (mut new, old) = (driver(json!({"podInfoOnMount": true})), driver(json!({})));
        with_context(|cx| DriverStrategy.prepare_update(cx, &mut new, &old));
        assert_eq!(new.get(&["metadata", "generation"]), Some(&json!(1)));
        let mut same = old.clone();
        with_context(|cx| DriverStrategy.prepare_update(cx, &mut same, &old));
        assert_eq!(same.get(&["metadata", "generation"]), None);
    }
}
