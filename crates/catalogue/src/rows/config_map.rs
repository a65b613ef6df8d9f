//! ConfigMap.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, age, age_column, name_column, text};
use super::{CORE, Plain, stored};
use crate::{Kind, Object, Row, Scope};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![name_column(), text("Data", "Number of keys."), age_column()],
        print,
        ..stored(CORE, "io.k8s.api.core.v1.ConfigMap", Scope::Namespaced, Plain).short(&["cm"])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let keys = keys(object, "data") + keys(object, "binaryData");
    cells::row([object.name().into(), keys.into(), age(object, now)])
}

fn keys(object: &Object, field: &str) -> usize {
    object.get(&[field]).and_then(Value::as_object).map_or(0, |map| map.len())
}
