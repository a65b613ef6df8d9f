//! ServiceAccount.

use std::sync::Arc;

use skiff_schema::Schema;

use crate::row::{CORE, stored};
use skiff_machinery::{Kind, Scope, Strategy, Subresource};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    stored(schema, CORE, "io.k8s.api.core.v1.ServiceAccount", Scope::Namespaced, AccountStrategy)
        .short(&["sa"])
        .below(&[Subresource::Token])
}

/// What is special about service accounts.
struct AccountStrategy;

impl Strategy for AccountStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }
}
