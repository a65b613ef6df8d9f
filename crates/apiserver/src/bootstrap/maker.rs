//! What all first objects have in common.

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::{Namespace, Object};
use skiff_store::Key;

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
/// `"true"` on what later versions may add to.
pub(super) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The ConfigMap with which this server tells others how it authenticates.
pub(super) const AUTHENTICATION: &str = "extension-apiserver-authentication";

/// The ConfigMap that says since when the use of tokens in Secrets is noted.
pub(super) const TOKEN_TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";

/// Makes objects.
pub(super) struct Maker {
    pub(super) now: Timestamp,
}

impl Maker {
    /// An object of its kind, made now.
    pub(super) fn object(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Namespace<'_>,
        name: &str,
        body: Value,
    ) -> Object {
        let mut object = Object::from_value(body).unwrap_or_default();
        object.set(&["apiVersion"], api_version);
        object.set(&["kind"], kind);
        object.set(&["metadata", "name"], name);
        if !namespace.is_none() {
            object.set(&["metadata", "namespace"], namespace.as_str());
        }
        object.set(&["metadata", "uid"], skiff_registry::made_id().to_string());
        object.set(&["metadata", "creationTimestamp"], format!("{:.0}", self.now));
        object
    }
}

/// Where an object is stored.
pub(super) fn key(resource: &str, namespace: Namespace<'_>, name: &str) -> Key {
    let place = if namespace.is_none() { name.to_owned() } else { format!("{namespace}/{name}") };
    Key::from(format!("/registry/{resource}/{place}"))
}
