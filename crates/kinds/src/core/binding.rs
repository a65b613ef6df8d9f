//! Binding: assigns the pod of its name to a node, as the pod's own subresource does. Nothing of it is kept.

use std::sync::Arc;

use skiff_machinery::{Kind, Persistence, Scope, Subresource};
use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::transient;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        persistence: Persistence::HandedOn { resource: "pods", subresource: Subresource::Binding },
        ..transient(schema, CORE, "io.k8s.api.core.v1.Binding", Scope::Namespaced)
    }
}
