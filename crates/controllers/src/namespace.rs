//! Empties a namespace that is being deleted, then lets it go.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use parking_lot::Mutex;
use skiff_informer::{Next, ObjectKey, describe, is_not_found};

use crate::discovery::{ResourceKind, discover};
use crate::environment::{Controller, Environment};
use crate::informers::Informers;

mod status;

use status::Findings;

const NAME: &str = "namespace-controller";
/// The namespace's own finalizer, in `spec.finalizers`.
const FINALIZER: &str = "kubernetes";
/// How soon a namespace with content left is looked at again; doubles up to the last as long as the same is left. A pod that goes
/// brings it up at once; objects of other kinds are not watched here.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(10);

/// A namespace that could not be emptied or let go.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} namespace {namespace}")]
struct Error {
    action: &'static str,
    namespace: ObjectKey,
    source: kube::Error,
}

struct Namespaces {
    client: Client,
    informers: Informers,
    looks: Mutex<HashMap<ObjectKey, Looks>>,
}

/// How often the same was found in a namespace.
#[derive(Debug, Default)]
struct Looks {
    left: BTreeMap<String, usize>,
    alike: u32,
}

impl Looks {
    /// How soon to look again when this is left.
    fn next(&mut self, left: &BTreeMap<String, usize>) -> Duration {
        if self.left == *left {
            self.alike += 1;
        } else {
            *self = Self { left: left.clone(), alike: 0 };
        }
        FIRST_LOOK.saturating_mul(1 << self.alike.min(10)).min(LAST_LOOK)
    }
}

/// Subscribes to namespaces and pods and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("namespace");
    let wake = queue.clone();
    informers.namespaces.subscribe(move |change| {
        if change.new.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            wake.add(change.key.clone());
        }
    });
    let (wake, namespaces) = (queue.clone(), informers.namespaces.clone());
    informers.pods.subscribe(move |change| {
        let key = ObjectKey::cluster(change.key.namespace());
        let deleting = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
        if change.new.is_none() && namespaces.get(&key).is_some_and(|namespace| deleting(&namespace)) {
            wake.add(key);
        }
    });
    let namespaces = Namespaces {
        client: environment.client(NAME),
        informers: informers.clone(),
        looks: Mutex::default(),
    };
    environment.reconciler(queue, &[&informers.namespaces], 10, namespaces, |namespaces, key| {
        namespaces.reconcile(key).boxed()
    })
}

fn is_pod(kind: &ResourceKind) -> bool {
    kind.api.group.is_empty() && kind.api.plural == "pods"
}

impl Namespaces {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let namespace = self.informers.namespaces.get(&key);
        let Some(namespace) = namespace.filter(|namespace| namespace.metadata.deletion_timestamp.is_some())
        else {
            self.looks.lock().remove(&key);
            return Ok(Next::Done);
        };
        let held = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
        if !held.into_iter().any(|name| name == FINALIZER) {
            return Ok(Next::Done);
        }
        let findings = self.empty(key.name()).await;
        let reported = status::status(namespace.status.as_ref(), &findings, Timestamp::now());
        let mut current = Namespace::clone(&namespace);
        if namespace.status.as_ref() != Some(&reported) {
            current.status = Some(reported);
            let api = Api::<Namespace>::all(self.client.clone());
            match api.replace_status(key.name(), &PostParams::default(), &current).await {
                Ok(updated) => current = updated,
                Err(error) if is_not_found(&error) => return Ok(Next::Done),
                Err(source) => return Err(Error { action: "report the state of", namespace: key, source }),
            }
        }
        if findings.is_empty() {
            self.finalize(key, current).await
        } else {
            Ok(Next::After(self.looks.lock().entry(key).or_default().next(&findings.remaining)))
        }
    }

    /// Deletes the content and tells what is left. What is known goes also when not all kinds are.
    async fn empty(&self, namespace: &str) -> Findings {
        let mut findings = Findings::default();
        let found = match discover(&self.client).await {
            Ok(found) => found,
            Err(error) => {
                findings.discovery_failure = Some(describe(&error));
                return findings;
            }
        };
        findings.discovery_failure = found.failure().map(|failure| {
            format!("Discovery failed for some groups, {} failing: {failure}", found.failed.len())
        });
        let content = found
            .kinds
            .iter()
            .filter(|kind| kind.namespaced && kind.supports("list") && kind.supports("delete"));
        // What pods rely on (network policies, secrets, accounts) goes when the last of them is gone (KEP-5080).
        let (pods, others): (Vec<_>, Vec<_>) = content.partition(|kind| is_pod(kind));
        for stage in [pods, others] {
            for kind in stage {
                if let Err(error) = self.empty_kind(namespace, kind, &mut findings).await {
                    findings.deletion_failures.push(format!("{}: {}", kind.name(), describe(&error)));
                }
            }
            if findings.something_stays() {
                break;
            }
        }
        findings
    }

    async fn empty_kind(
        &self,
        namespace: &str,
        kind: &ResourceKind,
        findings: &mut Findings,
    ) -> kube::Result<()> {
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &kind.api);
        let present = match api.list_metadata(&ListParams::default()).await {
            // The kind went while we were looking.
            Err(error) if is_not_found(&error) => return Ok(()),
            other => other?,
        };
        if present.items.is_empty() {
            return Ok(());
        }
        let params = DeleteParams::background();
        if kind.supports("deletecollection") {
            api.delete_collection(&params, &ListParams::default()).await?;
        } else {
            for object in &present.items {
                match api.delete(object.metadata.name.as_deref().unwrap_or(""), &params).await {
                    Err(error) if !is_not_found(&error) => return Err(error),
                    _ => {}
                }
            }
        }
        let left = api.list_metadata(&ListParams::default()).await?.items;
        if !left.is_empty() {
            let resource = format!("{}.{}", kind.api.plural, kind.api.group);
            findings.remaining.insert(resource, left.len());
        }
        for finalizer in left.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
            *findings.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Takes our finalizer off; the API server then removes the namespace.
    async fn finalize(&self, key: ObjectKey, mut namespace: Namespace) -> Result<Next, Error> {
        self.looks.lock().remove(&key);
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|name| name != FINALIZER);
        }
        let api = Api::<Namespace>::all(self.client.clone());
        let result: kube::Result<Namespace> =
            api.replace_subresource("finalize", key.name(), &PostParams::default(), &namespace).await;
        match result {
            Err(source) if !is_not_found(&source) => {
                Err(Error { action: "finalize", namespace: key, source })
            }
            _ => Ok(Next::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_looked_at_soon_after_something_has_gone() {
        let mut looks = Looks::default();
        let mut next = |left: &[(&str, usize)]| {
            let left = left.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
            looks.next(&left).as_millis()
        };
        assert_eq!([next(&[("pods.", 2)]), next(&[("pods.", 2)]), next(&[("pods.", 2)])], [100, 200, 400]);
        assert_eq!([next(&[("pods.", 1)]), next(&[("pods.", 1)])], [100, 200]);
        assert_eq!(next(&[("persistentvolumeclaims.", 1)]), 100);
        let last = (0..20).map(|_| next(&[("persistentvolumeclaims.", 1)])).last();
        assert_eq!(last, Some(10_000));
    }
}
