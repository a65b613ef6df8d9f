//! Owners and what they own, as the kit sees them.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use skiff_informer::{Cache, Change, Index, ObjectKey, Queue};

use super::Selector;
use crate::meta;
use crate::pods::KnownPod;

/// A kind of this API group and version that can be read, written and cached.
pub(crate) trait Typed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Typed for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// A kind whose objects own others.
pub(crate) trait Owner: Typed {
    /// What selects the objects that it may adopt.
    fn selector(&self) -> Selector;

    /// Its namespace and name.
    fn key(&self) -> ObjectKey {
        ObjectKey::of(self.meta())
    }

    /// Whether its deletion has begun.
    fn is_going(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Whether it is what `reference` refers to; the UID alone says so.
    fn is(&self, reference: &OwnerReference) -> bool {
        reference.uid == meta::uid(self.meta())
    }
}

/// An object that an owner may control, as a cache keeps it.
pub(crate) trait Dependent: Send + Sync + 'static {
    /// The kind that it is of.
    type Kind: Typed;

    /// Its namespace and name.
    fn key(&self) -> ObjectKey;
    /// Its UID.
    fn uid(&self) -> &str;
    /// The value of one of its labels.
    fn label(&self, key: &str) -> Option<&str>;
    /// The owner that controls it.
    fn controller(&self) -> Option<&OwnerReference>;
    /// Whether its deletion has begun.
    fn is_deleting(&self) -> bool;
    /// Whether both have the same labels.
    fn same_labels(&self, other: &Self) -> bool;
}

impl<K: Typed> Dependent for K {
    type Kind = K;

    fn key(&self) -> ObjectKey {
        ObjectKey::of(self.meta())
    }

    fn uid(&self) -> &str {
        meta::uid(self.meta())
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels().get(key).map(String::as_str)
    }

    fn controller(&self) -> Option<&OwnerReference> {
        meta::controller_of(self.meta())
    }

    fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    fn same_labels(&self, other: &Self) -> bool {
        self.labels() == other.labels()
    }
}

impl Dependent for KnownPod {
    type Kind = Pod;

    fn key(&self) -> ObjectKey {
        self.key().clone()
    }

    fn uid(&self) -> &str {
        self.uid()
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels().get(key)
    }

    fn controller(&self) -> Option<&OwnerReference> {
        self.controller()
    }

    fn is_deleting(&self) -> bool {
        self.is_deleting()
    }

    fn same_labels(&self, other: &Self) -> bool {
        self.labels() == other.labels()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ownership {
    /// Controlled by the object of this UID.
    By(Box<str>),
    /// Controlled by nobody, in this namespace.
    Orphaned(Box<str>),
}

/// The objects of a cache by who controls them.
pub(crate) struct ByOwner<D>(Index<Ownership, D>);

impl<D> Clone for ByOwner<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: Dependent> ByOwner<D> {
    /// Indexes `cache`; before others subscribe to it, so that they find it current.
    pub(crate) fn new(cache: &Cache<D>) -> Self {
        Self(Index::new(cache, |key, object: &D| {
            Some(match object.controller() {
                Some(owner) => Ownership::By(owner.uid.as_str().into()),
                None => Ownership::Orphaned(key.namespace().into()),
            })
        }))
    }

    /// Those that the object of that UID controls.
    pub(crate) fn of(&self, uid: &str) -> Vec<Arc<D>> {
        self.0.get(&Ownership::By(uid.into()))
    }

    /// Those that `owner` controls, then those of its namespace that nobody does.
    pub(crate) fn of_or_orphaned<O: Owner>(&self, owner: &O) -> Vec<Arc<D>> {
        let mut all = self.of(meta::uid(owner.meta()));
        let namespace = owner.meta().namespace.as_deref().unwrap_or("");
        all.extend(self.0.get(&Ownership::Orphaned(namespace.into())));
        all
    }
}

/// Adds an owner to `queue` when it changes, when what it controls changes, appears or goes, and when an object that nobody
/// controls comes to be selected by it. Objects must be indexed already.
pub(crate) fn follow<O: Owner, D: Dependent>(
    owners: &Cache<O>,
    dependents: &Cache<D>,
    queue: &Queue<ObjectKey>,
) {
    let wake = queue.clone();
    owners.subscribe(move |change| wake.add(change.key.clone()));
    let (wake, owners) = (queue.clone(), owners.clone());
    dependents.subscribe(move |change| concerned(&owners, change).into_iter().for_each(|key| wake.add(key)));
}

fn concerned<O: Owner, D: Dependent>(owners: &Cache<O>, change: &Change<'_, D>) -> Vec<ObjectKey> {
    let namespace = change.key.namespace();
    let of_kind = |owner: &&OwnerReference| {
        owner.kind == O::kind(&()) && meta::group_of(&owner.api_version) == O::group(&())
    };
    let controllers = change.both().filter_map(|object| object.controller()).filter(of_kind);
    let mut keys: Vec<_> = controllers.map(|owner| ObjectKey::new(namespace, &owner.name)).collect();
    if let Some(new) = change.new
        && new.controller().is_none()
        && change.old.is_none_or(|old| old.controller().is_some() || !old.same_labels(new))
    {
        let mut selecting = owners.in_namespace(namespace);
        selecting.retain(|owner| owner.selector().selects(&**new));
        keys.extend(selecting.iter().map(|owner| ObjectKey::of(owner.meta())));
    }
    keys
}
