//! ResourceSlice: devices that a driver offers, on a node or for several.

use std::sync::Arc;

use jiff::Timestamp;
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::{Kind, Object, Printer, Row, Scope, Selectable};
use skiff_schema::Schema;

use super::GV;
use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Node", "The node that the devices are on."),
            text("Driver", "The driver that offers them."),
            text("Pool", "The pool that the slice is a part of."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        selectable: vec![
            Selectable::fixed("spec.driver", |object| object.str(&["spec", "driver"]).to_owned()),
            Selectable::indexed("spec.nodeName", |object| object.str(&["spec", "nodeName"]).to_owned()),
        ]
        .into(),
        ..stored(schema, GV, "io.k8s.api.resource.v1.ResourceSlice", Scope::Cluster, Plain)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([
        object.name().into(),
        object.str(&["spec", "nodeName"]).into(),
        object.str(&["spec", "driver"]).into(),
        object.str(&["spec", "pool", "name"]).into(),
        age(object, now),
    ])
}
