//! The reviews: questions to the authenticator and the authorizer, answered and not kept.

use std::sync::Arc;

use skiff_schema::Schema;

use super::{Plain, transient};
use crate::{GroupVersion, Kind, Scope};

const AUTHENTICATION: GroupVersion = GroupVersion::fixed("authentication.k8s.io", "v1");
const AUTHORIZATION: GroupVersion = GroupVersion::fixed("authorization.k8s.io", "v1");

pub(super) fn rows(schema: &Arc<Schema>) -> [Kind; 6] {
    let authentication = |definition| transient(schema, AUTHENTICATION, definition, Scope::Cluster, Plain);
    let authorization = |definition, scope| transient(schema, AUTHORIZATION, definition, scope, Plain);
    [
        authentication("io.k8s.api.authentication.v1.SelfSubjectReview"),
        authentication("io.k8s.api.authentication.v1.TokenReview"),
        authorization("io.k8s.api.authorization.v1.LocalSubjectAccessReview", Scope::Namespaced),
        authorization("io.k8s.api.authorization.v1.SelfSubjectAccessReview", Scope::Cluster),
        authorization("io.k8s.api.authorization.v1.SelfSubjectRulesReview", Scope::Cluster),
        authorization("io.k8s.api.authorization.v1.SubjectAccessReview", Scope::Cluster),
    ]
}
