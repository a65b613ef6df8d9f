//! What is kept of counts is what would be counted now, whatever comes and goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use skiff_informer::ObjectKey;

use crate::cluster::Picture;
use crate::configuration::Configuration;
use crate::counts::Counts;
use crate::model::{Labels, NodeInfo, PodInfo};
use crate::tallies::{ByValue, Tally};
use crate::tests::labelled;

/// What there is.
#[derive(Default)]
struct World {
    nodes: BTreeMap<String, NodeInfo>,
    pods: BTreeMap<ObjectKey, (String, Arc<PodInfo>)>,
    teams: BTreeMap<String, Labels>,
}

impl World {
    /// Seen for the first time.
    fn picture(&self) -> Picture {
        let mut picture = Picture::default();
        picture.namespaces.extend(self.teams.clone());
        for node in self.nodes.values() {
            picture.nodes.set(node);
        }
        for (key, (node, pod)) in &self.pods {
            picture.nodes.put(node, key, pod, &picture.namespaces);
        }
        picture
    }

    /// Changes something, here and there.
    fn change(&mut self, picture: &mut Picture, dice: &mut Dice) {
        let name = format!("node-{}", dice.throw(5));
        match dice.throw(10) {
            0 => {
                let node = self.node(&name, dice);
                picture.nodes.set(&node);
            }
            1 => {
                self.nodes.remove(&name);
                picture.nodes.forget(&name);
            }
            2 => {
                let team = [("team".to_owned(), dice.throw(2).to_string())];
                self.teams.insert("b".into(), team.clone().into());
                picture.namespaces.insert("b".into(), team.into());
                picture.nodes.namespaces_changed();
            }
            _ => self.replace_pod(picture, &name, dice),
        }
    }

    fn node(&mut self, name: &str, dice: &mut Dice) -> NodeInfo {
        let mut labels = json!({"name": name, "host": name});
        if dice.throw(4) > 0 {
            labels["zone"] = json!(dice.throw(3).to_string());
        }
        let node = labelled(labels);
        let new = self.nodes.insert(name.to_owned(), node.clone()).is_none();
        if new {
            // As the cluster has them when it comes back.
            self.pods.retain(|_, (on, _)| on != name);
        }
        node
    }

    fn replace_pod(&mut self, picture: &mut Picture, node: &str, dice: &mut Dice) {
        let namespace = if dice.throw(2) == 0 { "a" } else { "b" };
        let key = ObjectKey::new(namespace, &dice.throw(20).to_string());
        if let Some((on, _)) = self.pods.remove(&key) {
            picture.nodes.take(&on, &key, &picture.namespaces);
        }
        if dice.throw(3) > 0 && self.nodes.contains_key(node) {
            let mut pod = pod(namespace, usize::from(dice.throw(4)));
            pod.terminating = dice.throw(5) == 0;
            let pod = Arc::new(pod);
            picture.nodes.put(node, &key, &pod, &picture.namespaces);
            self.pods.insert(key, (node.to_owned(), pod));
        }
    }
}

/// Numbers that look like chance, the same every time.
struct Dice(u32);

impl Dice {
    fn throw(&mut self, sides: u8) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from((self.0 >> 16) % u32::from(sides)).unwrap()
    }
}

/// Pods with rules of every kind about others.
fn pod(namespace: &str, kind: usize) -> PodInfo {
    let app = |key: &str| json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "x"}}});
    let mut everywhere = app("zone");
    everywhere["namespaceSelector"] = json!({"matchLabels": {"team": "1"}});
    let spread = |key: &str| {
        let mut rule = app(key);
        rule["maxSkew"] = json!(1);
        rule["whenUnsatisfiable"] = json!("DoNotSchedule");
        rule
    };
    let (required, preferred) =
        ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
    let spec: Value = [
        json!({"topologySpreadConstraints": [spread("zone"), spread("host")]}),
        json!({"affinity": {"podAntiAffinity": {(required): [app("host"), everywhere]}}}),
        json!({"affinity": {
            "podAffinity": {(required): [app("zone"), everywhere],
                            (preferred): [{"weight": 3, "podAffinityTerm": app("host")}]},
            "podAntiAffinity": {(preferred): [{"weight": 3, "podAffinityTerm": app("host")}]},
        }}),
        json!({}),
    ][kind]
        .clone();
    let mut object = json!({"metadata": {"namespace": namespace, "labels": {"app": "x"}}, "spec": spec});
    object["spec"]["containers"] = json!([]);
    PodInfo::of(&serde_json::from_value(object).unwrap(), &Configuration::default()).unwrap()
}

/// All that decisions look at.
fn seen(pod: &PodInfo, picture: &Picture) -> Vec<(String, Option<ByValue>, Vec<i64>)> {
    let counts = Counts::of(pod, pod.pending.as_ref().unwrap(), picture);
    let tell = |key: &str, tally: &Tally| {
        let on = picture.nodes.all().map(|node| tally.on(node)).collect();
        (key.to_owned(), tally.by(key).cloned(), on)
    };
    let spread = counts.spread.iter().map(|one| tell(&one.rule.topology_key, &one.pods));
    let required = pod.required().iter().map(|term| tell(&term.topology_key, &counts.required));
    let forbidden = pod.forbidden().iter().zip(&counts.forbidden);
    let forbidden = forbidden.map(|(term, tally)| tell(&term.topology_key, tally));
    let preferred = pod.preferred().iter().zip(&counts.preferred);
    let preferred = preferred.map(|(liked, tally)| tell(&liked.term.topology_key, tally));
    spread.chain(required).chain(forbidden).chain(preferred).collect()
}

#[test]
fn what_is_kept_is_what_would_be_counted() {
    let (mut world, mut picture, mut dice) = (World::default(), Picture::default(), Dice(1));
    let asking: Vec<PodInfo> = (0..3).map(|kind| pod("a", kind)).collect();
    let mut counted = 0;
    for _ in 0..2000 {
        world.change(&mut picture, &mut dice);
        let fresh = world.picture();
        for pod in &asking {
            picture.prepare(pod, pod.pending.as_ref().unwrap());
            let kept = seen(pod, &picture);
            assert_eq!(kept, seen(pod, &fresh));
            counted += kept.iter().filter(|(_, by, _)| by.as_ref().is_some_and(|by| !by.is_empty())).count();
        }
        assert_eq!(picture.nodes.terms(), fresh.nodes.terms());
        for key in ["zone", "host"] {
            assert_eq!(picture.nodes.values_of(key), fresh.nodes.values_of(key));
            assert_eq!(picture.nodes.all_have(key), fresh.nodes.all_have(key));
        }
    }
    assert!(counted > 1000, "there was something to count");
}
