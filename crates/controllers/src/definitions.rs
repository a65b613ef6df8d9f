//! Gives each CustomResourceDefinition its names and conditions, and takes the objects of one that is deleted away
//! before it goes.
//!
//! Sources: the API reference of CustomResourceDefinition, and the conditions that Kubernetes reports there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionStatus,
};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use skiff_informer::{Next, ObjectKey, is_not_found};

use crate::environment::{Controller, Environment};
use crate::identity;
use crate::informers::Informers;

mod conditions;
mod names;
#[cfg(test)]
mod tests;

use conditions::{ESTABLISHED, Outcome, holds};

const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How long until objects that something holds are looked at again. Their kind is about to go, and nobody watches it.
const HELD: Duration = Duration::from_secs(1);

/// A definition that could not be worked on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} CustomResourceDefinition {name}")]
struct Error {
    action: &'static str,
    name: String,
    source: kube::Error,
}

/// What a definition needs now.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    /// Its status becomes this.
    Report(Box<CustomResourceDefinitionStatus>),
    /// Its objects are to go.
    DeleteObjects,
    /// It has no objects, and may go itself.
    Release,
}

/// Subscribes to CustomResourceDefinitions and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("definitions");
    let (wake, definitions) = (queue.clone(), informers.definitions.clone());
    informers.definitions.subscribe(move |change| {
        let states = change.new.iter().chain(&change.old);
        let groups: BTreeSet<String> = states.map(|definition| definition.spec.group.clone()).collect();
        // A name that is free now may be what another one waits for.
        let waits = |other: &&Arc<CustomResourceDefinition>| {
            groups.contains(&other.spec.group) && !holds(other, conditions::NAMES_ACCEPTED)
        };
        definitions.all().iter().filter(waits).for_each(|other| wake.add(ObjectKey::of(&other.metadata)));
        wake.add(change.key.clone());
    });
    let client = environment.client(identity::APISERVER);
    environment.reconciler(
        queue,
        &[&informers.definitions],
        1,
        (client, informers.clone()),
        |(client, informers), key| reconcile(client, informers, key).boxed(),
    )
}

/// Decides what a definition needs, given all of them.
fn step(
    definition: &CustomResourceDefinition,
    all: &[Arc<CustomResourceDefinition>],
    now: Timestamp,
) -> Step {
    if definition.metadata.deletion_timestamp.is_some() {
        return match definition.finalizers().iter().any(|name| name == FINALIZER) {
            false => Step::Nothing,
            true if !holds(definition, ESTABLISHED) => Step::Release,
            true => Step::DeleteObjects,
        };
    }
    let others = all.iter().filter(|other| other.uid() != definition.uid());
    let accepted = names::accept(definition, others.map(AsRef::as_ref));
    match conditions::of(definition, accepted, now) {
        Outcome::AsItIs => Step::Nothing,
        Outcome::Changed(status) => Step::Report(status),
    }
}

async fn reconcile(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(definition) = informers.definitions.get(&key) else { return Ok(Next::Done) };
    let failed = |action| {
        let name = key.name().to_owned();
        move |source| Error { action, name, source }
    };
    let now = Timestamp::now();
    let done = match step(&definition, &informers.definitions.all(), now) {
        Step::Nothing => return Ok(Next::Done),
        Step::Report(status) => {
            report(client, &definition, &status).await.map_err(failed("report the status of"))
        }
        Step::Release => release(client, &definition, now).await.map_err(failed("release")),
        Step::DeleteObjects => {
            let left = delete_objects(client, &definition).await.map_err(failed("delete the objects of"))?;
            if left > 0 {
                let status = conditions::deleting(&definition, now);
                report(client, &definition, &status).await.map_err(failed("report the deletion of"))?;
                return Ok(Next::After(HELD));
            }
            release(client, &definition, now).await.map_err(failed("release"))
        }
    };
    done.map(|()| Next::Done)
}

/// Writes the status, unless the definition has changed since it was read: then it comes again.
async fn report(
    client: &Client,
    definition: &CustomResourceDefinition,
    status: &CustomResourceDefinitionStatus,
) -> kube::Result<()> {
    if definition.status.as_ref() == Some(status) {
        return Ok(());
    }
    let patch = json!({"metadata": {"resourceVersion": definition.resource_version()}, "status": {
        "conditions": status.conditions, "acceptedNames": status.accepted_names}});
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let written =
        api.patch_status(&definition.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
    unless_changed(written)
}

/// Reports that no objects are left, and lets the definition go.
async fn release(client: &Client, definition: &CustomResourceDefinition, now: Timestamp) -> kube::Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let status = conditions::deleted(definition, now);
    let patch = json!({"metadata": {"resourceVersion": definition.resource_version()},
        "status": {"conditions": status.conditions}});
    let name = definition.name_any();
    let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
    let Some(current) = current(written)? else { return Ok(()) };
    let finalizers: Vec<&String> = current.finalizers().iter().filter(|name| *name != FINALIZER).collect();
    let patch =
        json!({"metadata": {"finalizers": finalizers, "resourceVersion": current.resource_version()}});
    unless_changed(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
}

/// What was written; none if somebody else was faster or the object is gone, of which the cache tells.
fn current<T>(written: kube::Result<T>) -> kube::Result<Option<T>> {
    match written {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) || skiff_informer::is_conflict(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unless_changed<T>(written: kube::Result<T>) -> kube::Result<()> {
    current(written).map(drop)
}

/// Deletes all objects of the kind; how many something holds.
async fn delete_objects(client: &Client, definition: &CustomResourceDefinition) -> kube::Result<usize> {
    let Some(kind) = resource(definition) else { return Ok(0) };
    let objects = || Api::<PartialObjectMeta<DynamicObject>>::all_with(client.clone(), &kind);
    let found = match current(objects().list_metadata(&ListParams::default()).await)? {
        Some(list) => list.items,
        None => return Ok(0),
    };
    let namespaces: BTreeSet<Option<String>> =
        found.into_iter().map(|object| object.metadata.namespace).collect();
    for namespace in namespaces {
        let api: Api<DynamicObject> = match &namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
            None => Api::all_with(client.clone(), &kind),
        };
        unless_changed(api.delete_collection(&DeleteParams::default(), &ListParams::default()).await)?;
    }
    Ok(current(objects().list_metadata(&ListParams::default()).await)?.map_or(0, |list| list.items.len()))
}

/// The kind in one of the versions that are served.
fn resource(definition: &CustomResourceDefinition) -> Option<ApiResource> {
    let names = definition.status.as_ref()?.accepted_names.as_ref()?;
    let version = definition.spec.versions.iter().find(|version| version.served)?;
    let group = &definition.spec.group;
    Some(ApiResource {
        group: group.clone(),
        version: version.name.clone(),
        api_version: format!("{group}/{}", version.name),
        kind: names.kind.clone(),
        plural: names.plural.clone(),
    })
}
