//! Event (core/v1).

use jiff::Timestamp;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;
use skiff_machinery::cells::{self, int_of, name_column, text, wide};
use skiff_machinery::duration::since;
use skiff_machinery::{
    Context, Dependents, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope,
    Selectable, Strategy, names::Form,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: columns(),
        print: Printer::Fixed(print),
        selectable: SELECTABLE.into(),
        ..stored(schema, CORE, "io.k8s.api.core.v1.Event", Scope::Namespaced, EventStrategy).short(&["ev"])
    }
}

/// The columns of tables of events.
pub(crate) fn columns() -> Vec<skiff_machinery::Column> {
    vec![
        text("Last Seen", "Time since it happened last."),
        text("Type", "Normal or Warning."),
        text("Reason", "Why it happened, in one word."),
        text("Object", "What it happened to."),
        wide("Subobject", "Which part of the object it happened to."),
        wide("Source", "Who reported it."),
        text("Message", "What happened."),
        wide("First Seen", "Time since it happened first."),
        wide("Count", "How often it happened."),
        wide_name(),
    ]
}

fn wide_name() -> skiff_machinery::Column {
    skiff_machinery::Column { priority: 1, ..name_column() }
}

const SELECTABLE: &[Selectable] = &[
    Selectable::fixed("involvedObject.kind", |event| involved(event, "kind")),
    Selectable::fixed("involvedObject.namespace", |event| involved(event, "namespace")),
    Selectable::fixed("involvedObject.name", |event| involved(event, "name")),
    Selectable::indexed("involvedObject.uid", |event| involved(event, "uid")),
    Selectable::fixed("involvedObject.apiVersion", |event| involved(event, "apiVersion")),
    Selectable::fixed("involvedObject.resourceVersion", |event| involved(event, "resourceVersion")),
    Selectable::fixed("involvedObject.fieldPath", |event| involved(event, "fieldPath")),
    Selectable::fixed("reason", |event| event.str(&["reason"]).to_owned()),
    Selectable::fixed("reportingComponent", |event| event.str(&["reportingComponent"]).to_owned()),
    Selectable::fixed("source", |event| component(event).to_owned()),
    Selectable::fixed("type", |event| event.str(&["type"]).to_owned()),
];

fn involved(event: &Object, field: &str) -> String {
    event.str(&["involvedObject", field]).to_owned()
}

/// Who reported the event: the old field first, else the new one.
fn component(event: &Object) -> &str {
    match event.str(&["source", "component"]) {
        "" => event.str(&["reportingComponent"]),
        component => component,
    }
}

/// The row of an event.
pub(crate) fn print(event: &Object, now: Timestamp) -> Row {
    let first = [&["firstTimestamp"][..], &["eventTime"]].map(|path| event.str(path));
    let first_seen = since(first.into_iter().find(|time| !time.is_empty()).unwrap_or(""), now);
    let last = [&["series", "lastObservedTime"][..], &["lastTimestamp"]].map(|path| event.str(path));
    let last_seen = match last.into_iter().find(|time| !time.is_empty()) {
        Some(time) => since(time, now),
        None => first_seen.clone(),
    };
    let series = event.get(&["series"]).map_or(0, |series| int_of(series, "count"));
    let count = event.get(&["count"]).and_then(serde_json::Value::as_i64).unwrap_or(0);
    let count = [series, count, 1].into_iter().find(|count| *count > 0).unwrap_or(1);
    cells::row([
        last_seen.into(),
        event.str(&["type"]).into(),
        event.str(&["reason"]).into(),
        format!("{}/{}", involved(event, "kind").to_lowercase(), involved(event, "name")).into(),
        involved(event, "fieldPath").into(),
        source(event).into(),
        event.str(&["message"]).trim().into(),
        first_seen.into(),
        count.into(),
        event.name().into(),
    ])
}

/// The reporting component and the host or instance that it ran on.
fn source(event: &Object) -> String {
    let host = match event.str(&["source", "host"]) {
        "" => event.str(&["reportingInstance"]),
        host => host,
    };
    let parts = [component(event), host];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn elsewhere(about: &str) -> FieldError {
    FieldError::invalid("involvedObject.namespace", about, "does not match event.namespace")
}

/// Checks an event as both groups do; `reporter` is what the field is called in which it says who reports it.
pub(crate) fn validate(event: &Object, reporter: &str) -> FieldErrors {
    if event.get(&["eventTime"]).is_some_and(|time| !time.is_null()) {
        return validate_new(event, reporter);
    }
    // An event lives in the namespace of what it is about; those about cluster-scoped objects in `default`.
    let (own, about) = (event.namespace(), event.str(&["involvedObject", "namespace"]));
    let fits = if about.is_empty() { matches!(own, "" | "default") } else { own == about };
    if fits { FieldErrors::new() } else { [elsewhere(about)].into() }
}

/// Checks an event of the newer form, which has a time of its own: who reports what is told, and not at length.
fn validate_new(event: &Object, reporter: &str) -> FieldErrors {
    const LONGEST: usize = 128;
    const LONGEST_MESSAGE: usize = 1024;
    let mut errors = FieldErrors::new();
    let about = event.str(&["involvedObject", "namespace"]);
    if about.is_empty() && !matches!(event.namespace(), "default" | "kube-system") {
        errors.push(elsewhere(about));
    }
    let controller = event.str(&["reportingComponent"]);
    if controller.is_empty() {
        errors.push(FieldError::required(reporter, ""));
    }
    errors.extend(Form::QualifiedName.check(reporter, controller));
    let fields = [
        ("reportingInstance", LONGEST),
        ("action", LONGEST),
        ("reason", LONGEST),
        ("message", LONGEST_MESSAGE),
    ];
    for (field, most) in fields {
        let text = event.str(&[field]);
        if text.is_empty() && field != "message" {
            errors.push(FieldError::required(field, ""));
        }
        if text.len() > most {
            errors.push(FieldError::invalid(field, "", format!("can have at most {most} characters")));
        }
    }
    errors
}

/// What is special about events.
pub(crate) struct EventStrategy;

impl Strategy for EventStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::None
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    fn dependents(&self) -> Dependents {
        Dependents::Unthinkable
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate(object, "reportingComponent")
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::PathSegment.check("metadata.name", name)
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    /// There are many of them, and few are read.
    fn is_cached(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, with_context};
    use serde_json::{Value, json};

    #[test]
    fn prints_when_and_what() {
        let check = |event: Value, cells: [&str; 10]| {
            let row = print(&object(event), "2026-01-01T01:00:00Z".parse().unwrap());
            let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
            let printed: Vec<String> = row.cells.iter().map(text).collect();
            assert_eq!(printed, cells);
        };
        check(
            json!({
                "metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "message": "done\n",
                "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
                "source": {"component": "kubelet", "host": "n"},
                "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:50:00Z", "count": 3,
            }),
            ["10m", "Normal", "Pulled", "pod/p", "spec.containers{a}", "kubelet, n", "done", "60m", "3", "e"],
        );
        check(
            json!({
                "metadata": {"name": "e"}, "involvedObject": {"kind": "Node", "name": "n"},
                "reportingComponent": "scheduler", "eventTime": "2026-01-01T00:30:00.000000Z",
            }),
            ["30m", "", "", "node/n", "", "scheduler", "", "30m", "1", "e"],
        );
    }

    #[test]
    fn lives_with_what_it_is_about() {
        let check = |own: &str, about: &str, fine: bool| {
            let event = json!({"metadata": {"namespace": own}, "involvedObject": {"namespace": about}});
            let errors = with_context(|cx| EventStrategy.validate(cx, &object(event)));
            assert_eq!(errors.is_empty(), fine, "{own} {about}");
        };
        check("a", "a", true);
        check("default", "", true);
        check("a", "b", false);
        check("a", "", false);
    }
}
