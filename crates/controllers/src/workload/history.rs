//! The history of an owner's pod templates, kept in ControllerRevisions.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use skiff_informer::{Cache, ObjectKey, Queue, is_already_exists, is_not_found};

use super::{ByOwner, ClaimError, InFlight, Owner, claim, template};
use crate::informers::api;
use crate::meta::{self, Strings};

/// The label by which pods, and the revisions of a DaemonSet, tell their revision.
pub(crate) const REVISION_HASH: &str = "controller-revision-hash";
/// Longest part of an owner's name in the names of its revisions.
const LONGEST_PREFIX: usize = 223;

/// What one controller does to ControllerRevisions.
pub(crate) struct History {
    client: Client,
    by_owner: ByOwner<ControllerRevision>,
    in_flight: InFlight<ControllerRevision>,
}

/// A template that is to be a revision.
struct Draft<'a> {
    template: &'a PodTemplateSpec,
    /// The label that holds the revision's hash.
    label: &'static str,
    number: i64,
}

/// What becomes of the present template.
#[derive(Debug, PartialEq)]
enum Present {
    /// It is this revision already.
    Is(Arc<ControllerRevision>),
    /// It was this revision, which becomes the latest, with this number.
    Again(Arc<ControllerRevision>, i64),
    /// It becomes a new revision of this number.
    New(i64),
}

/// Finds `template` in `revisions`, which are ordered.
fn present(revisions: &[Arc<ControllerRevision>], template: &PodTemplateSpec) -> Present {
    let data = data_of(template);
    let is_it =
        |revision: &&Arc<ControllerRevision>| revision.data.as_ref().is_some_and(|found| found.0 == data);
    let next = revisions.last().map_or(1, |last| last.revision + 1);
    match (revisions.iter().rfind(is_it), revisions.last()) {
        (Some(found), Some(last)) if is_it(&last) => {
            let found = if Arc::ptr_eq(found, last) { found } else { last };
            Present::Is(found.clone())
        }
        (Some(found), _) => Present::Again(found.clone(), next),
        (None, _) => Present::New(next),
    }
}

/// A patch that brings a template back, as clients apply it: the template, in place of the one there is.
fn data_of(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).expect("a template holds nothing that JSON cannot");
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template that a revision holds.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Which of the revisions that `live` does not name are more than `limit`, the oldest.
pub(crate) fn expired(
    revisions: &[Arc<ControllerRevision>],
    live: impl Fn(&ControllerRevision) -> bool,
    limit: Option<i32>,
) -> Vec<Arc<ControllerRevision>> {
    let Ok(limit) = usize::try_from(limit.unwrap_or(10)) else { return Vec::new() };
    let history: Vec<_> = revisions.iter().filter(|revision| !live(revision)).cloned().collect();
    let excess = history.len().saturating_sub(limit);
    history.into_iter().take(excess).collect()
}

impl History {
    /// Acts through `client`; `by_owner` has what `revisions` has. Who waits for a revision of its own is added to `queue` when it shows.
    pub(crate) fn new(
        client: Client,
        revisions: &Cache<ControllerRevision>,
        by_owner: ByOwner<ControllerRevision>,
        queue: &Queue<ObjectKey>,
    ) -> Self {
        Self { client, by_owner, in_flight: InFlight::waking(revisions, queue) }
    }

    /// What was written and may not show yet.
    pub(crate) fn in_flight(&self) -> &InFlight<ControllerRevision> {
        &self.in_flight
    }

    /// The revisions of `owner`, the oldest first; orphans among them are adopted.
    pub(crate) async fn of<O: Owner>(&self, owner: &O) -> Result<Vec<Arc<ControllerRevision>>, ClaimError> {
        let candidates = self.by_owner.of_or_orphaned(owner);
        let claims = claim(owner, candidates, |selector, revision| selector.selects(revision));
        let mut revisions = claims.settle(&self.client, owner, &[]).await?;
        skiff_ordered::sort_by_key(&mut revisions, |revision| {
            (revision.revision, revision.metadata.creation_timestamp.clone(), revision.name_any())
        });
        Ok(revisions)
    }

    /// Lets a template be the latest of `revisions`, which are ordered: it is, becomes it again, or is a new one, whose hash is
    /// in `label`. Templates that have its hash are counted in `collisions`.
    pub(crate) async fn keep<O: Owner>(
        &self,
        owner: &O,
        revisions: &[Arc<ControllerRevision>],
        (template, label): (&PodTemplateSpec, &'static str),
        collisions: &mut i32,
    ) -> kube::Result<Arc<ControllerRevision>> {
        match present(revisions, template) {
            Present::Is(revision) => Ok(revision),
            Present::Again(revision, number) => self.renumber(owner, &revision, number).await.map(Arc::new),
            Present::New(number) => {
                let draft = Draft { template, label, number };
                self.create(owner, &draft, collisions).await.map(Arc::new)
            }
        }
    }

    /// Makes a revision. Its name has the hash of the template; each other template that has the same one is one of
    /// `collisions`, which make it another.
    async fn create<O: Owner>(
        &self,
        owner: &O,
        draft: &Draft<'_>,
        collisions: &mut i32,
    ) -> kube::Result<ControllerRevision> {
        let key = owner.key();
        let api = api::<ControllerRevision>(&self.client, &key);
        loop {
            let revision = revision_of(owner, draft, *collisions);
            let found = match api.create(&PostParams::default(), &revision).await {
                Err(error) if is_already_exists(&error) => api.get(&revision.name_any()).await?,
                Err(error) => return Err(error),
                Ok(created) => created,
            };
            if found.data == revision.data {
                self.in_flight.wrote(&key, &found.metadata);
                return Ok(found);
            }
            *collisions += 1;
        }
    }

    /// Lets a revision have another number.
    async fn renumber<O: Owner>(
        &self,
        owner: &O,
        revision: &ControllerRevision,
        number: i64,
    ) -> kube::Result<ControllerRevision> {
        let (key, renumbered) = (owner.key(), ControllerRevision { revision: number, ..revision.clone() });
        let api = api::<ControllerRevision>(&self.client, &key);
        let written = api.replace(&revision.name_any(), &PostParams::default(), &renumbered).await?;
        self.in_flight.wrote(&key, &written.metadata);
        Ok(written)
    }

    /// Deletes revisions.
    pub(crate) async fn delete<O: Owner>(
        &self,
        owner: &O,
        revisions: &[Arc<ControllerRevision>],
    ) -> kube::Result<()> {
        let api = api::<ControllerRevision>(&self.client, &owner.key());
        for revision in revisions {
            match api.delete(&revision.name_any(), &DeleteParams::default()).await {
                Err(error) if !is_not_found(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn revision_of<O: Owner>(owner: &O, draft: &Draft<'_>, collisions: i32) -> ControllerRevision {
    let data = data_of(draft.template);
    let hash = template::revision_hash(&data, collisions);
    let template = draft.template.metadata.as_ref();
    let mut labels: Strings = template.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    labels.insert(draft.label.to_owned(), hash.clone());
    let name = owner.name_any();
    let prefix = name.get(..LONGEST_PREFIX).unwrap_or(&name);
    let metadata = ObjectMeta {
        name: Some(format!("{prefix}-{hash}")),
        namespace: owner.namespace(),
        labels: Some(labels),
        annotations: owner.meta().annotations.clone(),
        owner_references: Some(vec![meta::controller_reference(owner)]),
        ..ObjectMeta::default()
    };
    ControllerRevision { metadata, data: Some(RawExtension(data)), revision: draft.number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "image": image}]}})).unwrap()
    }

    fn revision(image: &str, number: i64) -> Arc<ControllerRevision> {
        let data = Some(RawExtension(data_of(&template(image))));
        Arc::new(ControllerRevision { data, revision: number, ..ControllerRevision::default() })
    }

    #[test]
    fn the_present_template_is_found_brought_back_or_new() {
        let revisions = [revision("a", 1), revision("b", 2)];
        assert_eq!(present(&[], &template("a")), Present::New(1));
        assert_eq!(present(&revisions, &template("b")), Present::Is(revisions[1].clone()));
        assert_eq!(present(&revisions, &template("a")), Present::Again(revisions[0].clone(), 3));
        assert_eq!(present(&revisions, &template("c")), Present::New(3));
        assert_eq!(template_of(&revisions[0]), Some(template("a")));
    }

    #[test]
    fn the_oldest_that_nothing_lives_of_expire() {
        let revisions = [revision("a", 1), revision("b", 2), revision("c", 3)];
        let numbers = |limit: i32| -> Vec<i64> {
            let live = |revision: &ControllerRevision| revision.revision == 2;
            expired(&revisions, live, Some(limit)).iter().map(|revision| revision.revision).collect()
        };
        assert_eq!(numbers(0), [1, 3]);
        assert_eq!(numbers(1), [1]);
        assert!(numbers(2).is_empty());
        assert!(numbers(-1).is_empty());
    }
}
