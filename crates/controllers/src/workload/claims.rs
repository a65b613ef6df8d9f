//! Which objects belong to an owner: adopted when its selector selects them, released when it no longer does.

use std::sync::Arc;

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use skiff_informer::{ObjectKey, is_not_found};
use tracing::debug;

use super::owner::Dependent;
use super::{Owner, Selector};
use crate::informers::api;
use crate::meta;

/// Objects as they relate to one owner.
pub(crate) struct Claims<D> {
    /// Controlled and selected.
    pub(crate) owned: Vec<Arc<D>>,
    /// Selected, controlled by nobody: to be adopted.
    pub(crate) adopt: Vec<Arc<D>>,
    /// Controlled but no longer selected: to be released.
    pub(crate) release: Vec<Arc<D>>,
}

/// Sorts `objects` by their relation to `owner`. One that is being deleted neither adopts nor releases.
pub(crate) fn claim<O: Owner, D: Dependent>(
    owner: &O,
    objects: impl IntoIterator<Item = Arc<D>>,
    selected: impl Fn(&Selector, &D) -> bool,
) -> Claims<D> {
    let (selector, going) = (owner.selector(), owner.is_going());
    let mut claims = Claims { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in objects {
        let selected = selected(&selector, &object);
        match object.controller() {
            Some(other) if !owner.is(other) => {}
            Some(_) if selected => claims.owned.push(object),
            Some(_) if !going => claims.release.push(object),
            None if selected && !going && !object.is_deleting() => claims.adopt.push(object),
            _ => {}
        }
    }
    claims
}

/// An ownership that could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {object}")]
pub(crate) struct ClaimError {
    action: &'static str,
    object: ObjectKey,
    source: kube::Error,
}

impl<D: Dependent> Claims<D> {
    /// Adopts and releases. Returns what `owner` owns now. Before anything is adopted a fresh read shows whether the owner is
    /// still there and not being deleted: the cache may not tell yet, and what is adopted by one that is gone is deleted.
    /// What is adopted gets `finalizers`, which what is released loses.
    pub(crate) async fn settle<O: Owner>(
        self,
        client: &Client,
        owner: &O,
        finalizers: &[&str],
    ) -> Result<Vec<Arc<D>>, ClaimError> {
        for object in &self.release {
            let patch = released(owner, &**object, finalizers);
            write(client, &**object, patch, "release").await?;
        }
        let mut owned = self.owned;
        if self.adopt.is_empty() || !may_adopt(client, owner).await? {
            return Ok(owned);
        }
        for object in self.adopt {
            if write(client, &*object, adopted(owner, &*object, finalizers), "adopt").await? {
                owned.push(object);
            }
        }
        Ok(owned)
    }
}

async fn may_adopt<O: Owner>(client: &Client, owner: &O) -> Result<bool, ClaimError> {
    let key = owner.key();
    let live = match api::<O>(client, &key).get(key.name()).await {
        Ok(live) => live,
        Err(source) if is_not_found(&source) => return Ok(false),
        Err(source) => return Err(ClaimError { action: "look whether there still is", object: key, source }),
    };
    let may = live.meta().uid == owner.meta().uid && !live.is_going();
    if !may {
        debug!(%key, kind = %O::kind(&()), "not adopting: the owner was deleted");
    }
    Ok(may)
}

/// The UID is a condition: of another object of the same name nothing is changed.
fn adopted<O: Owner, D: Dependent>(owner: &O, object: &D, finalizers: &[&str]) -> Value {
    let mut metadata = json!({"uid": object.uid(), "ownerReferences": [meta::controller_reference(owner)]});
    if !finalizers.is_empty() {
        metadata["finalizers"] = json!(finalizers);
    }
    json!({ "metadata": metadata })
}

fn released<O: Owner, D: Dependent>(owner: &O, object: &D, finalizers: &[&str]) -> Value {
    let reference = json!({"$patch": "delete", "uid": meta::uid(owner.meta())});
    let mut metadata = json!({"uid": object.uid(), "ownerReferences": [reference]});
    if !finalizers.is_empty() {
        metadata["$deleteFromPrimitiveList/finalizers"] = json!(finalizers);
    }
    json!({ "metadata": metadata })
}

/// Patches an object's owners; `false` when it is gone.
async fn write<D: Dependent>(
    client: &Client,
    object: &D,
    patch: Value,
    action: &'static str,
) -> Result<bool, ClaimError> {
    let key = object.key();
    let api = api::<D::Kind>(client, &key);
    match api.patch(key.name(), &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(source) => Err(ClaimError { action, object: key, source }),
    }
}
