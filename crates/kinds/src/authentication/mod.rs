//! Questions to the authenticator, answered and not kept: the group `authentication.k8s.io`.

use std::sync::Arc;

use skiff_machinery::{Kind, Scope};
use skiff_schema::Schema;

use crate::groups::AUTHENTICATION;
use crate::row::transient;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    let row = |definition, scope| transient(schema, AUTHENTICATION, definition, scope);
    vec![
        row("io.k8s.api.authentication.v1.SelfSubjectReview", Scope::Cluster),
        row("io.k8s.api.authentication.v1.TokenReview", Scope::Cluster),
    ]
}
