//! IPAddress: the reservation of one Service address.

use jiff::Timestamp;

use super::cells::{self, age, age_column, name_column, text};
use super::{Plain, stored};
use crate::{GroupVersion, Kind, Object, Row, Scope, Selectable};

pub(super) fn row() -> Kind {
    let gv = GroupVersion::fixed("networking.k8s.io", "v1");
    Kind {
        columns: vec![name_column(), text("ParentRef", "The object that holds the address."), age_column()],
        print,
        selectable: PARENT,
        ..stored(gv, "io.k8s.api.networking.v1.IPAddress", Scope::Cluster, Plain)
            .short(&["ip"])
            .plural("ipaddresses")
    }
}

const PARENT: &[Selectable] = &[
    Selectable { label: "spec.parentRef.group", value: |object| parent(object, "group").to_owned() },
    Selectable { label: "spec.parentRef.resource", value: |object| parent(object, "resource").to_owned() },
    Selectable { label: "spec.parentRef.namespace", value: |object| parent(object, "namespace").to_owned() },
    Selectable { label: "spec.parentRef.name", value: |object| parent(object, "name").to_owned() },
];

fn parent<'a>(object: &'a Object, field: &str) -> &'a str {
    object.str(&["spec", "parentRef", field])
}

fn print(object: &Object, now: Timestamp) -> Row {
    let mut resource = parent(object, "resource").to_owned();
    if !parent(object, "group").is_empty() {
        resource = format!("{resource}.{}", parent(object, "group"));
    }
    let path = [resource.as_str(), parent(object, "namespace"), parent(object, "name")];
    let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
    cells::row([object.name().into(), path.join("/").into(), age(object, now)])
}
