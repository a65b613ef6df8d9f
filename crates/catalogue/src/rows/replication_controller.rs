//! ReplicationController.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, age, age_column, integer, items, name_column, str_of, string_map, wide};
use super::{CORE, Plain, stored};
use crate::{Kind, Object, Row, Scope, Selectable, Subresource};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![
            name_column(),
            integer("Desired", "Number of pods wanted."),
            integer("Current", "Number of pods that exist."),
            integer("Ready", "Number of pods that are ready."),
            age_column(),
            wide("Containers", "Names of the template's containers."),
            wide("Images", "Images of the template's containers."),
            wide("Selector", "Labels of the pods that it counts."),
        ],
        print,
        counts_generations: true,
        selectable: &[Selectable {
            label: "status.replicas",
            value: |object| integer_at(object, &["status", "replicas"]).to_string(),
        }],
        ..stored(CORE, "io.k8s.api.core.v1.ReplicationController", Scope::Namespaced, Plain)
            .short(&["rc"])
            .in_all()
            .below(&[Subresource::Scale, Subresource::Status])
    }
}

fn integer_at(object: &Object, path: &[&str]) -> i64 {
    object.get(path).and_then(Value::as_i64).unwrap_or(0)
}

fn print(object: &Object, now: Timestamp) -> Row {
    let containers = items(object, &["spec", "template", "spec", "containers"]);
    let each = |field: &str| containers.iter().map(|c| str_of(c, field)).collect::<Vec<_>>().join(",");
    cells::row([
        object.name().into(),
        integer_at(object, &["spec", "replicas"]).into(),
        integer_at(object, &["status", "replicas"]).into(),
        integer_at(object, &["status", "readyReplicas"]).into(),
        age(object, now),
        each("name").into(),
        each("image").into(),
        cells::labels(&string_map(object, &["spec", "selector"])).into(),
    ])
}
