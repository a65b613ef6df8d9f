//! ServiceCIDR: a range that Service addresses are taken from.

use jiff::Timestamp;

use super::cells::{self, age, age_column, name_column, strings, text};
use super::{Plain, stored};
use crate::{GroupVersion, Kind, Object, Row, Scope, Subresource};

pub(super) fn row() -> Kind {
    let gv = GroupVersion::fixed("networking.k8s.io", "v1");
    Kind {
        columns: vec![name_column(), text("CIDRs", "The ranges, one per address family."), age_column()],
        print,
        ..stored(gv, "io.k8s.api.networking.v1.ServiceCIDR", Scope::Cluster, Plain)
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let cidrs = strings(object, &["spec", "cidrs"]).join(",");
    cells::row([object.name().into(), cidrs.into(), age(object, now)])
}
