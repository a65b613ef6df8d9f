//! Which pods each Service selects, kept as pods change, so that only the first look at a Service goes through all pods of its
//! namespace.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use parking_lot::Mutex;
use skiff_informer::{Cache, Change, Index, ObjectKey};

use crate::meta::{self, Labels, Strings};
use crate::pods::KnownPod;

/// Services with a selector by one of the labels that it asks for.
#[derive(Clone)]
pub(crate) struct Selectors(Index<(ObjectKey, String), Service>);

impl Selectors {
    /// Create it before other subscribers.
    pub(crate) fn new(services: &Cache<Service>) -> Self {
        Self(Index::new(services, label_asked_for))
    }

    /// The Services of `namespace` whose selector selects `labels`.
    pub(crate) fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<Arc<Service>> {
        let by_label =
            |(key, value): (&str, &str)| self.0.get(&(ObjectKey::new(namespace, key), value.to_owned()));
        let mut services: Vec<_> = labels.iter().flat_map(by_label).collect();
        services.retain(|service| selector_of(service).is_some_and(|asked| meta::selects(asked, labels)));
        services
    }
}

fn selector_of(service: &Service) -> Option<&Strings> {
    service.spec.as_ref()?.selector.as_ref()
}

/// The first label that a Service asks of its pods, its key with the Service's namespace.
fn label_asked_for(key: &ObjectKey, service: &Service) -> Option<(ObjectKey, String)> {
    let (label, value) = selector_of(service)?.first_key_value()?;
    Some((ObjectKey::new(key.namespace(), label), value.clone()))
}

/// What a Service with this selector selects.
struct Selected {
    selector: Strings,
    pods: BTreeMap<ObjectKey, Arc<KnownPod>>,
}

/// The pods of Services that were asked for.
#[derive(Clone)]
pub(crate) struct Members {
    services: Cache<Service>,
    pods: Cache<KnownPod>,
    known: Arc<Mutex<HashMap<ObjectKey, Selected>>>,
}

impl Members {
    /// Create it before other subscribers, and behind the selectors.
    pub(crate) fn new(services: &Cache<Service>, pods: &Cache<KnownPod>, selectors: &Selectors) -> Self {
        let members = Self { services: services.clone(), pods: pods.clone(), known: Arc::default() };
        let known = members.known.clone();
        services.subscribe(move |change| {
            if change.old.and_then(|old| selector_of(old)) != change.new.and_then(|new| selector_of(new)) {
                known.lock().remove(change.key);
            }
        });
        let (known, selectors) = (members.known.clone(), selectors.clone());
        pods.subscribe(move |change| follow(&mut known.lock(), &selectors, change));
        members
    }

    /// The pods that a Service selects, ordered by name.
    pub(crate) fn of(&self, service: &ObjectKey, selector: &Strings) -> Vec<Arc<KnownPod>> {
        let mut known = self.known.lock();
        if let Some(selected) = known.get(service).filter(|selected| selected.selector == *selector) {
            return selected.pods.values().cloned().collect();
        }
        let mut pods = self.pods.in_namespace(service.namespace());
        pods.retain(|pod| meta::selects(selector, pod.labels()));
        // Of a Service that is gone, or has changed meanwhile, nothing is kept that nobody would take away.
        if self.services.get(service).is_some_and(|current| selector_of(&current) == Some(selector)) {
            let selected = pods.iter().map(|pod| (pod.key().clone(), pod.clone())).collect();
            known.insert(service.clone(), Selected { selector: selector.clone(), pods: selected });
        }
        pods
    }
}

/// Takes a changed pod from those Services that selected it, and gives it to those that do now.
fn follow(known: &mut HashMap<ObjectKey, Selected>, selectors: &Selectors, change: &Change<'_, KnownPod>) {
    let of = |pod: &Arc<KnownPod>| selectors.selecting(change.key.namespace(), pod.labels());
    for service in change.old.into_iter().flat_map(of) {
        if let Some(selected) = known.get_mut(&ObjectKey::of(&service.metadata)) {
            selected.pods.remove(change.key);
        }
    }
    for (service, pod) in change.new.into_iter().flat_map(|pod| of(pod).into_iter().map(move |s| (s, pod))) {
        if let Some(selected) = known.get_mut(&ObjectKey::of(&service.metadata)) {
            selected.pods.insert(change.key.clone(), pod.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::Resource;
    use kube::runtime::watcher::Event;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use skiff_informer::Tolerant;

    use super::*;

    struct World {
        services: Cache<Service>,
        pods: Cache<KnownPod>,
        members: Members,
    }

    fn world() -> World {
        let (services, pods) = (Cache::new(), Cache::new());
        let members = Members::new(&services, &pods, &Selectors::new(&services));
        World { services, pods, members }
    }

    fn read<K: Resource + DeserializeOwned>(object: Value) -> Tolerant<K> {
        Tolerant::Readable(serde_json::from_value(object).unwrap())
    }

    impl World {
        async fn pod(&self, event: fn(Tolerant<Pod>) -> Event<Tolerant<Pod>>, name: &str, app: &str) {
            let pod = json!({"metadata": {"namespace": "n", "name": name, "uid": name, "labels": {"app": app, "x": "y"}}});
            let events = futures::stream::iter([Ok(event(read(pod)))]);
            self.pods.follow(events, |pod: Pod| Some(KnownPod::of(&pod))).await;
        }

        async fn service(&self, app: &str) {
            let service =
                json!({"metadata": {"namespace": "n", "name": "s"}, "spec": {"selector": {"app": app}}});
            self.services.follow(futures::stream::iter([Ok(Event::Apply(read(service)))]), Some).await;
        }

        fn check(&self, app: &str, expected: &[&str]) {
            let selector = Strings::from([("app".to_owned(), app.to_owned())]);
            let found = self.members.of(&ObjectKey::new("n", "s"), &selector);
            let names: Vec<_> = found.iter().map(|pod| pod.key().name().to_owned()).collect();
            assert_eq!(names, expected);
        }
    }

    #[tokio::test]
    async fn members_follow_pods_and_selectors() {
        let world = world();
        world.pod(Event::Apply, "a", "web").await;
        world.pod(Event::Apply, "b", "db").await;
        world.service("web").await;
        world.check("web", &["a"]);
        world.pod(Event::Apply, "c", "web").await;
        world.pod(Event::Apply, "b", "web").await;
        world.check("web", &["a", "b", "c"]);
        world.pod(Event::Apply, "a", "db").await;
        world.pod(Event::Delete, "c", "web").await;
        world.check("web", &["b"]);
        world.service("db").await;
        world.check("db", &["a"]);
        // Who still has the old Service is told what that selects.
        world.check("web", &["b"]);
        world.check("db", &["a"]);
        assert_eq!(world.members.known.lock().len(), 1);
    }
}
