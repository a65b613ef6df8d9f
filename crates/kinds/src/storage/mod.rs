//! The group `storage.k8s.io`.

mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod provisioner;
mod storage_class;
mod volume_attachment;
mod volume_attributes_class;

pub use storage_class::is_default as is_default_class;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        csi_driver::row(schema),
        csi_node::row(schema),
        csi_storage_capacity::row(schema),
        storage_class::row(schema),
        volume_attachment::row(schema),
        volume_attributes_class::row(schema),
    ]
}
