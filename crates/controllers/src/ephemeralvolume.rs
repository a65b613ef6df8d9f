//! Makes the claims of volumes that live as long as their pod. They go with the pod, which owns them.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Client, ResourceExt};
use skiff_informer::{
    EventType, Next, ObjectKey, Recorder, describe, is_already_exists, is_namespace_terminating,
};
use skiff_volumes::{claim_of, is_of_pod};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::meta::controller_reference;

const NAME: &str = "ephemeral-volume-controller";
const COMPONENT: &str = "ephemeral_volume";
/// Pods looked at at once.
const WORKERS: usize = 5;

/// A claim that could not be made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot look up pod {pod}")]
    Pod { pod: ObjectKey, source: kube::Error },
    #[error("pod {pod}: {why}")]
    Claim { pod: ObjectKey, why: String },
}

struct EphemeralVolumes {
    client: Client,
    informers: Informers,
    recorder: Recorder,
}

/// Subscribes to pods and claims and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("ephemeral_volume");
    let wake = queue.clone();
    // What a pod has of volumes never changes.
    informers.pods.subscribe(move |change| {
        if let (None, Some(pod)) = (change.old, change.new)
            && pod.ephemeral_claims().next().is_some()
        {
            wake.add(change.key.clone());
        }
    });
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.claims.subscribe(move |change| {
        if change.new.is_none() {
            let pods = caches.pods_by_claim.get(change.key);
            pods.iter().for_each(|pod| wake.add(pod.key().clone()));
        }
    });
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), COMPONENT, "");
    let volumes = EphemeralVolumes { client, informers: informers.clone(), recorder };
    environment.reconciler(queue, &[&informers.pods, &informers.claims], WORKERS, volumes, |volumes, key| {
        volumes.reconcile(key).boxed()
    })
}

impl EphemeralVolumes {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(known) = self.informers.pods.get(&key).filter(|pod| !pod.is_deleting()) else {
            return Ok(Next::Done);
        };
        if known.ephemeral_claims().next().is_none() {
            return Ok(Next::Done);
        }
        let pod = api::<Pod>(&self.client, &key).get_opt(key.name()).await;
        let pod = pod.map_err(|source| Error::Pod { pod: key.clone(), source })?;
        let is_same = |pod: &Pod| pod.metadata.uid.as_deref() == Some(known.uid());
        let Some(pod) = pod.filter(|pod| is_same(pod) && pod.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Done);
        };
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            if let Err(why) = self.make(&key, &pod, volume).await {
                let why = format!("ephemeral volume {}: {why}", volume.name);
                let object = known.reference();
                self.recorder.event(object, EventType::Warning, "FailedBinding", why.clone());
                return Err(Error::Claim { pod: key, why });
            }
        }
        Ok(Next::Done)
    }

    /// Makes the claim of a volume if it has one and that is not there; fails, in Kubernetes' words, if it is somebody else's.
    async fn make(&self, key: &ObjectKey, pod: &Pod, volume: &Volume) -> Result<(), String> {
        let Some(claim) = claim(pod, volume) else { return Ok(()) };
        let name = claim.name_any();
        if let Some(found) = self.informers.claims.get(&ObjectKey::new(key.namespace(), &name)) {
            return theirs(&found, pod);
        }
        let claims = api::<PersistentVolumeClaim>(&self.client, key);
        match claims.create(&PostParams::default(), &claim).await {
            Err(error) if is_namespace_terminating(&error) => Ok(()),
            // Perhaps by us, and the cache has not seen it yet: the claim itself tells.
            Err(error) if is_already_exists(&error) => match claims.get_opt(&name).await {
                Ok(Some(found)) => theirs(&found, pod),
                _ => Err(format!("create PVC {name}: {}", describe(&error))),
            },
            Err(error) => Err(format!("create PVC {name}: {}", describe(&error))),
            Ok(_) => Ok(()),
        }
    }
}

fn theirs(claim: &PersistentVolumeClaim, pod: &Pod) -> Result<(), String> {
    if is_of_pod(claim, pod) {
        return Ok(());
    }
    let (namespace, claim) = (pod.namespace().unwrap_or_default(), claim.name_any());
    let pod = pod.name_any();
    Err(format!("PVC {namespace}/{claim} was not created for pod {namespace}/{pod} (pod is not owner)"))
}

/// The claim of a volume that lives as long as the pod; `None` for other volumes.
fn claim(pod: &Pod, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
    let name = pod.name_any();
    let (claim, _) = claim_of(&name, volume)?;
    let asked = template.metadata.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(claim.into_owned()),
        owner_references: Some(vec![controller_reference(pod)]),
        annotations: asked.annotations,
        labels: asked.labels,
        ..ObjectMeta::default()
    };
    Some(PersistentVolumeClaim { metadata, spec: Some(template.spec.clone()), status: None })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(volume: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "p", "uid": "1"},
            "spec": {"containers": [], "volumes": [volume]},
        }))
        .unwrap()
    }

    #[test]
    fn a_claim_is_made_of_its_template() {
        let made = |volume: Value| {
            let pod = pod(volume);
            let volume = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()?.first()).unwrap();
            serde_json::to_value(claim(&pod, volume)).unwrap()
        };
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let template = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": spec});
        assert_eq!(
            made(json!({"name": "v", "ephemeral": {"volumeClaimTemplate": template}})),
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": "p-v", "labels": {"a": "b"}, "annotations": {"c": "d"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1",
                                         "controller": true, "blockOwnerDeletion": true}],
                },
                "spec": spec,
            })
        );
        assert_eq!(made(json!({"name": "v", "emptyDir": {}})), Value::Null);
    }

    #[test]
    fn what_somebody_else_claims_is_not_taken() {
        let check = |owner: Value, expected: Result<(), &str>| {
            let claim = json!({"metadata": {"namespace": "n", "name": "p-v", "ownerReferences": [owner]}});
            let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
            assert_eq!(theirs(&claim, &pod(json!({"name": "v"}))), expected.map_err(str::to_owned));
        };
        let owner = |uid: &str, controller: bool| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": controller});
        let why = "PVC n/p-v was not created for pod n/p (pod is not owner)";
        check(owner("1", true), Ok(()));
        check(owner("1", false), Err(why));
        check(owner("2", true), Err(why));
    }
}
