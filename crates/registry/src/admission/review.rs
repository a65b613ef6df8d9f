//! A write as plugins see it.

use serde_json::Value;
use skiff_admission::Operation;
use skiff_machinery::{Object, keys};
use skiff_store::{Entry, Page};

use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::codec;
use crate::pipeline::options::DeleteOptions;
use crate::registry::Registry;

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Update,
    Delete,
}

impl Write {
    /// The verb, as in RBAC.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// As webhooks and policies know it.
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::Create => Operation::Create,
            Self::Update => Operation::Update,
            Self::Delete => Operation::Delete,
        }
    }
}

/// A write as plugins see it.
pub(crate) struct Review<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) call: &'a Call,
    pub(crate) write: Write,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// The object to be written, with defaults; not there on delete.
    pub(crate) object: Option<&'a mut Object>,
    /// The object as it is; not there on create.
    pub(crate) old: Option<&'a Object>,
    /// How it is deleted; only there on delete.
    pub(crate) deletion: Option<&'a DeleteOptions>,
}

impl Review<'_> {
    /// Whether the call's kind is this one of the core group.
    pub(super) fn is_core(&self, kind: &str) -> bool {
        self.is_kind("", kind)
    }

    /// Whether the call's kind is this one.
    pub(super) fn is_kind(&self, group: &str, kind: &str) -> bool {
        self.call.kind.gv.group == group && self.call.kind.names.kind == kind
    }

    /// The pod that is about to be created, if this is one.
    pub(super) fn new_pod(&mut self) -> Option<&mut Object> {
        let creates_pod = self.is_core("Pod") && self.write == Write::Create && self.subresource.is_empty();
        if creates_pod { self.object.as_deref_mut() } else { None }
    }

    /// The pod that is about to be created or changed, if this is one.
    pub(super) fn written_pod(&mut self) -> Option<&mut Object> {
        let writes_pod = self.is_core("Pod") && self.subresource.is_empty();
        if writes_pod { self.object.as_deref_mut() } else { None }
    }

    /// What is stored of a core kind, by its plural name, in the namespace of the call.
    pub(super) async fn all_in_namespace(&self, resource: &str) -> Result<Vec<Entry>, ApiError> {
        let prefix: String = keys::core(resource, self.call.namespace(), "");
        Ok(self.registry.store.list(prefix.as_str().into(), Page::default()).await?.entries)
    }

    /// What is stored of a cluster-scoped kind of another group, by its plural name.
    pub(super) async fn all(&self, group: &str, resource: &str) -> Result<Vec<Object>, ApiError> {
        let prefix: String = keys::cluster(group, resource, "");
        let entries = self.registry.store.list(prefix.as_str().into(), Page::default()).await?.entries;
        let objects = entries.iter().map(codec::decode).collect::<Result<_, _>>();
        Ok(objects?)
    }

    /// An object of such a kind, if it is there.
    pub(super) async fn named(
        &self,
        group: &str,
        resource: &str,
        name: &str,
    ) -> Result<Option<Object>, ApiError> {
        let entry = self.registry.store.get(&keys::cluster(group, resource, name)).await?;
        Ok(entry.as_ref().map(codec::decode).transpose()?)
    }
}

/// An object as the crates that decide have it.
pub(super) fn tree(object: &Object) -> Value {
    Value::Object(object.as_map().clone())
}
