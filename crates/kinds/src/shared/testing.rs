//! What the tests of strategies share.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde_json::Value;

use skiff_machinery::{ClusterFacts, Context, FieldErrors, NodePorts, Object, Requester};
use skiff_schema::{Root, Schema};

/// Calls a strategy in a cluster with Kubernetes' usual settings, at the start of time.
pub(crate) fn with_context<T>(f: impl FnOnce(Context<'_>) -> T) -> T {
    let cluster = ClusterFacts { domain: "cluster.local".to_owned(), node_ports: NodePorts::USUAL };
    f(Context { now: Timestamp::UNIX_EPOCH, cluster: &cluster, requester: Requester::nobody() })
}

/// Errors as a user reads them.
pub(crate) fn texts(errors: FieldErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// An object from JSON.
pub(crate) fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

/// A definition of Kubernetes; its schema is read once for all tests.
pub(crate) fn root(definition: &str) -> Root {
    static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::kubernetes()));
    SCHEMA.root(definition).unwrap_or_else(|| panic!("no definition {definition}"))
}
