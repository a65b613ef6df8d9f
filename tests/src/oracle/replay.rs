//! Plays scenarios against a cluster: many at once where they cannot meet, one after the other where they can.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::client::{Call, Client};
use super::compare::{Difference, compare};
use super::credentials::Server;
use super::run::play;
use super::scenario::{Expected, Scenario};

/// Connections over which scenarios are played that cannot meet.
const CONNECTIONS: usize = 6;

/// What became of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every answer was the recorded one.
    Matches,
    /// At these places, each with its step, an answer was another one.
    Differs(Vec<(usize, Difference)>),
    /// The server does not have this kind.
    NotServed(String),
    /// It could not be played.
    Broken(String),
}

/// A scenario that was played.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its place among all.
    pub at: usize,
    /// What became of it.
    pub verdict: Verdict,
    /// The answers that came, normalised.
    pub answers: Vec<Expected>,
}

/// What shall be played where.
#[allow(missing_debug_implementations, reason = "a closure has no form for people")]
pub struct Replay<'a> {
    /// A kubeconfig with certificates in it.
    pub kubeconfig: &'a Path,
    /// All scenarios. Their places name their namespaces, so that one cluster can be played on once.
    pub scenarios: &'a [Scenario],
    /// Which of them.
    pub chosen: &'a (dyn Fn(&Scenario) -> bool + Sync),
}

/// Plays scenarios; the outcomes in the order of the scenarios. Blocks, and starts threads.
#[must_use]
pub fn replay(what: &Replay) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut outcomes = runtime.block_on(all(what));
    outcomes.sort_by_key(|outcome| outcome.at);
    outcomes
}

async fn all(what: &Replay<'_>) -> Vec<Outcome> {
    let server = Arc::new(Server::of(what.kubeconfig));
    let served = served(&mut Client::new(server.clone())).await.expect("the server tells what it serves");
    let chosen = what.scenarios.iter().enumerate().filter(|(_, scenario)| (what.chosen)(scenario));
    let mut queues: [VecDeque<(usize, &Scenario)>; 3] = Default::default();
    for (at, scenario) in chosen {
        queues[Company::of(scenario) as usize].push_back((at, scenario));
    }
    let [free, services, alone] = queues.map(Mutex::new);
    let player = |queue| player(server.clone(), &served, queue);
    let frees = futures::future::join_all((0..CONNECTIONS).map(|_| player(&free)));
    let (frees, services) = tokio::join!(frees, player(&services));
    let alone = player(&alone).await;
    frees.into_iter().flatten().chain(services).chain(alone).collect()
}

/// What may be played beside a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    /// Anything: it stays in its namespace.
    Free,
    /// No other Service: addresses and ports are shared by all namespaces.
    Services,
    /// Nothing: it is about what is in no namespace, or in all of them.
    Alone,
}

impl Company {
    fn of(scenario: &Scenario) -> Self {
        let paths = || scenario.steps.iter().map(|step| step.path.as_str());
        if !paths().all(|path| path.contains("/namespaces/{NS}/")) || !scenario.cleanup.is_empty() {
            Self::Alone
        } else if paths().any(|path| path.contains("/services")) {
            Self::Services
        } else {
            Self::Free
        }
    }
}

/// Plays what is in the queue until nothing is left, over a connection of its own.
async fn player(
    server: Arc<Server>,
    served: &BTreeSet<String>,
    queue: &Mutex<VecDeque<(usize, &Scenario)>>,
) -> Vec<Outcome> {
    let mut client = Client::new(server);
    let mut outcomes = Vec::new();
    let next = || queue.lock().unwrap().pop_front();
    while let Some((at, scenario)) = next() {
        outcomes.push(outcome(&mut client, served, at, scenario).await);
    }
    outcomes
}

async fn outcome(client: &mut Client, served: &BTreeSet<String>, at: usize, scenario: &Scenario) -> Outcome {
    let mut kinds = std::iter::once(&scenario.kind).chain(&scenario.needs);
    if let Some(kind) = kinds.find(|kind| !served.contains(*kind)) {
        return Outcome { at, verdict: Verdict::NotServed(kind.clone()), answers: Vec::new() };
    }
    let namespace = format!("oracle{at:05}");
    match play(client, scenario, &namespace).await {
        Ok(answers) => Outcome { at, verdict: verdict(scenario, &answers), answers },
        Err(error) => Outcome { at, verdict: Verdict::Broken(error), answers: Vec::new() },
    }
}

fn verdict(scenario: &Scenario, answers: &[Expected]) -> Verdict {
    let steps = scenario.steps.iter().zip(answers).enumerate();
    let found: Vec<(usize, Difference)> = steps
        .flat_map(|(at, (step, got))| compare(step, got).into_iter().map(move |found| (at, found)))
        .collect();
    if found.is_empty() { Verdict::Matches } else { Verdict::Differs(found) }
}

/// The kinds that a server has, as scenarios name them: those that can be created, and one that never can.
async fn served(client: &mut Client) -> Result<BTreeSet<String>, String> {
    let groups = get(client, "/apis").await?;
    let versions = groups["groups"].as_array().into_iter().flatten();
    let versions = versions.flat_map(|group| group["versions"].as_array().into_iter().flatten());
    let versions = versions.filter_map(|version| version["groupVersion"].as_str());
    let paths: Vec<(String, String)> = std::iter::once(("v1".to_owned(), "/api/v1".to_owned()))
        .chain(versions.map(|version| (version.to_owned(), format!("/apis/{version}"))))
        .collect();
    let mut served = BTreeSet::from(["-".to_owned()]);
    for (version, path) in paths {
        let resources = get(client, &path).await?;
        for resource in resources["resources"].as_array().into_iter().flatten() {
            let kind = resource["kind"].as_str().unwrap_or_default();
            let verbs = resource["verbs"].as_array();
            if kind == "ComponentStatus"
                || verbs.is_some_and(|verbs| verbs.iter().any(|verb| verb == "create"))
            {
                served.insert(format!("{version} {kind}"));
            }
        }
    }
    Ok(served)
}

async fn get(client: &mut Client, path: &str) -> Result<Value, String> {
    let answer = client.send(&Call::new("GET", path, None)).await?;
    serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
}
