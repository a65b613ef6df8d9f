//! DaemonSet.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, integer, name_column, string_map, text};
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
    Subresource,
};
use skiff_schema::Schema;

use crate::groups::APPS;
use crate::row::stored;
use crate::shared::check::{self, not_negative};
use crate::shared::defaults::{fill, fill_text, object_mut};
use crate::shared::share;
use crate::shared::template::{TEMPLATE, selector_cell, with_selector};
use crate::shared::workload::{self, Fit};

/// The count of template changes, which was a field once.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: with_selector(vec![
            name_column(),
            integer("Desired", "Number of nodes that should run a pod."),
            integer("Current", "Number of nodes that run a pod and should."),
            integer("Ready", "Number of nodes whose pod is ready."),
            integer("Up-to-date", "Number of nodes whose pod is of the current template."),
            integer("Available", "Number of nodes whose pod has been ready for long enough."),
            text("Node Selector", "Labels of the nodes that should run a pod."),
            age_column(),
        ]),
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, APPS, "io.k8s.api.apps.v1.DaemonSet", Scope::Namespaced, SetStrategy)
            .short(&["ds"])
            .in_all()
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let count = |field: &str| object.int(&["status", field]).unwrap_or(0).into();
    let [containers, images] = TEMPLATE.cells(object);
    let nodes = string_map(object, &["spec", "template", "spec", "nodeSelector"]);
    cells::row([
        object.name().into(),
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        cells::labels(&nodes).into(),
        age(object, now),
        containers,
        images,
        selector_cell(object.get(&["spec", "selector"])),
    ])
}

/// What is special about daemon sets.
struct SetStrategy;

impl Strategy for SetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object_mut(object.as_map_mut(), "spec");
        let update = object_mut(spec, "updateStrategy");
        fill_text(update, "type", "RollingUpdate");
        if update["type"] == "RollingUpdate" {
            let rolling = object_mut(update, "rollingUpdate");
            fill(rolling, "maxUnavailable", 1);
            fill(rolling, "maxSurge", 0);
        }
        fill(spec, "revisionHistoryLimit", 10);
        object_mut(spec, "template");
        TEMPLATE.default(object);
        // It is in every object, whoever wrote it.
        set_template_generation(object, template_generation(object));
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        let generation = template_generation(object).max(1);
        set_template_generation(object, generation);
        TEMPLATE.drop_disabled(object, None);
        object.set(
            &["status"],
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}),
        );
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
        let changed = i64::from(TEMPLATE.get(new) != TEMPLATE.get(old));
        set_template_generation(new, template_generation(old) + changed);
    }

    fn prepare_status(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        set_template_generation(new, template_generation(old));
    }

    fn added_annotations(&self) -> &'static [&'static str] {
        &[TEMPLATE_GENERATION]
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate(object, Values::Checked)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = workload::same_selector(new, old);
        errors.extend(validate(new, tolerated(old)));
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let counts = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ];
        let mut errors = check::none_negative(new, "status", &counts);
        errors.extend(workload::collisions_grow(new, old));
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some_and(|old| template_generation(new) == template_generation(old)) {
            return Vec::new();
        }
        TEMPLATE.warnings(new)
    }
}

fn template_generation(object: &Object) -> i64 {
    object.annotations().get(TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set_template_generation(object: &mut Object, generation: i64) {
    object.set(&["metadata", "annotations", TEMPLATE_GENERATION], generation.to_string());
}

/// Values that were there before may be wrong.
fn tolerated(old: &Object) -> Values {
    let errors = workload::selector_of(old).map(|selector| selector::validate("", selector, Values::Checked));
    if errors.is_some_and(|errors| !errors.is_empty()) { Values::Tolerated } else { Values::Checked }
}

fn validate(object: &Object, values: Values) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let selector = workload::selector_of(object);
    errors.extend(
        selector.map(|selector| selector::validate("spec.selector", selector, values)).into_iter().flatten(),
    );
    if workload::fit(object, TEMPLATE) == Fit::Missed {
        errors.push(workload::missed(object, TEMPLATE));
    }
    let everything = selector.filter(|selector| workload::is_everything(selector));
    errors.extend(
        everything
            .map(|selector| workload::about_selector(selector, "empty selector is invalid for daemonset")),
    );
    errors.extend(TEMPLATE.validate(object));
    errors.extend(workload::never_end(object, TEMPLATE, "DaemonSet"));
    errors.extend(check::none_negative(object, "spec", &["minReadySeconds"]));
    errors.extend(not_negative("spec.templateGeneration", template_generation(object)));
    errors.extend(validate_update_strategy(object));
    errors.extend(check::none_negative(object, "spec", &["revisionHistoryLimit"]));
    errors
}

/// How pods are replaced.
fn validate_update_strategy(object: &Object) -> FieldErrors {
    const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
    let rolling =
        object.get(&["spec", "updateStrategy", "rollingUpdate"]).filter(|rolling| !rolling.is_null());
    match (object.str(&["spec", "updateStrategy", "type"]), rolling) {
        ("OnDelete", _) => FieldErrors::new(),
        ("RollingUpdate", None) => [FieldError::required(ROLLING, "")].into(),
        ("RollingUpdate", Some(rolling)) => validate_rolling(ROLLING, rolling),
        (other, rolling) => {
            let bound =
                |rolling: &Value, field: &str| rolling.get(field).cloned().unwrap_or_else(|| 0.into());
            let rolling = rolling.map_or_else(
                || "null".to_owned(),
                |rolling| {
                    let (away, more) = (bound(rolling, "maxUnavailable"), bound(rolling, "maxSurge"));
                    format!(r#"{{"MaxUnavailable":{away},"MaxSurge":{more}}}"#)
                },
            );
            let shown = format!(r#"{{"Type":{},"RollingUpdate":{rolling}}}"#, Value::from(other));
            let supported = ["RollingUpdate", "OnDelete"];
            [FieldError::not_supported("spec.updateStrategy", other, &supported).showing(shown)].into()
        }
    }
}

/// Pods are replaced either before others come or after.
fn validate_rolling(path: &str, rolling: &Value) -> FieldErrors {
    let bounds = [("maxUnavailable", &rolling["maxUnavailable"]), ("maxSurge", &rolling["maxSurge"])];
    let paths = bounds.map(|(field, value)| (format!("{path}.{field}"), value));
    let mut errors: FieldErrors = paths.iter().flat_map(|(path, value)| share::check(path, value)).collect();
    errors.extend(paths.iter().flat_map(|(path, value)| share::at_most_all(path, value)));
    let [(away, _), (more, surge)] = paths;
    match bounds.map(|(_, value)| share::number(value) != 0) {
        [true, true] => {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.push(FieldError::invalid(more, surge.clone(), detail));
        }
        [false, false] => errors.push(FieldError::required(away, "cannot be 0 when maxSurge is 0")),
        _ => {}
    }
    errors
}
