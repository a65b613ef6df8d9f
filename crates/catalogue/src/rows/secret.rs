//! Secret.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, age, age_column, name_column, text};
use super::{CORE, Plain, stored};
use crate::{Kind, Object, Row, Scope, Selectable};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Type", "What the secret is for; decides which keys it must have."),
            text("Data", "Number of keys."),
            age_column(),
        ],
        print,
        selectable: &[Selectable { label: "type", value: |object| object.str(&["type"]).to_owned() }],
        ..stored(CORE, "io.k8s.api.core.v1.Secret", Scope::Namespaced, Plain)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let keys = object.get(&["data"]).and_then(Value::as_object).map_or(0, |map| map.len());
    cells::row([object.name().into(), object.str(&["type"]).into(), keys.into(), age(object, now)])
}
