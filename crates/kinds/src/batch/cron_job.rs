//! CronJob.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, NONE, age, age_column, integer, name_column, text, wide};
use skiff_machinery::duration::since;
use skiff_machinery::{
    Column, ColumnType, Context, Dependents, Kind, Object, Printer, Row, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use super::{GV, job};
use crate::row::stored;
use crate::shared::defaults::{fill, fill_text, object_mut};
use crate::shared::template::{Template, selector_cell};

const TEMPLATE: Template = Template(&["spec", "jobTemplate", "spec", "template"]);

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Schedule", "When jobs are made."),
            text("Timezone", "Where it is that time."),
            Column { kind: ColumnType::Boolean, ..text("Suspend", "Whether no jobs are made for now.") },
            integer("Active", "Number of jobs that run."),
            text("Last Schedule", "Time since a job was made last."),
            age_column(),
            wide("Containers", "Names of the template's containers."),
            wide("Images", "Images of the template's containers."),
            wide("Selector", "Which pods are a job's own."),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, GV, "io.k8s.api.batch.v1.CronJob", Scope::Namespaced, CronStrategy)
            .short(&["cj"])
            .in_all()
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let [containers, images] = TEMPLATE.cells(object);
    let zone = object.get(&["spec", "timeZone"]).and_then(Value::as_str).unwrap_or(NONE);
    let suspended = match object.get(&["spec", "suspend"]).and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = match object.str(&["status", "lastScheduleTime"]) {
        "" => NONE.to_owned(),
        time => since(time, now),
    };
    cells::row([
        object.name().into(),
        object.str(&["spec", "schedule"]).into(),
        zone.into(),
        suspended.into(),
        cells::items(object, &["status", "active"]).len().into(),
        last.into(),
        age(object, now),
        containers,
        images,
        selector_cell(object.get(&["spec", "jobTemplate", "spec", "selector"])),
    ])
}

/// What is special about cron jobs.
struct CronStrategy;

impl Strategy for CronStrategy {
    fn dependents(&self) -> Dependents {
        Dependents::Orphaned
    }

    fn default(&self, object: &mut Object) {
        let spec = object_mut(object.as_map_mut(), "spec");
        fill_text(spec, "concurrencyPolicy", "Allow");
        fill(spec, "suspend", false);
        fill(spec, "successfulJobsHistoryLimit", 3);
        fill(spec, "failedJobsHistoryLimit", 1);
        let jobs = object_mut(object_mut(spec, "jobTemplate"), "spec");
        job::default_patterns(jobs);
        object_mut(jobs, "template");
        TEMPLATE.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        TEMPLATE.drop_disabled(object, None);
        object.set(&["status"], json!({}));
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
    }
}
