//! What all first objects have in common.

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::Object;
use skiff_store::Key;

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
/// `"true"` on what later versions may add to.
pub(super) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The ConfigMap with which this server tells others how it authenticates.
pub(super) const AUTHENTICATION: &str = "extension-apiserver-authentication";

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
        namespace: &str,
        name: &str,
        body: Value,
    ) -> Object {
        let mut object = Object::from_value(body).unwrap_or_default();
        object.set(&["apiVersion"], api_version);
        object.set(&["kind"], kind);
        object.set(&["metadata", "name"], name);
        if !namespace.is_empty() {
            object.set(&["metadata", "namespace"], namespace);
        }
        object.set(&["metadata", "uid"], uuid::Uuid::new_v4().to_string());
        object.set(&["metadata", "creationTimestamp"], format!("{:.0}", self.now));
        object
    }
}

/// Where an object is stored.
pub(super) fn key(resource: &str, namespace: &str, name: &str) -> Key {
    let place = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    Key::from(format!("/registry/{resource}/{place}"))
}
