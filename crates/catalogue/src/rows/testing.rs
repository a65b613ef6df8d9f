//! What the tests of strategies share.

use jiff::Timestamp;
use serde_json::Value;

use crate::{ClusterFacts, Context, FieldErrors, Object};

/// Calls a strategy in a cluster with Kubernetes' usual settings, at the start of time.
pub(super) fn with_context<T>(f: impl FnOnce(Context<'_>) -> T) -> T {
    let cluster = ClusterFacts { domain: "cluster.local".to_owned(), node_ports: (30000, 32767) };
    f(Context { now: Timestamp::UNIX_EPOCH, cluster: &cluster })
}

/// Errors as a user reads them.
pub(super) fn texts(errors: FieldErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// An object from JSON.
pub(super) fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}
