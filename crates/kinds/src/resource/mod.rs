//! The group `resource.k8s.io`: devices that drivers offer and pods claim.

mod device_class;
mod devices;
mod resource_claim;
mod resource_claim_template;
mod resource_slice;
mod selector;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        device_class::row(schema),
        resource_claim::row(schema),
        resource_claim_template::row(schema),
        resource_slice::row(schema),
    ]
}
