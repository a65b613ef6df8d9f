//! Keeps the `status` of ResourceQuotas true: takes over what the `spec` asks for, counts what is there, and counts again when
//! something that counts is gone. What is made is charged by the API server itself, in the transaction that makes it.
//!
//! Sources: the API reference of ResourceQuota, and Kubernetes' page on resource quotas. What counts as what is in `skiff_limits`.

use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use skiff_informer::{Change, Next, ObjectKey, Queue, is_not_found};
use skiff_limits::quota::{Counted, used};
use skiff_limits::{Amounts, Needed};

use crate::discovery::{ResourceKind, discover};
use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::pods::KnownPod;

const NAME: &str = "resourcequota-controller";
/// Quotas looked at at once.
const WORKERS: usize = 5;
/// How often each is counted again, since pods that do not go in time stop counting by themselves.
const AGAIN: Duration = Duration::from_secs(5 * 60);

/// A quota that could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} for the quota {quota}")]
struct Error {
    action: &'static str,
    quota: ObjectKey,
    source: kube::Error,
}

/// Subscribes to quotas and to all that frees something, and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("resourcequota");
    let wake = queue.clone();
    informers.quotas.subscribe(move |change| {
        if asks(change) {
            wake.add(change.key.clone());
        }
    });
    let waker = Waker { informers: informers.clone(), queue: queue.clone() };
    subscribe(environment, waker);
    let client = environment.client(NAME);
    environment.reconciler(queue, &[&informers.quotas], WORKERS, client, |client, key| {
        reconcile(client, key).boxed()
    })
}

fn subscribe(environment: &Environment<'_>, waker: Waker) {
    let wake = waker.clone();
    environment.informers.pods.subscribe(move |change| {
        if ends(change) {
            wake.wake(change.key.namespace(), Counted::Pods);
        }
    });
    let wake = waker.clone();
    environment.informers.services.subscribe(move |change| {
        if uses_otherwise(change) {
            wake.wake(change.key.namespace(), Counted::Services);
        }
    });
    let wake = waker.clone();
    environment.informers.definitions.subscribe(move |change| wake.of_new_kind(change));
    environment.removals.subscribe(move |removed| {
        if let Some(counted) = Counted::of(removed.group, removed.resource) {
            waker.wake(removed.namespace, counted);
        }
    });
}

/// Whether a quota asks for something that its status does not say. Of changes of the status nothing follows: they are this
/// controller's, and the API server's, which charges.
fn asks(change: &Change<'_, ResourceQuota>) -> bool {
    let Some(quota) = change.new else { return false };
    let hard = |quota: &ResourceQuota| quota.spec.as_ref().and_then(|spec| spec.hard.clone());
    let said = quota.status.as_ref().and_then(|status| status.hard.clone());
    change.old.is_none_or(|old| hard(old) != hard(quota)) || hard(quota) != said
}

/// Whether a pod has just stopped counting without being gone.
fn ends(change: &Change<'_, KnownPod>) -> bool {
    matches!((change.old, change.new), (Some(old), Some(new)) if !old.is_terminal() && new.is_terminal())
}

/// Whether a Service may use less than it did.
fn uses_otherwise(change: &Change<'_, Service>) -> bool {
    let use_of = |service: &Service| {
        let spec = service.spec.as_ref();
        (spec.and_then(|spec| spec.type_.clone()), spec.and_then(|spec| spec.ports.as_ref().map(Vec::len)))
    };
    matches!((change.old, change.new), (Some(old), Some(new)) if use_of(old) != use_of(new))
}

/// Finds the quotas that something concerns.
#[derive(Clone)]
struct Waker {
    informers: Informers,
    queue: Queue<ObjectKey>,
}

impl Waker {
    fn wake(&self, namespace: &str, counted: Counted<'_>) {
        for quota in self.informers.quotas.in_namespace(namespace) {
            if counts(&quota, counted) {
                self.queue.add(ObjectKey::of(&quota.metadata));
            }
        }
    }

    /// Objects of a kind that was not there before can be counted now.
    fn of_new_kind(&self, change: &Change<'_, CustomResourceDefinition>) {
        let Some(definition) = change.new else { return };
        let (group, resource) = (&definition.spec.group, &definition.spec.names.plural);
        for quota in self.informers.quotas.all() {
            if counts(&quota, Counted::Objects { group, resource }) {
                self.queue.add(ObjectKey::of(&quota.metadata));
            }
        }
    }
}

fn counts(quota: &ResourceQuota, counted: Counted<'_>) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    hard.into_iter().flatten().any(|(name, _)| counted.counts(name))
}

async fn reconcile(client: &Client, key: ObjectKey) -> Result<Next, Error> {
    let failed = |action: &'static str| {
        let quota = key.clone();
        move |source: kube::Error| Error { action, quota, source }
    };
    let api = Api::<ResourceQuota>::namespaced(client.clone(), key.namespace());
    // Not from the cache, which may not have heard yet of what was charged for an object that is gone already: nobody would count
    // again.
    let itself = ListParams::default().fields(&format!("metadata.name={}", key.name()));
    let mut found = api.list(&itself).await.map_err(failed("read the status"))?;
    let Some(quota) = found.items.pop() else { return Ok(Next::Done) };
    let tree = json!(quota);
    let counted = count(client, &key, &tree).await.map_err(failed("count the objects"))?;
    if let Some(status) = status(&tree, &counted) {
        let mut changed = tree;
        changed["status"] = status;
        let body = serde_json::from_value(changed).map_err(kube::Error::SerdeError);
        let body = body.map_err(failed("write the status"))?;
        // The version is that which was read before anything was counted: whatever was charged since makes it come again.
        match api.replace_status(key.name(), &PostParams::default(), &body).await {
            Err(error) if is_not_found(&error) => return Ok(Next::Done),
            written => written.map_err(failed("write the status"))?,
        };
    }
    Ok(Next::After(AGAIN))
}

/// What the objects of the namespace use of what a quota names.
async fn count(client: &Client, key: &ObjectKey, quota: &Value) -> kube::Result<Amounts> {
    let mut total = Amounts::default();
    let hard = Amounts::read(&quota["spec"]["hard"]);
    let countable = |kind: &ResourceKind| {
        kind.namespaced && ["create", "delete", "list"].iter().all(|verb| kind.supports(verb))
    };
    for kind in discover(client).await?.kinds.into_iter().filter(countable) {
        let Some(counted) = Counted::of(&kind.api.group, &kind.api.plural) else { continue };
        if !hard.names().any(|name| counted.counts(name)) {
            continue;
        }
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), key.namespace(), &kind.api);
        let objects: Vec<Value> =
            api.list(&ListParams::default()).await?.items.iter().map(|object| json!(object)).collect();
        total.add(&used(quota, counted, &objects, Timestamp::now()));
    }
    Ok(total)
}

/// The status to write; `None` when it is right already. Of what cannot be counted, what was known stays.
fn status(quota: &Value, counted: &Amounts) -> Option<Value> {
    let hard = Amounts::read(&quota["spec"]["hard"]);
    let said = &quota["status"];
    let before = Amounts::read(&said["used"]);
    let mut used = Amounts::default();
    for name in hard.names() {
        if let Some(amount) = counted.get(name).or_else(|| before.get(name)) {
            used.set(name, amount);
        }
    }
    let is_right = said["hard"].is_object()
        && said["used"].is_object()
        && Amounts::read(&said["hard"]).equals(&hard)
        && before.equals(&used);
    (!is_right).then(|| json!({"hard": hard.to_value(), "used": used.to_value()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_when_it_says_something_else() {
        let check = |said: Value, counted: Value, expected: Option<Value>| {
            let quota = json!({"spec": {"hard": {"pods": "5", "cpu": "2"}}, "status": said});
            assert_eq!(status(&quota, &Amounts::read(&counted)), expected, "{quota}");
        };
        let hard = || json!({"pods": "5", "cpu": "2"});
        let counted = || json!({"pods": "1", "cpu": "500m"});
        check(json!({}), counted(), Some(json!({"hard": hard(), "used": counted()})));
        check(json!({"hard": hard(), "used": {"pods": "1", "cpu": "0.5"}}), counted(), None);
        check(
            json!({"hard": hard(), "used": {"pods": "2", "cpu": "500m", "memory": "1"}}),
            counted(),
            Some(json!({"hard": hard(), "used": counted()})),
        );
        // What nobody can count now stays as it was.
        check(
            json!({"hard": {"pods": "4"}, "used": {"pods": "2", "cpu": "1"}}),
            json!({"pods": "3"}),
            Some(json!({"hard": hard(), "used": {"pods": "3", "cpu": "1"}})),
        );
    }
}
