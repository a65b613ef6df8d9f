//! ControllerRevision: what a template was at some time.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, NONE, age, age_column, name_column, str_of, text};
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};
use skiff_schema::Schema;

use crate::groups::APPS;
use crate::row::stored;
use crate::shared::check::{immutable, not_negative};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Controller", "What it is a revision of."),
            text("Revision", "Which one it is."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, APPS, "io.k8s.api.apps.v1.ControllerRevision", Scope::Namespaced, RevisionStrategy)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let owners = cells::items(object, &["metadata", "ownerReferences"]);
    let controller = owners.iter().find(|owner| owner["controller"] == true).map(|owner| {
        let kind = str_of(owner, "kind").to_lowercase();
        let name = str_of(owner, "name");
        match str_of(owner, "apiVersion").split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{name}"),
            None => format!("{kind}/{name}"),
        }
    });
    let revision = object.int(&["revision"]).unwrap_or(0);
    cells::row([
        object.name().into(),
        controller.as_deref().unwrap_or(NONE).into(),
        revision.into(),
        age(object, now),
    ])
}

/// What is special about revisions.
struct RevisionStrategy;

impl Strategy for RevisionStrategy {
    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_number(object);
        match object.get(&["data"]) {
            None | Some(Value::Null) => errors.push(FieldError::required("data", "data is mandatory")),
            Some(Value::Object(_)) => {}
            Some(_) => errors.push(FieldError::required("data", "data must be a valid JSON object")),
        }
        errors
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = validate_number(new);
        errors.extend(immutable("data", new.get(&["data"]), old.get(&["data"])));
        errors
    }
}

fn validate_number(object: &Object) -> FieldErrors {
    not_negative("revision", object.int(&["revision"]).unwrap_or(0))
}
