//! DeviceClass: a name for devices that claims may ask for.

use std::sync::Arc;

use skiff_machinery::{Kind, Scope};
use skiff_schema::Schema;

use super::GV;
use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        counts_generations: true,
        ..stored(schema, GV, "io.k8s.api.resource.v1.DeviceClass", Scope::Cluster, Plain)
            .plural("deviceclasses")
    }
}
