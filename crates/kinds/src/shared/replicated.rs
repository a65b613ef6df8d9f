//! What kinds have in common that keep a number of alike pods: ReplicaSets and ReplicationControllers.

use jiff::Timestamp;
use skiff_machinery::cells::{self, age, age_column, integer, name_column};
use skiff_machinery::{Cell, Column, FieldErrors, Object, Row};

use super::template::{TEMPLATE, with_selector};
use super::{check, workload};

/// The columns of [`print`].
pub(crate) fn columns() -> Vec<Column> {
    with_selector(vec![
        name_column(),
        integer("Desired", "Number of pods wanted."),
        integer("Current", "Number of pods that exist."),
        integer("Ready", "Number of pods that are ready."),
        age_column(),
    ])
}

/// The row of an object, with its selector as a cell.
pub(crate) fn print(object: &Object, now: Timestamp, selector: Cell) -> Row {
    let number = |path: &[&str]| object.int(path).unwrap_or(0).into();
    let [containers, images] = TEMPLATE.cells(object);
    cells::row([
        object.name().into(),
        number(&["spec", "replicas"]),
        number(&["status", "replicas"]),
        number(&["status", "readyReplicas"]),
        age(object, now),
        containers,
        images,
        selector,
    ])
}

/// The counts of a status, and `more` of them, are not negative, and none is above the number of pods.
pub(crate) fn check_counts(object: &Object, more: &[&str]) -> FieldErrors {
    const COUNTS: [&str; 5] =
        ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
    const ALL: &str = "cannot be greater than status.replicas";
    let mut errors = check::none_negative(object, "status", &COUNTS);
    errors.extend(check::none_negative(object, "status", more));
    let some = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    errors.extend(workload::at_most(object, &some, "replicas", ALL));
    let ready = "cannot be greater than readyReplicas";
    errors.extend(workload::at_most(object, &["availableReplicas"], "readyReplicas", ready));
    errors
}
