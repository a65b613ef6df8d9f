//! One round: a scenario from its first object to the end of its last, in which somebody is killed at one step.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::machine::{Machine, Victim};
use crate::remains;
use crate::scenario::{Act, Scenario};
use crate::watch::Watch;

/// What the user does after somebody was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// What was begun is brought to its end.
    GoOn,
    /// Everything is deleted, before who was killed is there again.
    GiveUp,
}

/// Who is killed when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shot {
    pub(crate) step: u64,
    pub(crate) victim: Victim,
    pub(crate) then: Then,
}

/// A round that is going on.
pub(crate) struct Round<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) namespace: String,
    pub(crate) watch: Watch<'a>,
    shot: Shot,
}

/// Plays a round; whether the step came at which somebody was to be killed.
pub(crate) fn play(machine: &Machine, scenario: Scenario, number: u64, shot: Shot) -> bool {
    let before = remains::remains(machine);
    let namespace = format!("round-{number}");
    machine.insist(&format!("create namespace {namespace}"));
    machine.insist(&format!("wait -n {namespace} serviceaccount/default --for=create --timeout=5s"));
    if shot.then == Then::GiveUp {
        machine.hold();
    }
    let watch = Watch::start(machine, &namespace, scenario.watched(), Some((shot.step, shot.victim)));
    let round = Round { machine, namespace, watch, shot };
    let finished = scenario.acts(&round).into_iter().all(|act| round.act(act));
    println!("  {}", round.watch.fired().unwrap_or(format!("no step {}", shot.step)));
    assert!(finished || shot.then == Then::GiveUp);
    round.delete();
    let fired = round.watch.fired().is_some();
    drop(std::fs::remove_dir_all(round.notes()));
    round.watch.end();
    remains::nothing_more(machine, &before);
    fired
}

impl Round<'_> {
    /// Where pods note what they did, on the node's disk.
    pub(crate) fn notes(&self) -> PathBuf {
        self.machine.cluster.host().directory().join(format!("notes-{}", self.namespace))
    }

    /// Whether it is a supervisor that is killed.
    pub(crate) fn supervisor_dies(&self) -> bool {
        matches!(self.shot.victim, Victim::Supervisor | Victim::SupervisorAndAgent)
    }

    /// The objects of a kind, now.
    pub(crate) fn list(&self, kind: &str) -> Vec<Value> {
        let text = self.machine.insist(&format!("get {kind} -n {} -o json", self.namespace));
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    }

    /// Does one thing; whether the round goes on.
    fn act(&self, act: Act) -> bool {
        let namespace = &self.namespace;
        match act {
            Act::Apply(manifest) => {
                let path = self.machine.cluster.host().directory().join("workload.yaml");
                std::fs::write(&path, manifest).unwrap();
                self.until(&format!("apply -n {namespace} -f {}", path.display()), |_| true)
            }
            Act::Ask(arguments) => self.until(&format!("{arguments} -n {namespace}"), |_| true),
            Act::Gone(kinds) => self.until(&format!("get {kinds} -n {namespace} -o name"), str::is_empty),
            Act::Check(check) => {
                // What was asked for may have come before somebody was killed, who is not there yet.
                let goes_on = !self.given_up();
                if goes_on {
                    check(self);
                }
                goes_on
            }
        }
    }

    fn given_up(&self) -> bool {
        self.shot.then == Then::GiveUp && self.watch.fired().is_some()
    }

    /// Asks until the answer suits; false when the user has given up.
    fn until(&self, arguments: &str, suits: impl Fn(&str) -> bool) -> bool {
        let mut last = None;
        for _ in 0..200 {
            if self.given_up() {
                return false;
            }
            let output = self.machine.kubectl(arguments);
            if output.code == Some(0) && suits(&output.stdout) {
                return true;
            }
            last = Some(output);
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it never came to that; at last: {}", last.expect("something was tried"));
    }

    /// Deletes everything of the round, and waits until it is gone.
    fn delete(&self) {
        let machine = self.machine;
        if machine.is_server(self.shot.victim) {
            machine.release();
        }
        machine.insist(&format!("delete namespace {} --ignore-not-found --wait=false", self.namespace));
        machine.release();
        let left = ["get namespaces -o name", "get persistentvolumes -o name"];
        for _ in 0..300 {
            let left = left.map(|look| machine.insist(look)).join("");
            if !left
                .lines()
                .any(|line| line == format!("namespace/{}", self.namespace) || line.contains("pvc-"))
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("left in the API: {}", machine.kubectl("get namespaces,pv -o yaml"));
    }
}
