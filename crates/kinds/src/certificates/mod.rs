//! The group `certificates.k8s.io`.

mod certificate_signing_request;
mod conditions;
mod validate;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![certificate_signing_request::row(schema)]
}
