//! What the pods that the node has taken claim of it, until they end; and the changes of it that wait for room.
//!
//! One lock makes a verdict and its claim one step, whichever pods are looked at meanwhile. A change that waits is looked at
//! again when something is given back: before a pod is told of its own verdict, those that come first had theirs.

use super::admission::{Claims, Shortage, admit, claims, fits};
use super::local::LocalPod;
use super::observed::{Deferred, Rejection};
use super::sizes::Sizes;
use crate::container::limits::qos;
use crate::node::modules::SecurityModules;
use crate::node::view::NodeFacts;
use crate::quantity::Amounts;
use parking_lot::Mutex;
use skiff_runtime::{PodUid, ServiceClass};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// The pods that the node has taken.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    taken: HashMap<PodUid, Taken>,
    /// How many changes have been asked for.
    turn: u64,
}

/// A pod that the node has taken.
struct Taken {
    claims: Claims,
    standing: watch::Sender<Standing>,
    wanted: Option<Wanted>,
}

/// Resources that a pod asks for and was not granted.
struct Wanted {
    claims: Claims,
    sizes: Arc<Sizes>,
    generation: i64,
    priority: i32,
    class: ServiceClass,
    turn: u64,
}

/// What a pod was granted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    pub(crate) granted: Arc<Sizes>,
    /// Of the specification that asked for it.
    pub(crate) generation: i64,
    /// Why it was not granted what it asks for now.
    pub(crate) deferred: Option<Deferred>,
}

impl Ledger {
    /// Takes `pod` if it fits.
    pub(crate) fn admit(
        &self,
        pod: &LocalPod,
        node: &NodeFacts,
        modules: SecurityModules,
    ) -> Result<(), Rejection> {
        let mut state = self.0.lock();
        let others: Vec<&Claims> = state.taken.values().map(|taken| &taken.claims).collect();
        admit(pod, others.iter().copied(), node, modules)?;
        state.take(pod);
        Ok(())
    }

    /// Counts a pod that was taken before, whatever there is left; `pod` has what it was granted then.
    pub(crate) fn keep(&self, pod: &LocalPod) {
        self.0.lock().take(pod);
    }

    /// Asks for the resources that the specification of a pod names now.
    pub(crate) fn want(&self, pod: &LocalPod, node: &NodeFacts) {
        let mut state = self.0.lock();
        state.turn += 1;
        let turn = state.turn;
        let Some(taken) = state.taken.get_mut(&pod.uid) else { return };
        let sizes = Sizes::of(pod);
        if taken.standing.borrow().granted.same(&sizes) {
            taken.wanted = None;
            taken.standing.send_if_modified(|standing| standing.deferred.take().is_some());
            return;
        }
        let waited = taken.wanted.as_ref().filter(|wanted| wanted.sizes.same(&sizes));
        taken.wanted = Some(Wanted {
            claims: claims(pod),
            turn: waited.map_or(turn, |wanted| wanted.turn),
            sizes: Arc::new(sizes),
            generation: pod.meta.generation.unwrap_or_default(),
            priority: pod.spec.priority.unwrap_or_default(),
            class: qos(pod),
        });
        state.settle(&node.allocatable);
    }

    /// What a pod was granted, now and after every change; `None` when the node has not taken it.
    pub(crate) fn standing(&self, uid: &PodUid) -> Option<watch::Receiver<Standing>> {
        self.0.lock().taken.get(uid).map(|taken| taken.standing.subscribe())
    }

    /// Gives back what a pod claimed. Safe to repeat.
    pub(crate) fn release(&self, uid: &PodUid, node: &NodeFacts) {
        let mut state = self.0.lock();
        if state.taken.remove(uid).is_some() {
            state.settle(&node.allocatable);
        }
    }
}

impl State {
    fn take(&mut self, pod: &LocalPod) {
        let standing = Standing {
            granted: Arc::new(Sizes::of(pod)),
            generation: pod.meta.generation.unwrap_or_default(),
            deferred: None,
        };
        let taken = Taken { claims: claims(pod), standing: watch::channel(standing).0, wanted: None };
        self.taken.insert(pod.uid.clone(), taken);
    }

    /// Grants what there is room for, in the kubelet's order: what asks for no more than before, then by priority, then
    /// guaranteed pods, then who has waited longest.
    fn settle(&mut self, allocatable: &Amounts) {
        let waiting = self.taken.iter().filter_map(|(uid, taken)| {
            let wanted = taken.wanted.as_ref()?;
            let guaranteed = wanted.class == ServiceClass::Guaranteed;
            let grows = wanted.claims.exceed(&taken.claims);
            Some(((grows, Reverse(wanted.priority), !guaranteed, wanted.turn), uid.clone()))
        });
        let mut waiting: Vec<_> = waiting.collect();
        skiff_ordered::sort_by_key(&mut waiting, |(rank, _)| *rank);
        for (_, uid) in waiting {
            let others = self.taken.iter().filter(|(other, _)| **other != uid);
            let others: Vec<&Claims> = others.map(|(_, taken)| &taken.claims).collect();
            let wanted = self.taken.get(&uid).and_then(|taken| taken.wanted.as_ref());
            let Some(verdict) = wanted.map(|w| fits(&w.claims, others.iter().copied(), allocatable)) else {
                continue;
            };
            if let Some(taken) = self.taken.get_mut(&uid) {
                taken.decide(verdict);
            }
        }
    }
}

impl Taken {
    fn decide(&mut self, verdict: Result<(), Shortage>) {
        let Some(wanted) = self.wanted.take() else { return };
        let generation = wanted.generation;
        match verdict {
            Ok(()) => {
                self.claims = wanted.claims;
                self.standing.send_replace(Standing { granted: wanted.sizes, generation, deferred: None });
            }
            Err(Shortage { reason, message }) => {
                let deferred = Some(Deferred { generation, reason, message });
                self.wanted = Some(wanted);
                self.standing.send_if_modified(|standing| {
                    let news = standing.deferred != deferred;
                    standing.deferred = deferred;
                    news
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    fn node() -> NodeFacts {
        let amount = |text: &str| Quantity(text.into());
        let allocatable = [("cpu".into(), amount("1")), ("memory".into(), amount("1Gi"))].into();
        NodeFacts { allocatable, ..NodeFacts::default() }
    }

    fn pod(uid: &str, cpu: &str, extra: &str) -> LocalPod {
        let mut pod = pod_of(&format!(
            r#"{{{extra} "containers": [{{"name": "c", "resources": {{"requests": {{"cpu": "{cpu}"}}}}}}]}}"#
        ));
        pod.uid = PodUid::new(uid).unwrap();
        pod.meta.generation = Some(2);
        pod
    }

    fn admit(ledger: &Ledger, pod: &LocalPod) -> Result<(), &'static str> {
        ledger.admit(pod, &node(), SecurityModules::default()).map_err(|rejection| rejection.reason)
    }

    /// What a pod has, and why it has no more.
    fn standing(ledger: &Ledger, uid: &str) -> (String, Option<String>) {
        let standing = ledger.standing(&PodUid::new(uid).unwrap()).unwrap().borrow().clone();
        let requests = standing.granted.containers["c"].requests.clone().unwrap();
        (requests["cpu"].0.clone(), standing.deferred.map(|deferred| deferred.message))
    }

    #[test]
    fn pods_count_until_they_end() {
        let ledger = Ledger::default();
        let (a, b, c) = (pod("a", "600m", ""), pod("b", "600m", ""), pod("c", "600m", ""));
        assert_eq!(admit(&ledger, &a), Ok(()));
        assert_eq!(admit(&ledger, &b), Err("OutOfcpu"));
        assert_eq!(admit(&ledger, &b), Err("OutOfcpu"), "a refused pod claims nothing");
        ledger.release(&a.uid, &node());
        assert_eq!(admit(&ledger, &b), Ok(()));
        ledger.keep(&a);
        ledger.release(&b.uid, &node());
        assert_eq!(admit(&ledger, &c), Err("OutOfcpu"), "one that runs counts");
    }

    #[test]
    fn what_does_not_fit_waits_for_room() {
        let ledger = Ledger::default();
        for uid in ["a", "b"] {
            assert_eq!(admit(&ledger, &pod(uid, "400m", "")), Ok(()));
        }
        ledger.want(&pod("a", "600m", ""), &node());
        assert_eq!(standing(&ledger, "a"), ("600m".into(), None));
        ledger.want(&pod("b", "500m", ""), &node());
        let short = "Node didn't have enough resource: cpu, requested: 500, used: 600, capacity: 1000";
        assert_eq!(standing(&ledger, "b"), ("400m".into(), Some(short.into())));
        assert_eq!(admit(&ledger, &pod("c", "100m", "")), Err("OutOfcpu"), "what was granted is taken");
        ledger.want(&pod("a", "500m", ""), &node());
        assert_eq!(standing(&ledger, "b"), ("500m".into(), None), "room that was given back");
        ledger.want(&pod("b", "900m", ""), &node());
        ledger.want(&pod("b", "0.5", ""), &node());
        assert_eq!(standing(&ledger, "b"), ("500m".into(), None), "taken back before it was granted");
        ledger.want(&pod("b", "900m", ""), &node());
        ledger.release(&pod("a", "0", "").uid, &node());
        assert_eq!(standing(&ledger, "b"), ("900m".into(), None));
    }

    #[test]
    fn who_waits_is_served_by_rank() {
        let ledger = Ledger::default();
        for (uid, cpu) in [("full", "700m"), ("first", "100m"), ("second", "100m"), ("high", "100m")] {
            assert_eq!(admit(&ledger, &pod(uid, cpu, "")), Ok(()));
        }
        ledger.want(&pod("first", "300m", ""), &node());
        ledger.want(&pod("second", "300m", ""), &node());
        ledger.want(&pod("high", "300m", r#""priority": 10,"#), &node());
        let granted = |uid| standing(&ledger, uid).1.is_none();
        assert!(!granted("first") && !granted("second") && !granted("high"));
        ledger.want(&pod("full", "500m", ""), &node());
        assert!(granted("high") && !granted("first") && !granted("second"));
        ledger.want(&pod("full", "300m", ""), &node());
        assert!(granted("first") && !granted("second"));
    }
}
