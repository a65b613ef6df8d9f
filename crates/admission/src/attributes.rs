//! What a request is about to do, as every plugin sees it.

use skiff_audit::Level;
use skiff_ordered::Ordered as _;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_machinery::Object;

use crate::notes::Notes;
use crate::reinvocation::Reinvocation;

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// A stream to it is opened: exec, attach, portforward, proxy.
    Connect,
}

impl Operation {
    /// As rules and `AdmissionRequest.operation` have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A kind in a version of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionKind {
    /// Empty for core.
    pub group: String,
    /// E.g. `v1`.
    pub version: String,
    /// E.g. `Pod`.
    pub kind: String,
}

/// A resource in a version of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionResource {
    /// Empty for core.
    pub group: String,
    /// E.g. `v1`.
    pub version: String,
    /// The plural, e.g. `pods`.
    pub resource: String,
}

impl GroupVersionKind {
    /// From its parts.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// From `apiVersion` and `kind`.
    pub fn parse(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }

    /// As objects carry it: `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"group": self.group, "version": self.version, "kind": self.kind})
    }
}

impl GroupVersionResource {
    /// From its parts.
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), resource: resource.to_owned() }
    }

    /// As errors name it: `pods` or `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"group": self.group, "version": self.version, "resource": self.resource})
    }
}

/// As Kubernetes' messages show it.
impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// As Kubernetes' messages show it.
impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Resource={}", self.group, self.version, self.resource)
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Unique name among active users.
    pub name: String,
    /// Empty when unknown.
    pub uid: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// What the authenticator knows besides.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// As `authentication.k8s.io/v1` UserInfo: what is empty is left out.
    pub(crate) fn to_json(&self) -> Value {
        let mut info = serde_json::Map::new();
        let mut put = |name: &str, value: Value, empty: bool| {
            if !empty {
                info.insert(name.to_owned(), value);
            }
        };
        put("username", self.name.as_str().into(), self.name.is_empty());
        put("uid", self.uid.as_str().into(), self.uid.is_empty());
        put("groups", json!(self.groups), self.groups.is_empty());
        put("extra", json!(self.extra), self.extra.is_empty());
        Value::Object(info)
    }
}

/// What a request is about to do, and what plugins have to say about it.
#[derive(Debug)]
pub struct Attributes {
    /// What happens.
    pub operation: Operation,
    /// The resource of the URL.
    pub resource: GroupVersionResource,
    /// The kind of [`Attributes::object`]: for most subresources of [`Operation::Connect`] that of its options.
    pub kind: GroupVersionKind,
    /// Empty for the object itself.
    pub subresource: String,
    /// Of the object; empty for cluster-scoped kinds, and the Namespace's own name for Namespaces.
    pub namespace: String,
    /// Empty when the name is yet to be generated, and on deletion of a collection.
    pub name: String,
    /// The object as it would be written, with defaults; for connections their options. Not there on delete.
    pub object: Option<Object>,
    /// The object as it is. Not there on create and connect.
    pub old: Option<Arc<Object>>,
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions` with its `kind` and `apiVersion`.
    pub options: Option<Value>,
    /// Whether nothing will be written.
    pub dry_run: bool,
    /// Who asks.
    pub user: User,
    /// When the request's own time is over.
    pub deadline: Option<Instant>,
    /// What happened in this round and the one before.
    pub reinvocation: Reinvocation,
    pub(crate) notes: Mutex<Notes>,
}

impl Attributes {
    /// A request with nothing but this.
    pub fn new(operation: Operation, resource: GroupVersionResource, kind: GroupVersionKind) -> Self {
        Self {
            operation,
            resource,
            kind,
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            object: None,
            old: None,
            options: None,
            dry_run: false,
            user: User::default(),
            deadline: None,
            reinvocation: Reinvocation::default(),
            notes: Mutex::default(),
        }
    }

    /// Adds a text for a `Warning` header.
    pub fn warn(&self, text: impl Into<String>) {
        self.notes.lock().warn(text.into());
    }

    /// Adds an annotation of the request's audit event, which is written from this level on. One that has no qualified name, or that
    /// is there with another value, is left out.
    pub fn annotate(&self, level: Level, key: impl Into<String>, value: impl Into<String>) {
        self.notes.lock().annotate(level, key.into(), value.into());
    }

    /// What the client is to be warned of, in the order in which it came up. The server bounds what it sends.
    pub fn warnings(&self) -> Vec<String> {
        self.notes.lock().warnings.clone()
    }

    /// Annotations for the audit event of this level.
    pub fn annotations(&self, level: Level) -> BTreeMap<String, String> {
        let notes = self.notes.lock();
        let fits = notes.annotations.iter().filter(|(_, annotation)| annotation.level <= level);
        fits.map(|(key, annotation)| (key.clone(), annotation.value.clone())).one_by_one()
    }

    /// The request is about one of the kinds that configure admission. No webhook and no policy is asked about these: a bad one could
    /// never be removed.
    pub fn configures_admission(&self) -> bool {
        const KINDS: &[&str] = &[
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
        ];
        self.kind.group == "admissionregistration.k8s.io" && KINDS.contains(&self.kind.kind.as_str())
    }

    /// The namespace whose object expressions see; empty for what is in none. A Namespace is not in itself.
    pub(crate) fn surrounding_namespace(&self) -> &str {
        let namespace = self.kind == GroupVersionKind::new("", "v1", "Namespace");
        if namespace { "" } else { &self.namespace }
    }
}
