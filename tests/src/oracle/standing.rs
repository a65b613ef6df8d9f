//! How the cluster stands: the scenarios that are known to differ, and why, in `tests/oracle/standing.txt`.
//!
//! The list can only shrink: what is on it and matches, or is served, has to go.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::{Outcome, Verdict};
use super::scenario::Scenario;
use super::show::told;

const LIST: &str = include_str!("../../oracle/standing.txt");

/// What a line of the list says; the reason is the section's.
#[derive(Debug, Default)]
struct List {
    /// Kinds that are not served.
    not_served: BTreeSet<&'static str>,
    /// Scenarios that differ.
    differ: BTreeMap<&'static str, &'static str>,
    /// Scenarios whose outcome depends on what other parts of a cluster do meanwhile.
    not_compared: BTreeMap<&'static str, &'static str>,
}

impl List {
    fn read(text: &'static str) -> Self {
        let mut list = Self::default();
        let mut section = ("", "");
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((name, reason)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
                assert!(name == "not served" || !reason.trim().is_empty(), "{line}: a reason is missing");
                section = (name, reason.trim());
                continue;
            }
            let new = match section.0 {
                "not served" => list.not_served.insert(line),
                "differs" => list.differ.insert(line, section.1).is_none(),
                "not compared" => list.not_compared.insert(line, section.1).is_none(),
                other => panic!("{line}: no section [{other}]"),
            };
            assert!(new, "{line} is listed twice");
        }
        list
    }
}

/// How scenarios went, beside what is known.
#[derive(Debug)]
pub struct Standing {
    /// One line for each area: how many match, differ and are of kinds that are not served.
    pub table: String,
    /// What the list does not say, or says no more; empty when all is as it should be.
    pub complaints: Vec<String>,
}

impl Standing {
    /// Compares outcomes with the list. The list's other lines are not missed.
    #[must_use]
    pub fn of(scenarios: &[Scenario], outcomes: &[Outcome]) -> Self {
        let list = List::read(LIST);
        let mut complaints = Vec::new();
        let mut missing = BTreeSet::new();
        let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        for outcome in outcomes {
            let scenario = &scenarios[outcome.at];
            let id = scenario.id.as_str();
            let compared = !list.not_compared.contains_key(id);
            let column = match &outcome.verdict {
                Verdict::NotServed(kind) => {
                    missing.insert(kind.as_str());
                    3
                }
                _ if !compared => 2,
                Verdict::Matches => {
                    complaints
                        .extend(list.differ.get(id).map(|_| format!("{id} matches: take it off the list")));
                    0
                }
                Verdict::Differs(_) | Verdict::Broken(_) => {
                    if !list.differ.contains_key(id) {
                        complaints.extend(told(scenario, outcome));
                    }
                    1
                }
            };
            for key in [scenario.area.as_str(), "all"] {
                counts.entry(key).or_default()[column] += 1;
            }
        }
        complaints.extend(missing.difference(&list.not_served).map(|kind| format!("{kind} is not served")));
        Self { table: table(&counts), complaints }
    }

    /// Lines of the list for which there is no longer a reason, after all scenarios were played.
    #[must_use]
    pub fn outdated(scenarios: &[Scenario], outcomes: &[Outcome]) -> Vec<String> {
        let list = List::read(LIST);
        let ids: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
        let missing: BTreeSet<&str> = outcomes
            .iter()
            .filter_map(|outcome| match &outcome.verdict {
                Verdict::NotServed(kind) => Some(kind.as_str()),
                _ => None,
            })
            .collect();
        let served = list.not_served.difference(&missing);
        let unknown = list.differ.keys().chain(list.not_compared.keys()).filter(|id| !ids.contains(**id));
        served
            .map(|kind| format!("{kind} is served: take it off the list"))
            .chain(unknown.map(|id| format!("{id} is listed and no scenario")))
            .collect()
    }
}

fn table(counts: &BTreeMap<&str, [usize; 4]>) -> String {
    let head = ["", "matches", "differs", "not compared", "not served"];
    let mut text = format!("{:20}{:>14}{:>14}{:>14}{:>14}\n", head[0], head[1], head[2], head[3], head[4]);
    for (area, [matches, differs, not_compared, not_served]) in counts {
        text += &format!("{area:20}{matches:>14}{differs:>14}{not_compared:>14}{not_served:>14}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_well_formed() {
        let list = List::read(LIST);
        let both: Vec<_> = list.differ.keys().filter(|id| list.not_compared.contains_key(**id)).collect();
        assert!(both.is_empty(), "{both:?} differ and are not compared");
    }
}
