//! What the tests of several modules share.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use skiff_cel::{Action, Authorizer, Decision, Subject};
use skiff_machinery::Object;
use skiff_schema::{Root, Schema};

use crate::attributes::{Attributes, GroupVersionKind, GroupVersionResource, Operation};
use crate::surroundings::{Authorizers, Equivalent, Kinds, Namespaces, Surroundings, Unknown};

/// Alice creates the pod `default/web`.
pub(crate) fn request() -> Attributes {
    let mut attributes = Attributes::new(
        Operation::Create,
        GroupVersionResource::new("", "v1", "pods"),
        GroupVersionKind::new("", "v1", "Pod"),
    );
    attributes.namespace = "default".to_owned();
    attributes.name = "web".to_owned();
    attributes.user.name = "alice".to_owned();
    attributes.object = Some(object(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"}, "spec": {},
    })));
    attributes
}

/// An object from JSON.
pub(crate) fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

/// Serves pods, and Deployments under several groups.
pub(crate) struct Served;

impl Kinds for Served {
    fn equivalents(&self, resource: &GroupVersionResource, _: &str) -> Vec<Equivalent> {
        if resource.resource != "deployments" {
            return vec![Equivalent { resource: resource.clone(), kind: None }];
        }
        let under = |group: &str, version: &str, known: bool| Equivalent {
            resource: GroupVersionResource::new(group, version, "deployments"),
            kind: known.then(|| GroupVersionKind::new(group, version, "Deployment")),
        };
        vec![under("apps", "v1", true), under("extensions", "v1beta1", true), under("strange", "v1", false)]
    }

    fn convert(&self, object: &Object, kind: &GroupVersionKind) -> Result<Object, String> {
        let mut object = object.clone();
        object.set(&["apiVersion"], kind.api_version());
        Ok(object)
    }

    /// Fields called `drop` are not known; `spec` must be an object.
    fn decode(&self, _: &GroupVersionKind, mut tree: Object, unknown: Unknown) -> Result<Object, String> {
        if tree.remove(&["drop"]).is_some() && unknown == Unknown::Refused {
            return Err("strict decoding error: unknown field \"drop\"".to_owned());
        }
        if tree.get(&["spec"]).is_some_and(|spec| !spec.is_object()) {
            return Err("json: cannot unmarshal into Go struct field Pod.spec".to_owned());
        }
        Ok(tree)
    }

    fn fill(&self, _: &GroupVersionKind, object: &mut Object) {
        if object.get(&["spec", "defaulted"]).is_none() {
            object.set(&["spec", "defaulted"], true);
        }
    }

    fn root(&self, kind: &GroupVersionKind) -> Option<Root> {
        let schema = Arc::new(Schema::kubernetes());
        let (group, version) = (kind.group.split('.').next().unwrap_or_default(), &kind.version);
        let package = if group.is_empty() { "core" } else { group };
        schema.root(&format!("io.k8s.api.{package}.{version}.{}", kind.kind))
    }

    fn kinds_of(&self, resource: &GroupVersionResource) -> Vec<GroupVersionKind> {
        let kind = match resource.resource.as_str() {
            "pods" => "Pod",
            "services" => "Service",
            "deployments" => "Deployment",
            _ => return Vec::new(),
        };
        vec![GroupVersionKind::new(&resource.group, &resource.version, kind)]
    }
}

/// Namespaces by name.
pub(crate) struct Named(BTreeMap<String, Arc<Object>>);

impl Named {
    pub(crate) fn new(namespaces: impl IntoIterator<Item = Value>) -> Self {
        let named = |namespace: Value| {
            let namespace = object(namespace);
            (namespace.name().to_owned(), Arc::new(namespace))
        };
        Self(namespaces.into_iter().map(named).collect())
    }
}

#[async_trait]
impl Namespaces for Named {
    async fn get(&self, name: &str) -> Result<Option<Arc<Object>>, String> {
        Ok(self.0.get(name).cloned())
    }
}

/// Everybody may `get`.
pub(crate) struct Readers;

impl Authorizer for Readers {
    fn authorize(&self, _: &Subject, action: &Action<'_>) -> Decision {
        let verb = match action {
            Action::Path { verb, .. } | Action::Resource { verb, .. } => *verb,
        };
        Decision { allowed: verb == "get", ..Decision::default() }
    }
}

impl Authorizers for Readers {
    fn of<'a>(&'a self, _: &'a Attributes) -> Box<dyn Authorizer + 'a> {
        Box::new(Self)
    }
}

/// The cluster of the tests.
pub(crate) fn surroundings() -> Surroundings {
    let labels = json!({"env": "dev"});
    let default = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    });
    Surroundings {
        kinds: Arc::new(Served),
        namespaces: Arc::new(Named::new([default])),
        authorizers: Arc::new(Readers),
    }
}
