//! Job.

mod indexes;
mod labels;
mod policies;
mod print;
mod status;
mod update;
pub(super) mod validate;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use skiff_machinery::cells::{age_column, name_column, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, Dependents, FieldErrors, Kind, MetadataChecks, Object, Printer, Scope, Selectable, Strategy,
    Subresource,
};
use skiff_schema::Schema;

use crate::groups::BATCH;
use crate::row::stored;
use crate::shared::defaults::{existing_mut, fill, fill_text, list_mut, object_mut};
use crate::shared::template::{TEMPLATE, Template, with_selector};
use crate::shared::workload;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: with_selector(vec![
            name_column(),
            text("Status", "What has become of the job."),
            text("Completions", "Pods that have succeeded, of those wanted."),
            text("Duration", "How long it has taken."),
            age_column(),
        ]),
        print: Printer::Fixed(print::print),
        counts_generations: true,
        selectable: vec![Selectable::fixed("status.successful", |job| {
            job.int(&["status", "succeeded"]).unwrap_or(0).to_string()
        })]
        .into(),
        ..stored(schema, BATCH, "io.k8s.api.batch.v1.Job", Scope::Namespaced, JobStrategy)
            .in_all()
            .below(&[Subresource::Status])
    }
}

/// Fills the defaults of a job's spec, without its pods'.
pub(super) fn default_spec(spec: &mut Map<String, Value>) {
    let absent = |spec: &Map<String, Value>, field: &str| spec.get(field).is_none_or(Value::is_null);
    if absent(spec, "completions") && absent(spec, "parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let per_index = !absent(spec, "backoffLimitPerIndex");
    fill(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { 6 });
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    let by_failure = !absent(spec, "podFailurePolicy");
    fill(spec, "podReplacementPolicy", if by_failure { "Failed" } else { "TerminatingOrFailed" });
    fill(spec, "manualSelector", false);
    default_patterns(spec);
}

/// A pattern of a condition that says no status means that it holds.
pub(super) fn default_patterns(spec: &mut Map<String, Value>) {
    let Some(policy) = existing_mut(spec, "podFailurePolicy") else { return };
    for rule in list_mut(policy, "rules") {
        list_mut(rule, "onPodConditions").for_each(|pattern| fill_text(pattern, "status", "True"));
    }
}

/// What the writer of a job's spec is warned of.
pub(super) fn spec_warnings(object: &Object, keys: &[&str], template: Template) -> Vec<String> {
    const MANY_COMPLETIONS: i64 = 100_000;
    const MANY_AT_ONCE: i64 = 10_000;
    let spec = object.get(keys).unwrap_or(&Value::Null);
    let number = |field: &str| spec[field].as_i64().unwrap_or(0);
    let untrackable = spec["completionMode"] == "Indexed"
        && number("completions") > MANY_COMPLETIONS
        && number("parallelism") > MANY_AT_ONCE;
    let text = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
    let warning = untrackable.then(|| format!("{}: {text}", keys.join(".")));
    warning.into_iter().chain(template.warnings(object)).collect()
}

/// What is special about jobs.
struct JobStrategy;

impl Strategy for JobStrategy {
    fn dependents(&self) -> Dependents {
        Dependents::Orphaned
    }

    fn warns_of_dependents(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
        )
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Around
    }

    fn unselectable(&self, label: &str) -> String {
        format!("field label {label:?} not supported for Job")
    }

    /// The job's labels are those of its pods, unless it has others.
    fn default(&self, object: &mut Object) {
        take_labels(object);
        let spec = object_mut(object.as_map_mut(), "spec");
        default_spec(spec);
        object_mut(spec, "template");
        TEMPLATE.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        if object.get(&["spec", "manualSelector"]) != Some(&Value::Bool(true)) {
            generate_selector(object);
        }
        // A name that is no label is told of where the template has it.
        if Form::LabelValue.fits(object.name()) {
            take_labels(object);
        }
        TEMPLATE.drop_disabled(object, None);
        object.set(&["status"], json!({}));
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate::validate(object)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        update::validate_update(new, old)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        status::validate(new, old)
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let of_spec = || spec_warnings(new, &["spec"], TEMPLATE);
        match old {
            None => workload::name_warnings(new).into_iter().chain(of_spec()).collect(),
            Some(old) if new.get(&["spec"]) != old.get(&["spec"]) => of_spec(),
            Some(_) => Vec::new(),
        }
    }
}

/// Gives a job without labels those of its pods.
fn take_labels(job: &mut Object) {
    let labels = job.get(&["spec", "template", "metadata", "labels"]).filter(|labels| !labels.is_null());
    if let Some(labels) = labels.cloned().filter(|_| job.labels().is_empty()) {
        job.set(&["metadata", "labels"], labels);
    }
}

/// Makes the pods of a job known by its UID. What is there already is checked later.
fn generate_selector(job: &mut Object) {
    let (name, uid) = (job.name().to_owned(), job.uid().to_owned());
    let spec = object_mut(job.as_map_mut(), "spec");
    let labels = object_mut(object_mut(object_mut(spec, "template"), "metadata"), "labels");
    for (keys, value) in [(labels::NAMES, &name), (labels::UIDS, &uid)] {
        for key in keys {
            labels.entry(key).or_insert_with(|| value.as_str().into());
        }
    }
    let selected = object_mut(object_mut(spec, "selector"), "matchLabels");
    selected.entry(labels::UID).or_insert_with(|| uid.into());
}
