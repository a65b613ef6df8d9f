//! Who owns whom, by UID, as far as the watches have told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use skiff_informer::ObjectKey;
pub(super) use skiff_machinery::Uid;

/// Finalizer of an object that waits for its dependents to be deleted.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents are to be kept.
pub(super) const ORPHAN: &str = "orphan";

/// Group and kind, without the version.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct GroupKind(Arc<(String, String)>);

impl GroupKind {
    pub(super) fn new(group: &str, kind: &str) -> Self {
        Self(Arc::new((group.into(), kind.into())))
    }

    pub(super) fn of(reference: &OwnerReference) -> Self {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        Self::new(group, &reference.kind)
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, kind) = &*self.0;
        if group.is_empty() { f.write_str(kind) } else { write!(f, "{kind}.{group}") }
    }
}

/// Something to look at, live.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Work {
    /// Delete the object if its owners are gone; or, if it waits for its dependents, see whether it still has to.
    Collect(Uid),
    /// Detach the dependents of an object that is deleted without them.
    Orphan(Uid),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collect(uid) => write!(f, "collect {}", uid.as_str()),
            Self::Orphan(uid) => write!(f, "orphan the dependents of {}", uid.as_str()),
        }
    }
}

/// A link to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: Uid,
    /// Whether the owner's foreground deletion waits for this object.
    pub(super) blocks: bool,
}

/// How an object is reached.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) kind: GroupKind,
    pub(super) key: ObjectKey,
}

impl Target {
    /// Whether objects of a namespace may name it as their owner: only what lies there too, or in no namespace.
    pub(super) fn is_owner_in(&self, namespace: &str) -> bool {
        self.key.namespace().is_empty() || self.key.namespace() == namespace
    }
}

/// An object.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) target: Target,
    pub(super) owners: Vec<Owner>,
    pub(super) dependents: BTreeSet<Uid>,
    /// Seen by a watch; otherwise only named as an owner.
    pub(super) observed: bool,
    pub(super) deleting: bool,
    /// Being deleted, waiting for its dependents.
    pub(super) foreground: bool,
    orphaning: bool,
}

/// All objects. No hash table, which would keep the room of as many as there ever were.
#[derive(Default)]
pub(super) struct Graph {
    nodes: BTreeMap<Uid, Node>,
}

impl Graph {
    pub(super) fn get(&self, uid: &Uid) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The UIDs of observed objects of `kind`.
    pub(super) fn of_kind(&self, kind: &GroupKind) -> Vec<Uid> {
        let same = self.nodes.iter().filter(|(_, node)| node.observed && node.target.kind == *kind);
        same.map(|(uid, _)| uid.clone()).collect()
    }

    /// The dependents that keep `uid` from being deleted.
    pub(super) fn blocking(&self, uid: &Uid) -> Vec<(Uid, bool)> {
        let dependents = self.nodes.get(uid).into_iter().flat_map(|node| &node.dependents);
        let blocks =
            |dependent: &Node| dependent.owners.iter().any(|owner| owner.uid == *uid && owner.blocks);
        dependents
            .filter_map(|dependent| Some((dependent, self.nodes.get(dependent)?)))
            .filter(|(_, node)| blocks(node))
            .map(|(dependent, node)| (dependent.clone(), node.foreground))
            .collect()
    }

    /// Takes in an object that was added or changed.
    pub(super) fn put(&mut self, kind: &GroupKind, meta: &ObjectMeta) -> Vec<Work> {
        let Some(uid) = meta.uid.as_deref().map(Uid::new) else { return Vec::new() };
        let mut work = Vec::new();
        let references = meta.owner_references.as_deref().unwrap_or(&[]);
        let owners: Vec<Owner> = references.iter().map(owner).collect();
        let deleting = meta.deletion_timestamp.is_some();
        let has = |finalizer: &str| meta.finalizers.iter().flatten().any(|name| name == finalizer);
        let (foreground, orphaning) = (deleting && has(FOREGROUND), deleting && has(ORPHAN));
        let node = Node {
            target: Target { kind: kind.clone(), key: ObjectKey::of(meta) },
            owners: owners.clone(),
            dependents: BTreeSet::new(),
            observed: true,
            deleting,
            foreground,
            orphaning,
        };
        let mut old_owners = Vec::new();
        // Most are new, and then this is all.
        let old = self.nodes.insert(uid.clone(), node);
        let was = |state: fn(&Node) -> bool| old.as_ref().is_some_and(state);
        if orphaning && !was(|node| node.orphaning) {
            work.push(Work::Orphan(uid.clone()));
        }
        if foreground && !was(|node| node.foreground) {
            let dependents = old.iter().flat_map(|node| &node.dependents);
            work.extend(dependents.cloned().map(Work::Collect));
            work.push(Work::Collect(uid.clone()));
        }
        if let Some(old) = old {
            if !old.observed {
                work.extend(self.strangers(&uid, &old.dependents));
            }
            if let Some(node) = self.nodes.get_mut(&uid) {
                node.dependents = old.dependents;
                old_owners = old.owners;
            }
        }
        self.relink(&uid, &old_owners, &owners, references, &mut work);
        work
    }

    /// Those who name an owner that they cannot have: it has been seen in another namespace.
    fn strangers(&self, owner: &Uid, dependents: &BTreeSet<Uid>) -> Vec<Work> {
        let Some(owner) = self.nodes.get(owner) else { return Vec::new() };
        let elsewhere = |uid: &&Uid| {
            self.nodes.get(*uid).is_some_and(|node| !owner.target.is_owner_in(node.target.key.namespace()))
        };
        dependents.iter().filter(elsewhere).cloned().map(Work::Collect).collect()
    }

    /// Brings the owners' lists of dependents up to date.
    fn relink(
        &mut self,
        uid: &Uid,
        before: &[Owner],
        now: &[Owner],
        references: &[OwnerReference],
        work: &mut Vec<Work>,
    ) {
        for old in before {
            let still = now.iter().find(|owner| owner.uid == old.uid);
            if still.is_none()
                && let Some(owner) = self.nodes.get_mut(&old.uid)
            {
                owner.dependents.remove(uid);
            }
            let unblocked = old.blocks && still.is_none_or(|owner| !owner.blocks);
            if unblocked && self.nodes.get(&old.uid).is_some_and(|owner| owner.foreground) {
                work.push(Work::Collect(old.uid.clone()));
            }
        }
        let namespace =
            self.nodes.get(uid).map_or_else(String::new, |node| node.target.key.namespace().to_owned());
        for (new, reference) in now.iter().zip(references) {
            if before.iter().any(|old| old.uid == new.uid) {
                continue;
            }
            match self.nodes.get_mut(&new.uid) {
                Some(owner) => {
                    owner.dependents.insert(uid.clone());
                    // It came too late to be told of the owner's deletion, or names what cannot be its owner.
                    if owner.foreground || !owner.target.is_owner_in(&namespace) {
                        work.push(Work::Collect(uid.clone()));
                    }
                }
                None => {
                    let node = self.unseen_owner(uid, reference);
                    self.nodes.insert(new.uid.clone(), node);
                    work.push(Work::Collect(new.uid.clone()));
                }
            }
        }
    }

    /// An owner that no watch has shown yet: it may be late, or not exist.
    fn unseen_owner(&self, dependent: &Uid, reference: &OwnerReference) -> Node {
        let namespace = self.nodes.get(dependent).map_or("", |node| node.target.key.namespace());
        Node {
            target: Target {
                kind: GroupKind::of(reference),
                key: ObjectKey::new(namespace, &reference.name),
            },
            owners: Vec::new(),
            dependents: BTreeSet::from([dependent.clone()]),
            observed: false,
            deleting: false,
            foreground: false,
            orphaning: false,
        }
    }

    /// Takes out an object that no longer exists: its dependents, and owners that waited for it, are looked at.
    pub(super) fn remove(&mut self, uid: &Uid) -> Vec<Work> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut work: Vec<Work> = node.dependents.into_iter().map(Work::Collect).collect();
        for old in &node.owners {
            let Some(owner) = self.nodes.get_mut(&old.uid) else { continue };
            owner.dependents.remove(uid);
            if owner.foreground {
                work.push(Work::Collect(old.uid.clone()));
            }
            // Nobody names an unseen owner any more.
            if !owner.observed && owner.dependents.is_empty() {
                self.nodes.remove(&old.uid);
            }
        }
        work
    }
}

fn owner(reference: &OwnerReference) -> Owner {
    Owner { uid: Uid::new(&reference.uid), blocks: reference.block_owner_deletion == Some(true) }
}
