//! What is counted of the pods on nodes for one that waits.

use std::sync::Arc;

use crate::cluster::Picture;
use crate::model::{Pending, PodInfo, Spread, Term};
use crate::tallies::{Tally, Which};

/// The pods that matter to the rules and wishes of one.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// How the pod is spread, by its own constraints or by those of its profile, with the pods that each counts.
    pub spread: Vec<Spreading>,
    /// Those of which all terms speak that are required.
    pub required: Arc<Tally>,
    /// Those of which each term speaks that forbids some.
    pub forbidden: Vec<Arc<Tally>>,
    /// Those of which each term speaks that is preferred.
    pub preferred: Vec<Arc<Tally>>,
}

/// One constraint, and the pods that it counts.
#[derive(Clone, Debug)]
pub(crate) struct Spreading {
    pub rule: Spread,
    pub pods: Arc<Tally>,
}

impl Counts {
    /// The counts for a pod, as far as they are kept; the others are counted now.
    pub(crate) fn of(pod: &PodInfo, pending: &Pending, picture: &Picture) -> Self {
        let tally =
            |(which, keys): (Which, Vec<&str>)| picture.nodes.tally(&which, &keys, &picture.namespaces);
        let spread = picture.spread_of(pod, pending).into_iter().map(|rule| {
            let pods = selected(pod, &rule).map(tally).unwrap_or_default();
            Spreading { rule, pods }
        });
        Self {
            spread: spread.collect(),
            required: required(pod).map(tally).unwrap_or_default(),
            forbidden: pod.forbidden().iter().map(spoken_of).map(tally).collect(),
            preferred: pod.preferred().iter().map(|liked| spoken_of(&liked.term)).map(tally).collect(),
        }
    }
}

/// The pods that a constraint of the pod counts.
fn selected<'a>(pod: &PodInfo, rule: &'a Spread) -> Option<(Which, Vec<&'a str>)> {
    let selector = rule.selector.clone()?;
    Some((Which::Selected { namespace: pod.namespace.clone(), selector }, vec![&rule.topology_key]))
}

fn required(pod: &PodInfo) -> Option<(Which, Vec<&str>)> {
    let terms = pod.required();
    let keys = terms.iter().map(|term| term.topology_key.as_str()).collect();
    (!terms.is_empty()).then(|| (Which::Spoken(terms.to_vec()), keys))
}

fn spoken_of(term: &Term) -> (Which, Vec<&str>) {
    (Which::Spoken(vec![term.clone()]), vec![&term.topology_key])
}

impl Picture {
    /// Keeps counts from now on of what is going to be counted for every pod of the same kind.
    pub(crate) fn prepare(&mut self, pod: &PodInfo, pending: &Pending) {
        let spread = self.spread_of(pod, pending);
        let spread = spread.iter().filter_map(|rule| selected(pod, rule));
        let terms = pod.forbidden().iter().chain(pod.preferred().iter().map(|liked| &liked.term));
        for (which, keys) in spread.chain(required(pod)).chain(terms.map(spoken_of)) {
            self.nodes.keep_tally(which, &keys, &self.namespaces);
        }
    }

    /// How a pod is spread: as it says, else by its profile, among the pods that belong together with it; in no way if it is not known
    /// which those are.
    fn spread_of(&self, pod: &PodInfo, pending: &Pending) -> Vec<Spread> {
        if !pending.spread.is_empty() {
            return pending.spread.clone();
        }
        if !pending.profile.spreads() {
            return Vec::new();
        }
        let selector = self.selectors.of_pod(&pod.namespace, &pod.labels, pending.owner.as_ref());
        if selector.is_everything() {
            return Vec::new();
        }
        let constraints = pending.profile.arguments.spread.constraints.iter();
        constraints.map(|rule| Spread { selector: Some(selector.clone()), ..rule.clone() }).collect()
    }
}
