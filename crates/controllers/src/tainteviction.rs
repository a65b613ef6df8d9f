//! Deletes pods that do not tolerate a NoExecute taint of their node, at once or after the time they tolerate it.

use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use skiff_informer::{EventType, Next, ObjectKey, Recorder, is_conflict, is_not_found};

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::nodelifecycle::{NOT_READY, UNREACHABLE};
use crate::pods::KnownPod;

/// Kubernetes' node controller does this in one with node lifecycle; so it acts as that.
const NAME: &str = "node-controller";
const COMPONENT: &str = "taint-eviction-controller";
/// How long a pod that says nothing about it stays on a node in trouble: what admission writes into new pods.
const DEFAULT_SECONDS: i64 = 300;

/// A pod that could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("cannot evict pod {pod}")]
struct Error {
    pod: ObjectKey,
    source: kube::Error,
}

struct Eviction {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    /// Pods whose time is running.
    condemned: Mutex<HashMap<ObjectKey, Condemned>>,
}

/// A pod whose time is running, and since when for each taint. Its time begins when this controller sees it with the taint: what
/// the taint says of when it was added, which may be anything, counts for nothing.
#[derive(Debug, Default)]
struct Condemned {
    uid: String,
    seen: Vec<(Taint, Timestamp)>,
}

impl Condemned {
    /// The taints of a pod's node, each with since when it is there for this pod.
    fn now(&self, uid: &str, taints: impl Iterator<Item = Taint>, now: Timestamp) -> Self {
        let known = if self.uid == uid { self.seen.as_slice() } else { &[] };
        let since =
            |taint: &Taint| known.iter().find(|(seen, _)| is_same(seen, taint)).map_or(now, |(_, at)| *at);
        let seen = taints.map(|taint| (since(&taint), taint)).map(|(since, taint)| (taint, since));
        Self { uid: uid.to_owned(), seen: seen.collect() }
    }
}

fn is_same(one: &Taint, other: &Taint) -> bool {
    one.key == other.key && one.value == other.value
}

/// How long a pod may stay.
#[derive(Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    Until(Timestamp),
    /// Not at all.
    Over,
}

/// Subscribes to pods and nodes and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("tainteviction");
    let (wake, nodes) = (queue.clone(), informers.nodes.clone());
    informers.pods.subscribe(move |change| {
        let tainted = |pod: &KnownPod| {
            let node = pod.node().and_then(|name| nodes.get(&ObjectKey::cluster(name)));
            node.is_some_and(|node| no_execute(&node).next().is_some())
        };
        if change.new.is_none_or(|pod| tainted(pod)) {
            wake.add(change.key.clone());
        }
    });
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.nodes.subscribe(move |change| {
        let taints = |node: &Node| no_execute(node).cloned().collect::<Vec<_>>();
        let (old, new) = (change.old.map(|node| taints(node)), change.new.map(|node| taints(node)));
        if old.unwrap_or_default() != new.unwrap_or_default() {
            let pods = caches.pods_by_node.get(&change.key.name().to_owned());
            pods.iter().for_each(|pod| wake.add(pod.key().clone()));
        }
    });
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), COMPONENT, "");
    let eviction = Eviction { client, informers: informers.clone(), recorder, condemned: Mutex::default() };
    environment.reconciler(queue, &[&informers.pods, &informers.nodes], 8, eviction, |eviction, key| {
        eviction.reconcile(key).boxed()
    })
}

fn no_execute(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute")
}

/// How long a pod with `tolerations` may stay with taints that it has had for so long.
fn stay(tolerations: &[Toleration], taints: &[(Taint, Timestamp)], now: Timestamp) -> Stay {
    let mut end: Option<Timestamp> = None;
    for (taint, since) in taints {
        let matching: Vec<_> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        let trouble = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
        let seconds = match matching.iter().filter_map(|toleration| toleration.toleration_seconds).min() {
            None if !matching.is_empty() => continue,
            None if trouble => DEFAULT_SECONDS,
            None => return Stay::Over,
            Some(seconds) => seconds.max(0),
        };
        let until = since.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        end = Some(end.map_or(until, |end| end.min(until)));
    }
    match end {
        None => Stay::Forever,
        Some(until) if until <= now => Stay::Over,
        Some(until) => Stay::Until(until),
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let unset_or = |field: &Option<String>, value: &str| {
        field.as_deref().is_none_or(|field| field.is_empty() || field == value)
    };
    let value = toleration.operator.as_deref() == Some("Exists")
        || toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or("");
    unset_or(&toleration.effect, &taint.effect) && unset_or(&toleration.key, &taint.key) && value
}

impl Eviction {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let pod = self.informers.pods.get(&key).filter(|pod| !pod.is_deleting());
        let Some(pod) = pod else {
            self.condemned.lock().remove(&key);
            return Ok(Next::Done);
        };
        let node = pod.node().and_then(|name| self.informers.nodes.get(&ObjectKey::cluster(name)));
        let now = Timestamp::now();
        let taints = node.iter().flat_map(|node| no_execute(node)).cloned();
        let condemned = match self.condemned.lock().get(&key) {
            Some(known) => known.now(pod.uid(), taints, now),
            None => Condemned::default().now(pod.uid(), taints, now),
        };
        match stay(pod.tolerations(), &condemned.seen, now) {
            Stay::Forever => {
                if self.condemned.lock().remove(&key).is_some() {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.recorder.event(pod.reference(), EventType::Normal, "TaintManagerEviction", message);
                }
                Ok(Next::Done)
            }
            Stay::Until(end) => {
                self.condemned.lock().insert(key, condemned);
                let left = end.duration_since(now).unsigned_abs();
                Ok(Next::After(left.max(Duration::from_millis(1))))
            }
            Stay::Over => self.evict(key, &pod, now).await,
        }
    }

    async fn evict(&self, key: ObjectKey, pod: &KnownPod, now: Timestamp) -> Result<Next, Error> {
        let message = format!("Marking for deletion Pod {key}");
        self.recorder.event(pod.reference(), EventType::Normal, "TaintManagerEviction", message);
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": Time(now),
            "observedGeneration": pod.generation(),
        });
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        let pods = Api::<Pod>::namespaced(self.client.clone(), key.namespace());
        let exactly_this = Preconditions { uid: Some(pod.uid().to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(exactly_this), ..DeleteParams::default() };
        let marked = pods.patch_status(key.name(), &PatchParams::default(), &Patch::Strategic(patch)).await;
        let result = match marked {
            Ok(_) => pods.delete(key.name(), &params).await.map(drop),
            Err(error) => Err(error),
        };
        match result {
            Err(source) if !is_not_found(&source) && !is_conflict(&source) => Err(Error { pod: key, source }),
            _ => Ok(Next::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A taint that says that it has been there for long.
    fn taint(key: &str) -> Taint {
        let time_added = Some(Time("2020-01-01T00:00:00Z".parse().unwrap()));
        Taint { key: key.into(), value: Some("v".into()), effect: "NoExecute".into(), time_added }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// How many seconds of stay are left 10 seconds after the taints were seen; `None` is forever.
    fn check(tolerations: serde_json::Value, keys: &[&str]) -> Option<i64> {
        let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
        let taints = || keys.iter().map(|key| taint(key));
        let seen = Condemned::default().now("u", taints(), at(0)).now("u", taints(), at(10));
        match stay(&tolerations, &seen.seen, at(10)) {
            Stay::Forever => None,
            Stay::Over => Some(0),
            Stay::Until(end) => Some(end.duration_since(at(10)).as_secs()),
        }
    }

    #[test]
    fn each_taint_counts_from_when_the_pod_was_seen_with_it() {
        let taints = |keys: &[&str]| keys.iter().map(|key| taint(key)).collect::<Vec<_>>().into_iter();
        let since = |condemned: &Condemned| -> Vec<i64> {
            condemned.seen.iter().map(|(_, since)| since.as_second()).collect()
        };
        let first = Condemned::default().now("u", taints(&["k"]), at(1));
        let both = first.now("u", taints(&["l", "k"]), at(2));
        assert_eq!((since(&first), since(&both)), (vec![1], vec![2, 1]));
        assert_eq!(since(&both.now("u", taints(&["k"]), at(3)).now("u", taints(&["l"]), at(4))), [4]);
        assert_eq!(since(&both.now("another", taints(&["k"]), at(5))), [5]);
    }

    #[test]
    fn pods_stay_as_long_as_they_tolerate_every_taint() {
        assert_eq!(check(json!([]), &[]), None);
        assert_eq!(check(json!([]), &["k"]), Some(0));
        assert_eq!(check(json!([{"operator": "Exists"}]), &["k", "l"]), None);
        assert_eq!(check(json!([{"key": "k", "value": "v"}]), &["k", "l"]), Some(0));
        assert_eq!(check(json!([{"key": "k", "value": "v", "tolerationSeconds": 60}]), &["k"]), Some(50));
        assert_eq!(check(json!([{"key": "k", "value": "v", "tolerationSeconds": 5}]), &["k"]), Some(0));
        let two = json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 60},
                         {"key": "l", "operator": "Exists", "tolerationSeconds": 30}]);
        assert_eq!(check(two, &["k", "l"]), Some(20));
        assert_eq!(check(json!([{"key": "k", "value": "other"}]), &["k"]), Some(0));
        assert_eq!(
            check(json!([{"key": "k", "operator": "Exists", "effect": "NoSchedule"}]), &["k"]),
            Some(0)
        );
    }

    #[test]
    fn a_node_in_trouble_is_tolerated_for_a_while() {
        assert_eq!(check(json!([]), &["node.kubernetes.io/not-ready"]), Some(290));
    }
}
