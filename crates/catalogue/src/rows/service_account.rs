//! ServiceAccount.

use std::sync::Arc;

use skiff_schema::Schema;

use super::{CORE, Plain, stored};
use crate::{Kind, Scope, Subresource};

pub(super) fn row(schema: &Arc<Schema>) -> Kind {
    stored(schema, CORE, "io.k8s.api.core.v1.ServiceAccount", Scope::Namespaced, Plain)
        .short(&["sa"])
        .below(&[Subresource::Token])
}
