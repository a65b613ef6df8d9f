//! Deployment.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
    Subresource, selector,
};
use skiff_schema::Schema;

use crate::groups::APPS;
use crate::row::stored;
use crate::shared::defaults::{fill, fill_text, object_mut};
use crate::shared::template::{TEMPLATE, with_selector};
use crate::shared::{check, share, workload};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: with_selector(vec![
            name_column(),
            text("Ready", "Pods that are ready, of those wanted."),
            text("Up-to-date", "Pods of the current template."),
            text("Available", "Pods that have been ready for long enough."),
            age_column(),
        ]),
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, APPS, "io.k8s.api.apps.v1.Deployment", Scope::Namespaced, DeploymentStrategy)
            .short(&["deploy"])
            .in_all()
            .below(&[Subresource::Scale, Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let number = |path: &[&str]| object.get(path).and_then(Value::as_i64).unwrap_or(0);
    let [containers, images] = TEMPLATE.cells(object);
    let selected = object.get(&["spec", "selector"]).map_or_else(|| Some(String::new()), selector::shown);
    cells::row([
        object.name().into(),
        format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"])).into(),
        number(&["status", "updatedReplicas"]).into(),
        number(&["status", "availableReplicas"]).into(),
        age(object, now),
        containers,
        images,
        selected.unwrap_or_else(|| "<invalid>".to_owned()).into(),
    ])
}

/// What is special about deployments.
struct DeploymentStrategy;

impl Strategy for DeploymentStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object_mut(object.as_map_mut(), "spec");
        fill(spec, "replicas", 1);
        let strategy = object_mut(spec, "strategy");
        fill_text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            let rolling = object_mut(strategy, "rollingUpdate");
            fill(rolling, "maxUnavailable", "25%");
            fill(rolling, "maxSurge", "25%");
        }
        fill(spec, "revisionHistoryLimit", 10);
        fill(spec, "progressDeadlineSeconds", 600);
        object_mut(spec, "template");
        TEMPLATE.default(object);
    }

    /// The annotations are those of its ReplicaSets as well.
    fn counts_annotations(&self) -> bool {
        true
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        TEMPLATE.drop_disabled(object, None);
        object.set(&["status"], json!({}));
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
    }

    fn prepare_status(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        match old.get(&["metadata", "labels"]) {
            Some(labels) => new.set(&["metadata", "labels"], labels.clone()),
            None => drop(new.remove(&["metadata", "labels"])),
        }
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate(object)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = validate(new);
        errors.extend(workload::same_selector(new, old));
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = validate_status(new);
        errors.extend(workload::collisions_grow(new, old));
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        match old {
            None => workload::name_warnings(new).into_iter().chain(TEMPLATE.warnings(new)).collect(),
            Some(old) if changes_generation(new, old) => TEMPLATE.warnings(new),
            Some(_) => Vec::new(),
        }
    }
}

fn changes_generation(new: &Object, old: &Object) -> bool {
    new.get(&["metadata", "generation"]) != old.get(&["metadata", "generation"])
}

fn validate(object: &Object) -> FieldErrors {
    let mut errors = check::none_negative(object, "spec", &["replicas"]);
    errors.extend(workload::check_replicated(object, TEMPLATE));
    errors.extend(validate_strategy(object));
    let least = object.int(&["spec", "minReadySeconds"]).unwrap_or(0);
    let numbers = ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    errors.extend(check::none_negative(object, "spec", &numbers));
    if let Some(deadline) = object.int(&["spec", "progressDeadlineSeconds"]).filter(|most| *most <= least) {
        let path = "spec.progressDeadlineSeconds";
        errors.push(FieldError::invalid(path, deadline, "must be greater than minReadySeconds"));
    }
    errors
}

/// How pods are replaced.
fn validate_strategy(object: &Object) -> FieldErrors {
    let rolling = object.get(&["spec", "strategy", "rollingUpdate"]).filter(|rolling| !rolling.is_null());
    match (object.str(&["spec", "strategy", "type"]), rolling) {
        ("Recreate", Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            [FieldError::forbidden("spec.strategy.rollingUpdate", detail)].into()
        }
        ("RollingUpdate", Some(rolling)) => validate_rolling(rolling),
        ("Recreate", None) | ("RollingUpdate", None) => FieldErrors::new(),
        (other, rolling) => {
            let shown = format!(
                r#"{{"Type":{},"RollingUpdate":{}}}"#,
                Value::from(other),
                rolling.map_or_else(|| "null".to_owned(), go_rolling)
            );
            let supported = ["Recreate", "RollingUpdate"];
            [FieldError::not_supported("spec.strategy", other, &supported).showing(shown)].into()
        }
    }
}

/// The bounds of a rolling update with the names of Go's fields.
fn go_rolling(rolling: &Value) -> String {
    let bound = |field: &str| rolling.get(field).cloned().unwrap_or_else(|| 0.into());
    format!(r#"{{"MaxUnavailable":{},"MaxSurge":{}}}"#, bound("maxUnavailable"), bound("maxSurge"))
}

fn validate_rolling(rolling: &Value) -> FieldErrors {
    let bounds = [("maxUnavailable", &rolling["maxUnavailable"]), ("maxSurge", &rolling["maxSurge"])];
    let path = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
    let mut errors: FieldErrors =
        bounds.iter().flat_map(|(field, value)| share::check(&path(field), value)).collect();
    let [away, more] = bounds.map(|(_, value)| value);
    if share::number(away) == 0 && share::number(more) == 0 {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(path("maxUnavailable"), away.clone(), detail));
    }
    errors.extend(share::at_most_all(&path("maxUnavailable"), away));
    errors
}

fn validate_status(object: &Object) -> FieldErrors {
    const ALL: &str = "cannot be greater than status.replicas";
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    let mut errors = check::none_negative(object, "status", &counts);
    let some = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    errors.extend(workload::at_most(object, &some, "replicas", ALL));
    let ready = "cannot be greater than readyReplicas";
    errors.extend(workload::at_most(object, &["availableReplicas"], "readyReplicas", ready));
    errors
}
