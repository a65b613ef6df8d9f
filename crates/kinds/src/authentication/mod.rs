//! Questions to the authenticator, answered and not kept: the group `authentication.k8s.io`.

use std::sync::Arc;

use skiff_machinery::{GroupVersion, Kind, Scope};
use skiff_schema::Schema;

use crate::row::transient;

const GV: GroupVersion = GroupVersion::fixed("authentication.k8s.io", "v1");

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    let row = |definition, scope| transient(schema, GV, definition, scope);
    vec![
        row("io.k8s.api.authentication.v1.SelfSubjectReview", Scope::Cluster),
        row("io.k8s.api.authentication.v1.TokenReview", Scope::Cluster),
    ]
}
