//! Volumes that are bound to a claim are not removed before they are left.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Client;
use skiff_informer::{Next, ObjectKey};

use super::{Error, Need, need, settle};
use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "pv-protection-controller";
const FINALIZER: &str = "kubernetes.io/pv-protection";

/// Subscribes to volumes and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("pvprotection");
    let wake = queue.clone();
    informers.volumes.subscribe(move |change| wake.add(change.key.clone()));
    environment.reconciler(
        queue,
        &[&informers.volumes],
        1,
        (environment.client(NAME), informers.clone()),
        |(client, informers), key| reconcile(client, informers, key).boxed(),
    )
}

async fn reconcile(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(volume) = informers.volumes.get(&key) else { return Ok(Next::Done) };
    let need = need(&volume.metadata, FINALIZER);
    if need == Need::Nothing || (need == Need::Release && is_bound(&volume)) {
        return Ok(Next::Done);
    }
    settle(client, &*volume, FINALIZER, need).await
}

fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"))
}
