//! Tells of claims that ask for more than they have that somebody else makes their volumes grow: whoever made them.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Resource as _;
use skiff_informer::{EventType, Next, ObjectKey, Recorder};

use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "expand-controller";
const COMPONENT: &str = "volume_expand";

/// Subscribes to claims and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("volume_expand");
    let wake = queue.clone();
    informers.claims.subscribe(move |change| {
        let asks = |claim: &PersistentVolumeClaim| wants_more(claim).then(|| wanted(claim));
        let before = change.old.and_then(|claim| asks(claim));
        if change
            .new
            .and_then(|claim| asks(claim))
            .is_some_and(|now| before.is_none_or(|before| now > before))
        {
            wake.add(change.key.clone());
        }
    });
    let recorder = Recorder::start(environment.client(NAME), COMPONENT, "");
    let state = (recorder, informers.clone());
    environment.reconciler(
        queue,
        &[&informers.claims, &informers.volumes],
        1,
        state,
        |(recorder, caches), key| {
            tell(recorder, caches, &key);
            async { Ok::<_, std::convert::Infallible>(Next::Done) }.boxed()
        },
    )
}

fn tell(recorder: &Recorder, caches: &Informers, key: &ObjectKey) {
    let Some(claim) = caches.claims.get(key).filter(|claim| wants_more(claim)) else { return };
    let message = "waiting for an external controller to expand this PVC".to_owned();
    recorder.event(claim.object_ref(&()), EventType::Normal, "ExternalExpanding", message);
}

/// Whether a bound claim asks for more than it has.
fn wants_more(claim: &PersistentVolumeClaim) -> bool {
    let Some(status) = claim.status.as_ref().filter(|status| status.phase.as_deref() == Some("Bound")) else {
        return false;
    };
    let has = status.capacity.as_ref().and_then(|amounts| amounts.get("storage"));
    wanted(claim) > amount(has)
}

fn wanted(claim: &PersistentVolumeClaim) -> i128 {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    amount(resources.and_then(|resources| resources.requests.as_ref()?.get("storage")))
}

fn amount(quantity: Option<&Quantity>) -> i128 {
    let read = quantity.and_then(|quantity| quantity.0.parse::<skiff_quantity::Quantity>().ok());
    read.map_or(0, skiff_quantity::Quantity::nanos)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bound_claims_may_want_more() {
        let check = |phase: &str, wanted: &str, has: &str, expected: bool| {
            let claim = json!({
                "metadata": {}, "spec": {"resources": {"requests": {"storage": wanted}}},
                "status": {"phase": phase, "capacity": {"storage": has}},
            });
            assert_eq!(wants_more(&serde_json::from_value(claim).unwrap()), expected);
        };
        check("Bound", "2Gi", "1Gi", true);
        check("Bound", "1Gi", "1024Mi", false);
        check("Pending", "2Gi", "1Gi", false);
    }
}
