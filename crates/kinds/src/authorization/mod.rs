//! Questions to the authorizer, answered and not kept: the group `authorization.k8s.io`.

use std::sync::Arc;

use skiff_machinery::{Kind, Scope};
use skiff_schema::Schema;

use crate::groups::AUTHORIZATION;
use crate::row::transient;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    let row = |definition, scope| transient(schema, AUTHORIZATION, definition, scope);
    vec![
        row("io.k8s.api.authorization.v1.LocalSubjectAccessReview", Scope::Namespaced),
        row("io.k8s.api.authorization.v1.SelfSubjectAccessReview", Scope::Cluster),
        row("io.k8s.api.authorization.v1.SelfSubjectRulesReview", Scope::Cluster),
        row("io.k8s.api.authorization.v1.SubjectAccessReview", Scope::Cluster),
    ]
}
