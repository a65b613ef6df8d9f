//! Lease.

use jiff::Timestamp;

use super::cells::{self, age, age_column, name_column, text};
use super::{Plain, stored};
use crate::{GroupVersion, Kind, Object, Row, Scope};

pub(super) fn row() -> Kind {
    let gv = GroupVersion::fixed("coordination.k8s.io", "v1");
    Kind {
        columns: vec![name_column(), text("Holder", "Who holds the lease."), age_column()],
        print,
        ..stored(gv, "io.k8s.api.coordination.v1.Lease", Scope::Namespaced, Plain)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), object.str(&["spec", "holderIdentity"]).into(), age(object, now)])
}
