//! The group `autoscaling`, `v2` and `v1`: one object in two versions.

mod horizontal_pod_autoscaler;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, the preferred version first.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![horizontal_pod_autoscaler::row(schema), horizontal_pod_autoscaler::v1::row(schema)]
}
