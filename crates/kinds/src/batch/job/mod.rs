//! Job.

mod print;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use skiff_machinery::cells::{age_column, name_column, text, wide};
use skiff_machinery::{Context, Dependents, Kind, Object, Printer, Scope, Selectable, Strategy, Subresource};
use skiff_schema::Schema;

use super::GV;
use crate::row::stored;
use crate::shared::defaults::{existing_mut, fill, fill_text, list_mut, object_mut};
use crate::shared::template::Template;

const TEMPLATE: Template = Template(&["spec", "template"]);

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Status", "What has become of the job."),
            text("Completions", "Pods that have succeeded, of those wanted."),
            text("Duration", "How long it has taken."),
            age_column(),
            wide("Containers", "Names of the template's containers."),
            wide("Images", "Images of the template's containers."),
            wide("Selector", "Which pods are its own."),
        ],
        print: Printer::Fixed(print::print),
        counts_generations: true,
        selectable: vec![Selectable::fixed("status.successful", |job| {
            job.get(&["status", "succeeded"]).and_then(Value::as_i64).unwrap_or(0).to_string()
        })]
        .into(),
        ..stored(schema, GV, "io.k8s.api.batch.v1.Job", Scope::Namespaced, JobStrategy)
            .in_all()
            .below(&[Subresource::Status])
    }
}

/// Labels that a job's pods have, by their older and newer names.
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const UID_LABELS: [&str; 2] = ["controller-uid", UID_LABEL];

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

/// What is special about jobs.
struct JobStrategy;

impl Strategy for JobStrategy {
    fn dependents(&self) -> Dependents {
        Dependents::Orphaned
    }

    /// The job's labels are those of its pods, unless it has others.
    fn default(&self, object: &mut Object) {
        let labels = object.get(&["spec", "template", "metadata", "labels"]).cloned();
        if let Some(labels) = labels.filter(|_| object.labels().is_empty()) {
            object.set(&["metadata", "labels"], labels);
        }
        let spec = object_mut(object.as_map_mut(), "spec");
        default_spec(spec);
        object_mut(spec, "template");
        TEMPLATE.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        if object.get(&["spec", "manualSelector"]) != Some(&Value::Bool(true)) {
            generate_selector(object);
        }
        TEMPLATE.drop_disabled(object, None);
        object.set(&["status"], json!({}));
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
    }
}

/// Makes the pods of a job known by its UID. What is there already is checked later.
fn generate_selector(job: &mut Object) {
    let (name, uid) = (job.name().to_owned(), job.uid().to_owned());
    let spec = object_mut(job.as_map_mut(), "spec");
    let labels = object_mut(object_mut(object_mut(spec, "template"), "metadata"), "labels");
    for (keys, value) in [(NAME_LABELS, &name), (UID_LABELS, &uid)] {
        for key in keys {
            labels.entry(key).or_insert_with(|| value.as_str().into());
        }
    }
    let selected = object_mut(object_mut(spec, "selector"), "matchLabels");
    selected.entry(UID_LABEL).or_insert_with(|| uid.into());
}
