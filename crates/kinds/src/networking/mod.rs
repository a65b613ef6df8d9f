//! The group `networking.k8s.io`.

mod ip_address;
mod service_cidr;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![ip_address::row(schema), service_cidr::row(schema)]
}
