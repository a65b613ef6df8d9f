//! Classes of attributes that a volume or claim names are not removed before they are left.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Client;
use skiff_informer::{Next, ObjectKey};

use super::{Error, Need, need, settle};
use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "volumeattributesclass-protection-controller";
const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Subscribes to classes, volumes and claims and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("vacprotection");
    let wake = queue.clone();
    informers.attribute_classes.subscribe(move |change| wake.add(change.key.clone()));
    let (wake, classes) = (queue.clone(), informers.attribute_classes.clone());
    let left = move |names: Vec<String>| {
        let keys = names.iter().map(|name| ObjectKey::cluster(name));
        keys.filter(|key| classes.get(key).is_some()).for_each(|key| wake.add(key));
    };
    let leave = left.clone();
    informers
        .volumes
        .subscribe(move |change| leave(change.both().flat_map(|volume| of_volume(volume)).collect()));
    informers.claims.subscribe(move |change| left(change.both().flat_map(|claim| of_claim(claim)).collect()));
    environment.reconciler(
        queue,
        &[&informers.attribute_classes, &informers.volumes, &informers.claims],
        1,
        (environment.client(NAME), informers.clone()),
        |(client, informers), key| reconcile(client, informers, key).boxed(),
    )
}

async fn reconcile(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(class) = informers.attribute_classes.get(&key) else { return Ok(Next::Done) };
    let need = need(&class.metadata, FINALIZER);
    if need == Need::Nothing || (need == Need::Release && is_used(informers, key.name())) {
        return Ok(Next::Done);
    }
    settle(client, &*class, FINALIZER, need).await
}

fn is_used(informers: &Informers, name: &str) -> bool {
    let is_it = |class: String| class == name;
    informers.volumes.all().iter().any(|volume| of_volume(volume).any(is_it))
        || informers.claims.all().iter().any(|claim| of_claim(claim).any(is_it))
}

/// The class that a volume has.
fn of_volume(volume: &PersistentVolume) -> impl Iterator<Item = String> + use<> {
    volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone()).into_iter()
}

/// The classes that a claim asks for, has, and is being given.
fn of_claim(claim: &PersistentVolumeClaim) -> impl Iterator<Item = String> + use<> {
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.clone());
    let target = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = target.and_then(|change| change.target_volume_attributes_class_name.clone());
    [asked, current, target].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_name_classes_in_three_places() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "spec": {"volumeAttributesClassName": "new"},
            "status": {
                "currentVolumeAttributesClassName": "old",
                "modifyVolumeStatus": {"targetVolumeAttributesClassName": "next", "status": "Pending"},
            },
        }))
        .unwrap();
        assert_eq!(of_claim(&claim).collect::<Vec<_>>(), ["new", "old", "next"]);
        assert_eq!(of_claim(&PersistentVolumeClaim::default()).count(), 0);
    }
}
