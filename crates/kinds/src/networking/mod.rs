//! The group `networking.k8s.io`.

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod service_cidr;

use std::sync::Arc;

use skiff_machinery::{GroupVersion, Kind};
use skiff_schema::Schema;

const GV: GroupVersion = GroupVersion::fixed("networking.k8s.io", "v1");

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        ingress_class::row(schema),
        ingress::row(schema),
        ip_address::row(schema),
        network_policy::row(schema),
        service_cidr::row(schema),
    ]
}
