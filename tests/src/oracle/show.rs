//! Plays scenarios for people who look for a difference.

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::replay::{Outcome, Replay, Verdict, replay};
use super::scenario::{Expected, Scenario, recorded};

/// Plays all scenarios on a fresh cluster and prints a line for each difference; or those whose id matches a regular expression,
/// and prints their requests and answers.
pub fn check(kubeconfig: &Path, ids: Option<&str>) {
    let scenarios = recorded();
    let ids = ids.map(|ids| Regex::new(ids).unwrap());
    let chosen = |scenario: &Scenario| ids.as_ref().is_none_or(|ids| ids.is_match(&scenario.id));
    let mut counts = [0; 3];
    for outcome in replay(&Replay { kubeconfig, scenarios: &scenarios, chosen: &chosen }) {
        let scenario = &scenarios[outcome.at];
        let column = match outcome.verdict {
            Verdict::Matches => 0,
            Verdict::Differs(_) | Verdict::Broken(_) => 1,
            Verdict::NotServed(_) => 2,
        };
        counts[column] += 1;
        if ids.is_some() {
            println!("{}", exchange(scenario, &outcome.answers));
        }
        for line in told(scenario, &outcome) {
            println!("{line}");
        }
    }
    println!("{} match, {} differ, {} are of kinds that are not served", counts[0], counts[1], counts[2]);
}

/// What is wrong with an outcome: a line for each difference.
pub(super) fn told(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let id = &scenario.id;
    match &outcome.verdict {
        Verdict::Differs(found) => {
            let line = |(at, found): &(usize, super::Difference)| {
                format!("{id} #{at} {} {found}", scenario.steps[*at].method)
            };
            found.iter().map(line).collect()
        }
        Verdict::Broken(error) => vec![format!("{id} cannot be played: {error}")],
        Verdict::Matches | Verdict::NotServed(_) => Vec::new(),
    }
}

/// A scenario's requests with what was expected and what came.
fn exchange(scenario: &Scenario, answers: &[Expected]) -> String {
    let mut text = format!("{}\n", scenario.id);
    let json = |value: &Value| value.to_string();
    for (at, step) in scenario.steps.iter().enumerate() {
        let content = step.content().unwrap_or_default();
        text += &format!("--- step {at}: {} {} {:?}\n{content}\n", step.method, step.path, step.headers);
        let want = &step.expect;
        text += &format!("expected {} {} {}\n", want.code, json(&want.headers), json(&want.body));
        if let Some(got) = answers.get(at) {
            text += &format!("got      {} {} {}\n", got.code, json(&got.headers), json(&got.body));
        }
    }
    text
}
