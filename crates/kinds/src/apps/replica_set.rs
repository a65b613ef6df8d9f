//! ReplicaSet.

use std::sync::Arc;

use serde_json::json;
use skiff_machinery::{
    Context, FieldErrors, Kind, MetadataChecks, Object, Printer, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use crate::groups::APPS;
use crate::row::stored;
use crate::shared::defaults::{fill, object_mut};
use crate::shared::template::{TEMPLATE, selector_cell};
use crate::shared::{check, replicated, workload};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: replicated::columns(),
        print: Printer::Fixed(|object, now| {
            replicated::print(object, now, selector_cell(object.get(&["spec", "selector"])))
        }),
        counts_generations: true,
        ..stored(schema, APPS, "io.k8s.api.apps.v1.ReplicaSet", Scope::Namespaced, SetStrategy)
            .short(&["rs"])
            .in_all()
            .below(&[Subresource::Scale, Subresource::Status])
    }
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
        replicated::check_counts(new, &["terminatingReplicas"])
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        match old {
            None => workload::name_warnings(new).into_iter().chain(TEMPLATE.warnings(new)).collect(),
            Some(old) if new.get(&["spec"]) != old.get(&["spec"]) => TEMPLATE.warnings(new),
            Some(_) => Vec::new(),
        }
    }
}
