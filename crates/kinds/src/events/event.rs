//! Event as `events.k8s.io/v1` shows it. What is stored are events of the core group.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{int_of, str_of};
use skiff_machinery::{
    Context, Conversion, Dependents, FieldError, FieldErrors, GroupVersion, Kind, MetadataChecks, Object,
    Printer, Row, Scope, Selectable, Strategy, Versions,
};
use skiff_schema::Schema;

use crate::core::event as core;
use crate::groups::{CORE, EVENTS};
use crate::row::stored;
use crate::shared::check::immutable;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: core::columns(),
        print: Printer::Fixed(print),
        selectable: SELECTABLE.into(),
        versions: Versions { storage: Some(CORE), conversion: Conversion::Native(convert) },
        ..stored(schema, EVENTS, "io.k8s.api.events.v1.Event", Scope::Namespaced, EventStrategy)
            .short(&["ev"])
    }
}

const SELECTABLE: &[Selectable] = &[
    Selectable::fixed("regarding.kind", |event| regarding(event, "kind")),
    Selectable::fixed("regarding.namespace", |event| regarding(event, "namespace")),
    Selectable::fixed("regarding.name", |event| regarding(event, "name")),
    Selectable::fixed("regarding.uid", |event| regarding(event, "uid")),
    Selectable::fixed("regarding.apiVersion", |event| regarding(event, "apiVersion")),
    Selectable::fixed("regarding.resourceVersion", |event| regarding(event, "resourceVersion")),
    Selectable::fixed("regarding.fieldPath", |event| regarding(event, "fieldPath")),
    Selectable::fixed("reason", |event| event.str(&["reason"]).to_owned()),
    Selectable::fixed("reportingController", |event| event.str(&["reportingController"]).to_owned()),
    Selectable::fixed("type", |event| event.str(&["type"]).to_owned()),
];

fn regarding(event: &Object, field: &str) -> String {
    event.str(&["regarding", field]).to_owned()
}

/// What fields are called in the core group, and here.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Texts that are written in the core group even if they are empty, and not here.
const REPORTER: [(&str, &str); 2] =
    [("reportingComponent", "reportingController"), ("reportingInstance", "reportingInstance")];

/// An event in the other of both groups.
fn convert(mut event: Object, to: &GroupVersion) -> Object {
    let to_core = to.group.is_empty();
    let map = event.as_map_mut();
    for (core, here) in FIELDS {
        let (from, to) = if to_core { (here, core) } else { (core, here) };
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
    for (core, here) in REPORTER {
        match to_core {
            true => drop(map.entry(core).or_insert_with(|| "".into())),
            false if map.get(here).and_then(Value::as_str) == Some("") => drop(map.remove(here)),
            false => {}
        }
    }
    event.set(&["apiVersion"], to.to_string());
    drop_zero_times(&mut event);
    event
}

/// Times that have to be there and are not: no time at all.
fn drop_zero_times(event: &mut Object) {
    const ZERO: &str = "0001-01-01T00:00:00";
    for path in [&["eventTime"][..], &["series", "lastObservedTime"]] {
        if event.str(path).starts_with(ZERO) {
            event.set(path, Value::Null);
        }
    }
}

fn in_core(event: &Object) -> Object {
    convert(event.clone(), &CORE)
}

fn print(event: &Object, now: Timestamp) -> Row {
    core::print(&in_core(event), now)
}

/// What errors call the field in which an event says who reports it.
const REPORTER_FIELD: &str = "reportingController";

/// Events that happen again and again.
fn validate_series(event: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let Some(series) = event.get(&["series"]).filter(|series| !series.is_null()) else { return errors };
    if int_of(series, "count") < 2 {
        errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
    }
    if str_of(series, "lastObservedTime").is_empty() {
        errors.push(FieldError::required("series.lastObservedTime", ""));
    }
    errors
}

/// What new events say, and what only old ones do.
fn validate_form(event: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if event.str(&["eventTime"]).is_empty() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let of = event.str(&["type"]);
    if !matches!(of, "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", "", format!("has invalid value: {of}")));
    }
    let times = ["firstTimestamp", "lastTimestamp"].map(|field| (field, !event.str(&[field]).is_empty()));
    let counted = event.int(&["count"]).unwrap_or(0) != 0;
    let sources = ["component", "host"].iter().any(|part| !event.str(&["source", part]).is_empty());
    let set = times.into_iter().chain([("count", counted), ("source", sources)]);
    errors.extend(
        set.filter(|(_, set)| *set).map(|(field, _)| FieldError::invalid(field, "", "needs to be unset")),
    );
    errors
}

/// Nothing but a series, and metadata, changes. The fields are the core group's, two of them by the names of this one.
fn validate_same(new: &Object, old: &Object) -> FieldErrors {
    const FIELDS: [(&str, &str); 14] = [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", REPORTER_FIELD),
        ("reportingInstance", "reportingInstance"),
    ];
    let value = |event: &Object, field: &str| event.get(&[field]).filter(|value| !value.is_null()).cloned();
    let changed = FIELDS.iter().map(|(field, name)| (name, value(new, field), value(old, field)));
    changed.flat_map(|(name, new, old)| immutable(name, new.as_ref(), old.as_ref())).collect()
}

/// What is special about events. They are checked as the core group's, and errors name those fields.
struct EventStrategy;

impl Strategy for EventStrategy {
    fn default(&self, event: &mut Object) {
        drop_zero_times(event);
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn dependents(&self) -> Dependents {
        core::EventStrategy.dependents()
    }

    fn validate(&self, _: Context<'_>, event: &Object) -> FieldErrors {
        let event = in_core(event);
        let mut errors = core::validate(&event, REPORTER_FIELD);
        errors.extend(validate_series(&event));
        errors.extend(validate_form(&event));
        errors
    }

    /// What the core group says of events comes before what is said of metadata.
    fn arrange(&self, errors: FieldErrors) -> FieldErrors {
        const OF_FORM: [&str; 7] =
            ["series", "eventTime", "type", "firstTimestamp", "lastTimestamp", "count", "source"];
        let mut errors: Vec<FieldError> = errors.into_iter().collect();
        skiff_ordered::sort_by_key(&mut errors, |error| {
            match error.field.split('.').next().unwrap_or_default() {
                "metadata" => 1,
                field if OF_FORM.contains(&field) => 2,
                _ => 0,
            }
        });
        errors.into()
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let (new, old) = (in_core(new), in_core(old));
        let mut errors = core::validate(&new, REPORTER_FIELD);
        if new.get(&["series"]) != old.get(&["series"]) {
            errors.extend(validate_series(&new));
        }
        errors.extend(validate_same(&new, &old));
        errors
    }

    fn creates_on_update(&self) -> bool {
        core::EventStrategy.creates_on_update()
    }

    fn is_cached(&self) -> bool {
        core::EventStrategy.is_cached()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::object;
    use serde_json::json;

    #[test]
    fn new_events_are_of_the_new_form_and_stay_as_they_are() {
        use crate::shared::testing::{texts, with_context};
        let event = |changes: Value| {
            let mut event = json!({
                "metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
                "reportingController": "example.com/c", "reportingInstance": "i", "action": "A", "reason": "R",
                "type": "Normal", "regarding": {"kind": "Node", "name": "n"},
            });
            event.as_object_mut().unwrap().extend(changes.as_object().cloned().unwrap());
            object(event)
        };
        let create = |changes: Value, expected: &[&str]| {
            let errors = with_context(|cx| EventStrategy.validate(cx, &event(changes)));
            assert_eq!(texts(errors), expected);
        };
        create(json!({}), &[]);
        create(
            json!({"reportingController": ""}).clone(),
            &[
                "reportingController: Required value",
                "reportingController: Invalid value: \"\": name part must be non-empty",
                "reportingController: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        );
        create(json!({"deprecatedCount": 1}), &["count: Invalid value: \"\": needs to be unset"]);
        create(
            json!({"series": {"count": 1}}),
            &[
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
            ],
        );
        let update = |changes: Value, expected: &[&str]| {
            let old = event(json!({}));
            let errors = with_context(|cx| EventStrategy.validate_update(cx, &event(changes), &old));
            assert_eq!(texts(errors), expected);
        };
        update(json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}), &[]);
        update(json!({"note": "other"}), &["message: Invalid value: \"other\": field is immutable"]);
    }

    #[test]
    fn both_groups_say_the_same() {
        let of_core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "a"},
            "involvedObject": {"kind": "Pod", "name": "p"}, "message": "m", "source": {"component": "c"},
            "firstTimestamp": null, "lastTimestamp": null, "count": 2, "eventTime": null, "reason": "R",
            "reportingComponent": "", "reportingInstance": "",
        });
        let new = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "a"},
            "regarding": {"kind": "Pod", "name": "p"}, "note": "m", "deprecatedSource": {"component": "c"},
            "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null, "deprecatedCount": 2,
            "eventTime": null, "reason": "R",
        });
        assert_eq!(convert(object(of_core.clone()), &EVENTS).into_value(), new);
        assert_eq!(convert(object(new), &CORE).into_value(), of_core);
    }
}
