//! ResourceClaimTemplate: claims that are made for each pod.

use std::sync::Arc;

use skiff_machinery::{Kind, Scope};
use skiff_schema::Schema;

use super::GV;
use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    stored(schema, GV, "io.k8s.api.resource.v1.ResourceClaimTemplate", Scope::Namespaced, Plain)
}
