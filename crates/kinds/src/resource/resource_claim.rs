//! ResourceClaim: devices that pods ask for, and which ones they got.

use std::sync::Arc;

use jiff::Timestamp;
use skiff_machinery::cells::{self, age, age_column, items, name_column, text};
use skiff_machinery::{Kind, Object, Printer, Row, Scope, Subresource};
use skiff_schema::Schema;

use super::GV;
use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("State", "What has become of the claim."), age_column()],
        print: Printer::Fixed(print),
        ..stored(schema, GV, "io.k8s.api.resource.v1.ResourceClaim", Scope::Namespaced, Plain)
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), state(object).into(), age(object, now)])
}

/// What has become of a claim, e.g. `allocated,reserved`.
fn state(object: &Object) -> String {
    let mut states = Vec::new();
    let allocated = object.get(&["status", "allocation"]).is_some_and(|allocation| !allocation.is_null());
    match (object.is_terminating(), allocated) {
        (true, _) => states.push("deleted"),
        (false, false) => states.push("pending"),
        (false, true) => {}
    }
    if allocated {
        states.push("allocated");
        if !items(object, &["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}
