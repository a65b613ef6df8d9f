//! CronJob.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use skiff_cron::Schedule;
use skiff_machinery::cells::{self, NONE, age, age_column, integer, name_column, text};
use skiff_machinery::duration::since;
use skiff_machinery::{
    Column, ColumnType, Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope,
    Strategy, Subresource, selector,
};
use skiff_schema::Schema;

use super::job;
use crate::groups::BATCH;
use crate::row::stored;
use crate::shared::check::{self, one_of};
use crate::shared::defaults::{fill, fill_text, object_mut};
use crate::shared::template::{Template, selector_cell, with_selector};
use crate::shared::workload;

const TEMPLATE: Template = Template(&["spec", "jobTemplate", "spec", "template"]);

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: with_selector(vec![
            name_column(),
            text("Schedule", "When jobs are made."),
            text("Timezone", "Where it is that time."),
            Column { kind: ColumnType::Boolean, ..text("Suspend", "Whether no jobs are made for now.") },
            integer("Active", "Number of jobs that run."),
            text("Last Schedule", "Time since a job was made last."),
            age_column(),
        ]),
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, BATCH, "io.k8s.api.batch.v1.CronJob", Scope::Namespaced, CronStrategy)
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

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_spec(object, None);
        if object.name().len() > LONGEST_NAME {
            let detail = format!("must be no more than {LONGEST_NAME} characters");
            errors.push(FieldError::invalid("metadata.name", object.name(), detail));
        }
        errors
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate_spec(new, Some(old))
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let of_spec = || job::spec_warnings(new, JOB, TEMPLATE);
        let Some(old) = old else {
            return workload::name_warnings(new).into_iter().chain(of_spec()).collect();
        };
        let same = new.get(&["spec"]) == old.get(&["spec"]);
        let mut warnings = if same { Vec::new() } else { of_spec() };
        if new.str(&["spec", "schedule"]).contains("TZ") {
            // Kubernetes' path for it.
            let text = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
            warnings.push(text.to_owned());
        }
        warnings
    }
}

/// The spec of the jobs.
const JOB: &[&str] = &["spec", "jobTemplate", "spec"];

/// The names of jobs are longer by a dash and a number.
const LONGEST_NAME: usize = 63 - 11;

fn validate_spec(object: &Object, old: Option<&Object>) -> FieldErrors {
    let mut errors = validate_schedule(object, old);
    errors.extend(check::none_negative(object, "spec", &["startingDeadlineSeconds"]));
    let zone = |object: &Object| object.get(&["spec", "timeZone"]).and_then(Value::as_str).map(str::to_owned);
    let zone_is_new = old.is_none_or(|old| zone(old) != zone(object));
    if let Some(zone) = zone(object).filter(|_| zone_is_new) {
        errors.extend(validate_zone(&zone));
    }
    let policy = object.str(&["spec", "concurrencyPolicy"]);
    errors.extend(one_of("spec.concurrencyPolicy", Some(policy), &["Allow", "Forbid", "Replace"]));
    errors.extend(job::validate::spec(object, &JOB.join("."), JOB, TEMPLATE));
    let jobs = object.get(JOB).unwrap_or(&Value::Null);
    if let Some(selector) = jobs.get("selector").filter(|selector| !selector.is_null()) {
        let path = "spec.jobTemplate.spec.selector";
        let error = FieldError::invalid(path, selector.clone(), "`selector` will be auto-generated");
        errors.push(error.showing(selector::written(selector)));
    }
    if jobs["manualSelector"] == true {
        let path = "spec.jobTemplate.spec.manualSelector";
        errors.push(FieldError::not_supported(path, true, &["nil", "false"]));
    }
    let limits = ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    errors.extend(check::none_negative(object, "spec", &limits));
    errors
}

fn validate_schedule(object: &Object, old: Option<&Object>) -> FieldErrors {
    const PATH: &str = "spec.schedule";
    let schedule = object.str(&["spec", "schedule"]);
    if schedule.is_empty() {
        return [FieldError::required(PATH, "")].into();
    }
    let mut errors = FieldErrors::new();
    let mut refuse = |why: &str| errors.push(FieldError::invalid(PATH, schedule, why));
    if let Err(error) = Schedule::parse(schedule) {
        refuse(&error.to_string());
    }
    if schedule.contains("TZ") {
        let had_zone = old.is_some_and(|old| old.str(&["spec", "schedule"]).contains("TZ"));
        let has_both = object.get(&["spec", "timeZone"]).is_some_and(|zone| !zone.is_null());
        match (had_zone, has_both) {
            (true, true) => refuse("cannot use both timeZone field and TZ or CRON_TZ in schedule"),
            (true, false) => {}
            (false, _) => refuse("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        }
    }
    errors
}

/// Checks the name of a time zone, and whether there is one.
fn validate_zone(zone: &str) -> FieldErrors {
    const PATH: &str = "spec.timeZone";
    const LONGEST_PART: usize = 14;
    if zone.is_empty() {
        return [FieldError::invalid(PATH, zone, "timeZone must be nil or non-empty string")].into();
    }
    let unknown = || FieldError::invalid(PATH, zone, format!("unknown time zone {zone}"));
    let is_part = |part: &str| {
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        let is_short = (1..=LONGEST_PART).contains(&part.len());
        !matches!(part, "." | "..") && !part.starts_with('-') && is_short && part.bytes().all(is_right)
    };
    if !zone.split('/').all(is_part) {
        return [unknown()].into();
    }
    let mut errors = FieldErrors::new();
    if zone.eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(FieldError::invalid(PATH, zone, detail));
    }
    if !matches!(zone, "UTC" | "Local") && TimeZone::get(zone).is_err() {
        errors.push(unknown());
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};

    #[test]
    fn zones_exist() {
        let check =
            |zone: &str, expected: &[&str]| assert_eq!(texts(validate_zone(zone)), expected, "{zone}");
        check("Europe/Berlin", &[]);
        check("UTC", &[]);
        check("Etc/GMT+1", &[]);
        check("Mars/Base", &[r#"spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base"#]);
        check("../UTC", &[r#"spec.timeZone: Invalid value: "../UTC": unknown time zone ../UTC"#]);
        check("", &[r#"spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string"#]);
    }

    #[test]
    fn a_zone_is_no_part_of_a_new_schedule() {
        let check = |schedule: &str, old: Option<&str>, expected: &[&str]| {
            let job = |schedule: &str| object(json!({"spec": {"schedule": schedule}}));
            let old = old.map(job);
            assert_eq!(texts(validate_schedule(&job(schedule), old.as_ref())), expected);
        };
        check("@hourly", None, &[]);
        check("TZ=UTC @hourly", Some("TZ=UTC @daily"), &[]);
        check(
            "TZ=UTC @hourly",
            Some("@hourly"),
            &[
                r#"spec.schedule: Invalid value: "TZ=UTC @hourly": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#,
            ],
        );
        check("", None, &["spec.schedule: Required value"]);
    }
}
