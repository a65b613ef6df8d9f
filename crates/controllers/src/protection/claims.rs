//! Claims that a pod uses are not removed before the pod is.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use skiff_informer::{Next, ObjectKey};

use super::{Error, Need, need, settle};
use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "pvc-protection-controller";
const FINALIZER: &str = "kubernetes.io/pvc-protection";

/// Subscribes to claims and pods and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("pvcprotection");
    let wake = queue.clone();
    informers.claims.subscribe(move |change| wake.add(change.key.clone()));
    // Only a pod that is gone, or has ended, can be the last that used a claim.
    let (wake, claims) = (queue.clone(), informers.claims.clone());
    informers.pods.subscribe(move |change| {
        if change.new.as_ref().is_none_or(|pod| pod.is_terminal()) {
            let waiting = claims.in_namespace(change.key.namespace());
            let waiting = waiting.iter().filter(|claim| need(&claim.metadata, FINALIZER) == Need::Release);
            waiting.for_each(|claim| wake.add(ObjectKey::of(&claim.metadata)));
        }
    });
    environment.reconciler(
        queue,
        &[&informers.claims, &informers.pods],
        2,
        (environment.client(NAME), informers.clone()),
        |(client, informers), key| reconcile(client, informers, key).boxed(),
    )
}

async fn reconcile(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(claim) = informers.claims.get(&key) else { return Ok(Next::Done) };
    let need = need(&claim.metadata, FINALIZER);
    if need == Need::Nothing {
        return Ok(Next::Done);
    }
    if need == Need::Release {
        // What the caches have not seen yet counts, too. A claim goes once, so that this is not asked often.
        let pods = Api::<Pod>::namespaced(client.clone(), key.namespace());
        let pods = pods.list(&ListParams::default()).await;
        let failed = |source| Error { action: "look for the pods of", key: key.clone(), source };
        if pods.map_err(failed)?.items.iter().any(|pod| uses(pod, &claim)) {
            return Ok(Next::Done);
        }
    }
    settle(client, &*claim, FINALIZER, need).await
}

/// Whether a pod that is on a node, or was, has the claim among its volumes. One that is on no node yet does not start with a
/// claim that goes.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let Some(spec) =
        pod.spec.as_ref().filter(|spec| spec.node_name.as_deref().is_some_and(|node| !node.is_empty()))
    else {
        return false;
    };
    let name = claim.name_any();
    spec.volumes.iter().flatten().any(|volume| {
        let claimed = volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.as_str());
        let is_own = volume.ephemeral.is_some()
            && !is_shut_down(pod)
            && name == format!("{}-{}", pod.name_any(), volume.name)
            && claim.owner_references().iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref());
        claimed == Some(name.as_str()) || is_own
    })
}

/// Whether nothing of a pod that goes runs any more.
fn is_shut_down(pod: &Pod) -> bool {
    let is_going = pod.metadata.deletion_timestamp.is_some();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_told = pod.metadata.deletion_grace_period_seconds == Some(0);
    is_going && is_told && matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn pods_on_nodes_use_their_claims() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "data", "ownerReferences": []},
        }))
        .unwrap();
        let check = |node: &str, source: Value, expected: bool| {
            let mut volume = json!({"name": "v"});
            volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "p", "uid": "1"},
                "spec": {"containers": [], "nodeName": node, "volumes": [volume]},
            }))
            .unwrap();
            assert_eq!(uses(&pod, &claim), expected, "{source}");
        };
        check("n", json!({"persistentVolumeClaim": {"claimName": "data"}}), true);
        check("n", json!({"persistentVolumeClaim": {"claimName": "other"}}), false);
        check("", json!({"persistentVolumeClaim": {"claimName": "data"}}), false);
        check("n", json!({"emptyDir": {}}), false);
    }

    #[test]
    fn the_claim_of_an_ephemeral_volume_is_the_pods_own() {
        let claim = |owner: &str| -> PersistentVolumeClaim {
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owner});
            serde_json::from_value(json!({"metadata": {"name": "p-v", "ownerReferences": [owner]}})).unwrap()
        };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "1"},
            "spec": {"containers": [], "nodeName": "n", "volumes": [{"name": "v", "ephemeral": {}}]},
        }))
        .unwrap();
        assert!(uses(&pod, &claim("1")));
        assert!(!uses(&pod, &claim("2")));
    }
}
