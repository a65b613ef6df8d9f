//! Whether what the kernel has of our table, elements apart, is what we made. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use skiff_ordered::Ordered as _;

use super::{
    abi,
    layout::{self, Ranges},
};
use crate::model::Verdict;

/// The table without its elements, as the kernel tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Structure {
    pub(super) comment: String,
    /// Such as dormant; ours has none.
    pub(super) flags: u32,
    /// Chains with the policies of those that hang in a hook.
    pub(super) chains: BTreeMap<String, Option<i32>>,
    /// The comments of each chain's rules, in their order.
    pub(super) rules: BTreeMap<String, Vec<String>>,
    pub(super) sets: BTreeSet<String>,
    /// Elements of the set that is filled once.
    pub(super) hairpin: usize,
}

/// The first thing that is not as we made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation(String);

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What each rule of a chain carries as its comment. Rules of one layout follow from the chain's name and the ranges, which
/// the table's comment has; a rule cannot be changed but by taking its place, and then it has another comment.
pub(super) fn rule_comment(position: usize, rules: usize) -> String {
    format!("{}/{rules}", position + 1)
}

impl Structure {
    /// Compares with the table for the ranges that its own comment tells.
    pub(super) fn check_itself(&self) -> Result<(), Deviation> {
        match layout::ranges_of(&self.comment) {
            Some(ranges) => self.check(&ranges),
            None => Err(Deviation(format!("it is made for {:?}", self.comment))),
        }
    }

    /// Compares with the table for `ranges`.
    pub(super) fn check(&self, ranges: &Ranges) -> Result<(), Deviation> {
        let deviation = |text: String| Err(Deviation(text));
        if self.comment != layout::comment(ranges) {
            return deviation(format!("it is made for {:?}", self.comment));
        }
        if self.flags != 0 {
            return deviation(format!("it has flags {:#x}", self.flags));
        }
        let sets: BTreeSet<String> = layout::sets().iter().map(|set| set.name.to_owned()).to_set();
        if let Some(set) = sets.symmetric_difference(&self.sets).next() {
            return deviation(format!("set {set}"));
        }
        if self.hairpin != ranges.pod_cidr.hosts().count() {
            return deviation(format!("elements of set {}", layout::HAIRPIN));
        }
        self.check_chains(ranges).map_or(Ok(()), deviation)
    }

    fn check_chains(&self, ranges: &Ranges) -> Option<String> {
        let fixed = layout::fixed_chains(ranges);
        if let Some(missing) = fixed.iter().find(|chain| !self.chains.contains_key(&chain.name)) {
            return Some(format!("chain {}", missing.name));
        }
        for (name, policy) in &self.chains {
            if policy.is_some_and(|policy| policy != abi::NF_ACCEPT) {
                return Some(format!("policy of chain {name}"));
            }
            let rules = match fixed.iter().find(|chain| chain.name == *name) {
                Some(chain) => Some(chain.rules.len()),
                None => layout::shared_rules(name, ranges),
            };
            let Some(rules) = rules else { return Some(format!("foreign chain {name}")) };
            let expected = (0..rules).map(|position| rule_comment(position, rules));
            let found = self.rules.get(name).map(Vec::as_slice).unwrap_or_default();
            if !expected.eq(found.iter().cloned()) {
                return Some(format!("rules of chain {name}"));
            }
        }
        None
    }
}

/// The chains among `existing` that no verdict of `live` leads to, each before those it refers to.
pub(super) fn unneeded<'a>(
    existing: impl Iterator<Item = &'a String>,
    live: impl Iterator<Item = &'a Verdict>,
) -> Vec<String> {
    let needed: BTreeSet<String> = live.flat_map(layout::chain_names).to_set();
    let shared = existing.filter_map(|name| Some((name, name.parse::<Verdict>().ok()?)));
    let mut unneeded: Vec<(u8, &String)> = shared
        .filter(|(name, verdict)| !layout::chain_names(verdict).is_empty() && !needed.contains(*name))
        .map(|(name, verdict)| (layout::depth(&verdict), name))
        .collect();
    skiff_ordered::sort_by(&mut unneeded, |a, b| b.cmp(a));
    unneeded.into_iter().map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges() -> Ranges {
        Ranges {
            pod_cidr: "10.244.7.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
        }
    }

    fn verdict(name: &str) -> Verdict {
        name.parse().unwrap()
    }

    /// The table as we make it, with the chains of one verdict.
    fn whole() -> Structure {
        let mut structure = Structure {
            comment: layout::comment(&ranges()),
            sets: layout::sets().iter().map(|set| set.name.to_owned()).collect(),
            hairpin: 254,
            ..Structure::default()
        };
        let shared = layout::shared_chains(&verdict("split.n2-60.o1-60"), &ranges());
        for chain in layout::fixed_chains(&ranges()).into_iter().chain(shared) {
            let hook = layout::BASE_CHAINS.iter().find(|base| base.name == chain.name);
            structure.chains.insert(chain.name.clone(), hook.map(|_| abi::NF_ACCEPT));
            let comments = (0..chain.rules.len()).map(|at| rule_comment(at, chain.rules.len())).collect();
            structure.rules.insert(chain.name, comments);
        }
        structure
    }

    #[test]
    fn what_is_not_ours_or_not_there_is_found() {
        assert_eq!(whole().check(&ranges()), Ok(()));
        let check = |spoil: fn(&mut Structure)| {
            let mut structure = whole();
            spoil(&mut structure);
            structure.check(&ranges()).unwrap_err().to_string()
        };
        assert_eq!(check(|s| s.flags = 1), "it has flags 0x1");
        assert_eq!(check(|s| s.hairpin -= 1), "elements of set hairpin");
        assert_eq!(check(|s| assert!(s.sets.remove("endpoints"))), "set endpoints");
        assert_eq!(check(|s| assert!(s.sets.insert("mine".into()))), "set mine");
        assert_eq!(check(|s| assert!(s.chains.remove("output").is_some())), "chain output");
        assert_eq!(check(|s| assert!(s.chains.insert("mine".into(), None).is_none())), "foreign chain mine");
        let drops =
            |s: &mut Structure| assert!(s.chains.insert("output".into(), Some(abi::NF_DROP)).is_some());
        assert_eq!(check(drops), "policy of chain output");
        assert_eq!(check(|s| drop(s.rules.remove("refuse"))), "rules of chain refuse");
        let swapped = |s: &mut Structure| s.rules.get_mut("n2").unwrap().swap(0, 1);
        assert_eq!(check(swapped), "rules of chain n2");
        let replaced = |s: &mut Structure| s.rules.get_mut("o1-60").unwrap()[0].clear();
        assert_eq!(check(replaced), "rules of chain o1-60");
        assert!(check(|s| s.comment.push('x')).starts_with("it is made for"));
    }

    #[test]
    fn chains_that_no_verdict_leads_to_are_not_needed() {
        let existing: Vec<String> =
            ["refuse", "prerouting", "n1", "n2", "n2-60", "n2-61", "o1", "split.n2-60.o1"]
                .map(str::to_owned)
                .into();
        let check = |live: &[&str]| {
            let live: Vec<Verdict> = live.iter().map(|name| verdict(name)).collect();
            unneeded(existing.iter(), live.iter()).join(" ")
        };
        assert_eq!(check(&["split.n2-60.o1", "n1"]), "n2-61");
        assert_eq!(check(&["n2-60", "n1", "drop"]), "split.n2-60.o1 n2-61 o1");
        assert_eq!(check(&["refuse"]), "split.n2-60.o1 n2-61 n2-60 o1 n2 n1");
    }

    #[test]
    fn names_and_chains_of_a_verdict_agree() {
        for name in
            ["refuse", "drop", "n1", "n5-10800", "o3", "split.n5.o2", "split.n5-60.drop", "split.n2.o2-9"]
        {
            let made: Vec<String> = layout::shared_chains(&verdict(name), &ranges())
                .into_iter()
                .map(|chain| chain.name)
                .collect();
            assert_eq!(layout::chain_names(&verdict(name)), made);
        }
    }
}
