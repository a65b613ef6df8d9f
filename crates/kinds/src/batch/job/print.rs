//! The row of a job in tables.

use jiff::Timestamp;
use skiff_machinery::cells::{self, age, str_of};
use skiff_machinery::{Object, Row, duration};

use crate::shared::template::TEMPLATE;
use crate::shared::template::selector_cell;

pub(super) fn print(job: &Object, now: Timestamp) -> Row {
    let [containers, images] = TEMPLATE.cells(job);
    cells::row([
        job.name().into(),
        status(job).into(),
        completions(job).into(),
        took(job, now).into(),
        age(job, now),
        containers,
        images,
        selector_cell(job.get(&["spec", "selector"])),
    ])
}

fn status(job: &Object) -> &'static str {
    let conditions = cells::items(job, &["status", "conditions"]);
    let holds =
        |kind: &str| conditions.iter().any(|one| str_of(one, "type") == kind && one["status"] == "True");
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if job.is_terminating() => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Object) -> String {
    let number = |path: &[&str]| job.int(path);
    let succeeded = number(&["status", "succeeded"]).unwrap_or(0);
    match (number(&["spec", "completions"]), number(&["spec", "parallelism"]).unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn took(job: &Object, now: Timestamp) -> String {
    let time = |field: &str| job.str(&["status", field]).parse::<Timestamp>().ok();
    let Some(start) = time("startTime") else { return String::new() };
    duration::human(time("completionTime").unwrap_or(now).as_second() - start.as_second())
}
