//! Event as `events.k8s.io/v1` shows it. What is stored are events of the core group.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::{
    Context, Conversion, Dependents, FieldError, FieldErrors, GroupVersion, Kind, MetadataChecks, Object,
    Printer, Row, Scope, Selectable, Strategy, Versions,
};
use skiff_schema::Schema;

use crate::core::event as core;
use crate::row::{CORE, stored};

const GV: GroupVersion = GroupVersion::fixed("events.k8s.io", "v1");

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: core::columns(),
        print: Printer::Fixed(print),
        selectable: SELECTABLE.into(),
        versions: Versions { storage: Some(CORE), conversion: Conversion::Native(convert) },
        ..stored(schema, GV, "io.k8s.api.events.v1.Event", Scope::Namespaced, EventStrategy).short(&["ev"])
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
    event
}

fn in_core(event: &Object) -> Object {
    convert(event.clone(), &CORE)
}

fn print(event: &Object, now: Timestamp) -> Row {
    core::print(&in_core(event), now)
}

/// What is special about events. They are checked as the core group's, and errors name those fields.
struct EventStrategy;

impl Strategy for EventStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        core::EventStrategy.metadata_checks()
    }

    fn knows_finalizers(&self) -> bool {
        core::EventStrategy.knows_finalizers()
    }

    fn dependents(&self) -> Dependents {
        core::EventStrategy.dependents()
    }

    fn validate(&self, cx: Context<'_>, event: &Object) -> FieldErrors {
        core::EventStrategy.validate(cx, &in_core(event))
    }

    fn validate_name(&self, name: &str) -> Option<FieldError> {
        core::EventStrategy.validate_name(name)
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
        assert_eq!(convert(object(of_core.clone()), &GV).into_value(), new);
        assert_eq!(convert(object(new), &CORE).into_value(), of_core);
    }
}
