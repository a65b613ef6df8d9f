//! Which pods each Service and each PodDisruptionBudget selects, kept as pods change, so that only the first look at one goes through
//! all pods of its namespace.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use parking_lot::Mutex;
use skiff_informer::{Cache, Change, Index, ObjectKey};
use skiff_machinery::selector::{LabelOperator, LabelSelector};

use super::KnownPod;
use crate::meta::{self, Labels, Strings};

/// Something that selects pods of its namespace by their labels.
pub(crate) trait Selecting: Resource + Send + Sync + 'static {
    /// By what.
    type Selector: Clone + PartialEq + Send + Sync;

    /// Its selector; without one it selects nothing.
    fn selector(&self) -> Option<Cow<'_, Self::Selector>>;

    /// Whether that selects a pod with these labels.
    fn selects(selector: &Self::Selector, labels: &Labels) -> bool;

    /// One label, key and value, that all pods have which it selects, if there is such a label.
    fn label(selector: &Self::Selector) -> Option<(&str, &str)>;
}

impl Selecting for Service {
    type Selector = Strings;

    fn selector(&self) -> Option<Cow<'_, Strings>> {
        self.spec.as_ref()?.selector.as_ref().map(Cow::Borrowed)
    }

    fn selects(selector: &Strings, labels: &Labels) -> bool {
        meta::selects(selector, labels)
    }

    fn label(selector: &Strings) -> Option<(&str, &str)> {
        selector.first_key_value().map(|(key, value)| (&**key, &**value))
    }
}

impl Selecting for PodDisruptionBudget {
    type Selector = LabelSelector;

    /// One that is empty selects every pod of the namespace.
    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        let selector = self.spec.as_ref()?.selector.as_ref()?;
        LabelSelector::try_from(selector).ok().map(Cow::Owned)
    }

    fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
        selector.matches_by(|key| labels.get(key))
    }

    fn label(selector: &LabelSelector) -> Option<(&str, &str)> {
        selector.requirements().iter().find_map(|requirement| match &requirement.operator {
            LabelOperator::In(values) => match &values[..] {
                [only] => Some((&*requirement.key, &**only)),
                _ => None,
            },
            _ => None,
        })
    }
}

/// What selects pods, by the namespace and one of the labels that it asks for; empty if there is no such label.
pub(crate) struct Selectors<T>(Index<(ObjectKey, String), T>);

impl<T> Clone for Selectors<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Selecting> Selectors<T> {
    /// Create it before other subscribers.
    pub(crate) fn new(objects: &Cache<T>) -> Self {
        Self(Index::new(objects, |key, object: &T| {
            let selector = object.selector()?;
            let (label, value) = T::label(&selector).unwrap_or_default();
            Some((ObjectKey::new(key.namespace(), label), value.to_owned()))
        }))
    }

    /// What selects pods of `namespace` with these labels.
    pub(crate) fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<Arc<T>> {
        let by_label =
            |(key, value): (&str, &str)| self.0.get(&(ObjectKey::new(namespace, key), value.to_owned()));
        let mut found: Vec<_> = labels.iter().chain([("", "")]).flat_map(by_label).collect();
        found.retain(|object| object.selector().is_some_and(|selector| T::selects(&selector, labels)));
        found
    }
}

/// What something selects.
struct Selected<S> {
    selector: S,
    pods: BTreeMap<ObjectKey, Arc<KnownPod>>,
}

/// What is kept for those that were asked for.
type Known<S> = HashMap<ObjectKey, Selected<S>>;

/// The pods of Services, or of budgets, that were asked for.
pub(crate) struct Members<T: Selecting> {
    objects: Cache<T>,
    pods: Cache<KnownPod>,
    known: Arc<Mutex<Known<T::Selector>>>,
}

impl<T: Selecting> Clone for Members<T> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), pods: self.pods.clone(), known: self.known.clone() }
    }
}

impl<T: Selecting> Members<T> {
    /// Create it before other subscribers, and behind the selectors.
    pub(crate) fn new(objects: &Cache<T>, pods: &Cache<KnownPod>, selectors: &Selectors<T>) -> Self {
        let members = Self { objects: objects.clone(), pods: pods.clone(), known: Arc::default() };
        let known = members.known.clone();
        objects.subscribe(move |change| {
            if change.old.and_then(|old| old.selector()) != change.new.and_then(|new| new.selector()) {
                known.lock().remove(change.key);
            }
        });
        let (known, selectors) = (members.known.clone(), selectors.clone());
        pods.subscribe(move |change| follow(&mut known.lock(), &selectors, change));
        members
    }

    /// The pods that an object selects, ordered by name.
    pub(crate) fn of(&self, object: &ObjectKey, selector: &T::Selector) -> Vec<Arc<KnownPod>> {
        let mut known = self.known.lock();
        if let Some(selected) = known.get(object).filter(|selected| selected.selector == *selector) {
            return selected.pods.values().cloned().collect();
        }
        let mut pods = self.pods.in_namespace(object.namespace());
        pods.retain(|pod| T::selects(selector, pod.labels()));
        // Of one that is gone, or has changed meanwhile, nothing is kept that nobody would take away.
        let current = self.objects.get(object);
        if current.is_some_and(|current| current.selector().as_deref() == Some(selector)) {
            let selected = pods.iter().map(|pod| (pod.key().clone(), pod.clone())).collect();
            known.insert(object.clone(), Selected { selector: selector.clone(), pods: selected });
        }
        pods
    }
}

/// Takes a changed pod from those that selected it, and gives it to those that do now.
fn follow<T: Selecting>(
    known: &mut Known<T::Selector>,
    selectors: &Selectors<T>,
    change: &Change<'_, KnownPod>,
) {
    let of = |pod: &Arc<KnownPod>| selectors.selecting(change.key.namespace(), pod.labels());
    for object in change.old.into_iter().flat_map(of) {
        if let Some(selected) = known.get_mut(&ObjectKey::of(object.meta())) {
            selected.pods.remove(change.key);
        }
    }
    for (object, pod) in change.new.into_iter().flat_map(|pod| of(pod).into_iter().map(move |o| (o, pod))) {
        if let Some(selected) = known.get_mut(&ObjectKey::of(object.meta())) {
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
        members: Members<Service>,
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

    #[test]
    fn budgets_are_found_by_one_of_their_labels_or_looked_at_for_every_pod() {
        let label = |selector: Value| {
            let budget = json!({"metadata": {"namespace": "n", "name": "b"}, "spec": {"selector": selector}});
            let budget: PodDisruptionBudget = serde_json::from_value(budget).unwrap();
            let selector = budget.selector().unwrap();
            PodDisruptionBudget::label(&selector).map(|(key, value)| format!("{key}={value}"))
        };
        let expression =
            |operator: &str, values: &[&str]| json!({"key": "k", "operator": operator, "values": values});
        assert_eq!(label(json!({"matchLabels": {"a": "b"}})).as_deref(), Some("a=b"));
        assert_eq!(label(json!({"matchExpressions": [expression("In", &["x"])]})).as_deref(), Some("k=x"));
        let expressions =
            [expression("In", &["x", "y"]), expression("NotIn", &["z"]), expression("In", &["v"])];
        assert_eq!(label(json!({"matchExpressions": expressions})).as_deref(), Some("k=v"));
        assert_eq!(label(json!({"matchExpressions": [expression("NotIn", &["x"])]})), None);
        assert_eq!(label(json!({})), None);
    }

    #[tokio::test]
    async fn members_of_budgets_follow_pods() {
        let (budgets, pods) = (Cache::<PodDisruptionBudget>::new(), Cache::new());
        let selectors = Selectors::new(&budgets);
        let members = Members::new(&budgets, &pods, &selectors);
        let selector = json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]});
        let all =
            [("some", json!(selector)), ("all", json!({})), ("web", json!({"matchLabels": {"app": "web"}}))];
        let budget = |(name, selector): (&str, Value)| {
            let budget =
                json!({"metadata": {"namespace": "n", "name": name}, "spec": {"selector": selector}});
            Ok(Event::Apply(read(budget)))
        };
        budgets.follow(futures::stream::iter(all.map(budget)), Some).await;
        let world = World {
            services: Cache::new(),
            pods: pods.clone(),
            members: Members::new(&Cache::new(), &pods, &Selectors::new(&Cache::new())),
        };
        let check = |name: &str, expected: &[&str]| {
            let key = ObjectKey::new("n", name);
            let selector = budgets.get(&key).unwrap();
            let found = members.of(&key, &selector.selector().unwrap());
            let names: Vec<_> = found.iter().map(|pod| pod.key().name().to_owned()).collect();
            assert_eq!(names, expected, "{name}");
        };
        world.pod(Event::Apply, "a", "web").await;
        for name in ["some", "all", "web"] {
            check(name, &["a"]);
        }
        assert_eq!(members.known.lock().len(), 3);
        world.pod(Event::Apply, "b", "db").await;
        for (name, pods) in [("some", &["a"][..]), ("all", &["a", "b"]), ("web", &["a"])] {
            check(name, pods);
        }
        world.pod(Event::Apply, "a", "db").await;
        for (name, pods) in [("some", &[][..]), ("all", &["a", "b"]), ("web", &[])] {
            check(name, pods);
        }
        world.pod(Event::Delete, "b", "db").await;
        check("all", &["a"]);
    }
}
