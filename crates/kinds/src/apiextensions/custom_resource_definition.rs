//! CustomResourceDefinition: a kind that users define. There are none yet, and none can be made: clients that look
//! (kubectl does so for each kind that it does not know, before it says so) learn that from an empty list.

use jiff::Timestamp;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::row::{Plain, stored};
use skiff_machinery::cells::{self, name_column, text};
use skiff_machinery::{GroupVersion, Kind, Object, Row, Scope, Verb};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let gv = GroupVersion::fixed("apiextensions.k8s.io", "v1");
    let definition = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";
    Kind {
        verbs: &[Verb::Get, Verb::List, Verb::Watch],
        columns: vec![name_column(), text("Created At", "When the kind was defined.")],
        print,
        ..stored(schema, gv, definition, Scope::Cluster, Plain).short(&["crd", "crds"])
    }
}

fn print(object: &Object, _: Timestamp) -> Row {
    let created = object.str(&["metadata", "creationTimestamp"]).to_owned();
    cells::row([object.name().into(), created.into()])
}
