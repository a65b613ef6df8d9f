//! The steps of a round, as its watches tell them, and the shot that is fired at one of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use skiff_tests::poster;

use crate::machine::{Machine, Victim};

/// What watches have told so far.
struct Told {
    namespace: String,
    /// Events so far; those that a watch begins with again after the shot count no more.
    steps: u64,
    /// At which step whom to kill.
    shot: Option<(u64, Child)>,
    /// At which step that was.
    fired: Option<String>,
    /// Every object that was ever seen, as it was last, by its UID.
    objects: BTreeMap<String, Value>,
}

/// Watches that go on over the end of the server.
pub(crate) struct Watch<'a> {
    machine: &'a Machine,
    told: Arc<Mutex<Told>>,
    watchers: Vec<Child>,
    readers: Vec<JoinHandle<()>>,
}

impl<'a> Watch<'a> {
    /// Watches these paths for what belongs to a namespace. `shot` says at which step whom to kill.
    pub(crate) fn start(
        machine: &'a Machine,
        namespace: &str,
        paths: &[&str],
        shot: Option<(u64, Victim)>,
    ) -> Self {
        let shot = shot.map(|(step, victim)| (step, machine.gun(victim)));
        let namespace = namespace.to_owned();
        let told =
            Told { namespace: namespace.clone(), steps: 0, shot, fired: None, objects: BTreeMap::new() };
        let told = Arc::new(Mutex::new(told));
        let (mut watchers, mut readers) = (Vec::new(), Vec::new());
        let (begun, begin) = mpsc::channel();
        std::fs::write(machine.cluster.host().directory().join("watching"), "").unwrap();
        for (number, path) in paths.iter().enumerate() {
            let path = path.replace("{}", &format!("namespaces/{namespace}"));
            let mut child = watcher(machine, number, &path);
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            watchers.push(child);
            let (told, begun) = (told.clone(), begun.clone());
            readers.push(std::thread::spawn(move || {
                for line in lines {
                    let event: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
                    if event["type"] == "BOOKMARK" {
                        begun.send(()).ok();
                    }
                    told.lock().unwrap().hear(&event);
                }
            }));
        }
        for _ in paths {
            begin.recv_timeout(Duration::from_secs(30)).expect("every watch begins");
        }
        Self { machine, told, watchers, readers }
    }

    /// The step at which somebody was killed, if it has come.
    pub(crate) fn fired(&self) -> Option<String> {
        self.told.lock().unwrap().fired.clone()
    }

    /// Every object of a kind that was ever seen, as it was last.
    pub(crate) fn all(&self, kind: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap();
        told.objects.values().filter(|object| object["kind"] == kind).cloned().collect()
    }

    /// Ends the watches.
    pub(crate) fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let stop =
            "rm -f watching; for file in watch-*.pid; do read -r pid <$file; kill $pid; done; rm watch-*.pid";
        drop(self.machine.cluster.sh(stop));
        for mut child in self.watchers.drain(..) {
            child.wait().unwrap();
        }
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        if let Some((_, mut gun)) = self.told.lock().unwrap().shot.take() {
            drop(gun.stdin.take());
            gun.wait().unwrap();
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program that prints the events of a watch, a line each, and watches anew whenever the server has ended.
fn watcher(machine: &Machine, number: usize, path: &str) -> Child {
    let name = format!("watch-{number}");
    let script = format!(
        r#"{credentials}
        while [ -e watching ]; do
            curl -sN --cacert {name}.ca --cert {name}.crt --key {name}.key \
                "https://127.0.0.1:6443{path}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan" &
            echo $! >{name}.pid
            wait $!
            sleep 0.05
        done"#,
        credentials = poster(&name)
    );
    machine.cluster.shell(&script).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

impl Told {
    fn hear(&mut self, event: &Value) {
        let object = &event["object"];
        let of = [&object["metadata"]["namespace"], &object["spec"]["claimRef"]["namespace"]];
        let Some(uid) = object["metadata"]["uid"].as_str() else { return };
        if !of.contains(&&Value::from(self.namespace.as_str())) || event["type"] == "BOOKMARK" {
            return;
        }
        self.objects.insert(uid.to_owned(), object.clone());
        if self.fired.is_some() {
            return;
        }
        self.steps += 1;
        if self.shot.as_ref().is_some_and(|(step, _)| *step == self.steps) {
            let (_, gun) = self.shot.take().expect("it was just looked at");
            let dead = fire(gun);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (change, kind) = (text(&event["type"]), text(&object["kind"]));
            let (name, phase) = (text(&object["metadata"]["name"]), text(&object["status"]["phase"]));
            self.fired = Some(format!("step {}: {change} {kind} {name} {phase} ({dead})", self.steps));
        }
    }
}

/// Kills, and says whether there was somebody to kill.
fn fire(mut gun: Child) -> &'static str {
    gun.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut said = String::new();
    gun.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    gun.wait().unwrap();
    if said.contains("done") { "killed" } else { "nobody to kill" }
}
