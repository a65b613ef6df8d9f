//! ServiceAccount.

use std::sync::Arc;

use skiff_schema::Schema;

use crate::row::{CORE, Plain, stored};
use skiff_machinery::{Kind, Scope, Subresource};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    stored(schema, CORE, "io.k8s.api.core.v1.ServiceAccount", Scope::Namespaced, Plain)
        .short(&["sa"])
        .below(&[Subresource::Token])
}
