//! The group `networking.k8s.io`.

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod reference;
mod service_cidr;

pub use ingress::CLASS as INGRESS_CLASS;
pub use ingress_class::is_default as is_default_class;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

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
