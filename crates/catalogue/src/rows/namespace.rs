//! Namespace.

use jiff::Timestamp;

use super::cells::{self, age, age_column, name_column, text};
use super::{CORE, Plain, stored};
use crate::{Kind, Object, Row, Scope, Selectable, Subresource};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![name_column(), text("Status", "Whether the namespace is in use."), age_column()],
        print,
        selectable: &[Selectable { label: "status.phase", value: |object| phase(object).to_owned() }],
        ..stored(CORE, "io.k8s.api.core.v1.Namespace", Scope::Cluster, Plain)
            .short(&["ns"])
            .below(&[Subresource::Finalize, Subresource::Status])
    }
}

fn phase(object: &Object) -> &str {
    object.str(&["status", "phase"])
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), phase(object).into(), age(object, now)])
}
