//! ReplicaSet.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use skiff_machinery::cells::{self, age, age_column, integer, name_column, wide};
use skiff_machinery::{
    Context, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use crate::groups::APPS;
use crate::row::stored;
use crate::shared::defaults::{fill, object_mut};
use crate::shared::template::{TEMPLATE, selector_cell};
use crate::shared::{check, workload};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            integer("Desired", "Number of pods wanted."),
            integer("Current", "Number of pods that exist."),
            integer("Ready", "Number of pods that are ready."),
            age_column(),
            wide("Containers", "Names of the template's containers."),
            wide("Images", "Images of the template's containers."),
            wide("Selector", "Which pods are its own."),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, APPS, "io.k8s.api.apps.v1.ReplicaSet", Scope::Namespaced, SetStrategy)
            .short(&["rs"])
            .in_all()
            .below(&[Subresource::Scale, Subresource::Status])
    }
}

fn number(object: &Object, path: &[&str]) -> i64 {
    object.int(path).unwrap_or(0)
}

fn print(object: &Object, now: Timestamp) -> Row {
    let [containers, images] = TEMPLATE.cells(object);
    cells::row([
        object.name().into(),
        number(object, &["spec", "replicas"]).into(),
        number(object, &["status", "replicas"]).into(),
        number(object, &["status", "readyReplicas"]).into(),
        age(object, now),
        containers,
        images,
        selector_cell(object.get(&["spec", "selector"])),
    ])
}

/// What is special about ReplicaSets.
struct SetStrategy;

impl Strategy for SetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object_mut(object.as_map_mut(), "spec");
        fill(spec, "replicas", 1);
        object_mut(spec, "template");
        TEMPLATE.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        TEMPLATE.drop_disabled(object, None);
        object.set(&["status"], json!({"replicas": 0}));
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = check::none_negative(object, "spec", &["replicas", "minReadySeconds"]);
        errors.extend(workload::check_replicated(object, TEMPLATE));
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        errors.extend(workload::same_selector(new, old));
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        const ALL: &str = "cannot be greater than status.replicas";
        let counts = [
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "observedGeneration",
            "terminatingReplicas",
        ];
        let mut errors = check::none_negative(new, "status", &counts);
        let some = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        errors.extend(workload::at_most(new, &some, "replicas", ALL));
        let ready = "cannot be greater than readyReplicas";
        errors.extend(workload::at_most(new, &["availableReplicas"], "readyReplicas", ready));
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        match old {
            None => workload::name_warnings(new).into_iter().chain(TEMPLATE.warnings(new)).collect(),
            Some(old) if new.get(&["spec"]) != old.get(&["spec"]) => TEMPLATE.warnings(new),
            Some(_) => Vec::new(),
        }
    }
}
