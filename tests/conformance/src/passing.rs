//! The list of tests that pass, and of those that cannot pass here.

use std::collections::BTreeSet;
use std::fmt;

/// Names of tests that are known to pass, one a line in their file, sorted by bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passing(BTreeSet<String>);

/// Tests that one node without a way out cannot pass, each with what it needs.
const BEYOND: &str = include_str!("../beyond.tsv");

/// The tests that cannot pass here, with what they need.
pub(crate) fn beyond() -> impl Iterator<Item = (&'static str, &'static str)> {
    BEYOND.lines().filter_map(|line| line.split_once('\t'))
}

/// How a run of all tests differs from the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Listed, and did not pass.
    pub(crate) lost: Vec<String>,
    /// Passed, and not listed.
    pub(crate) gained: Vec<String>,
}

impl Passing {
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    pub(crate) fn compare<'a>(&self, passed: impl Iterator<Item = &'a str>) -> Comparison {
        let passed: BTreeSet<String> = passed.map(str::to_owned).collect();
        Comparison {
            lost: self.0.difference(&passed).cloned().collect(),
            gained: passed.difference(&self.0).cloned().collect(),
        }
    }

    /// The list with these names as well.
    pub(crate) fn with(&self, names: &[String]) -> Self {
        Self(self.0.iter().chain(names).cloned().collect())
    }
}

impl fmt::Display for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|name| writeln!(f, "{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_compared_with_the_list() {
        let listed = Passing::parse("a\nb\nc\n");
        let found = listed.compare(["d", "c", "a"].into_iter());
        assert_eq!(found, Comparison { lost: vec!["b".to_owned()], gained: vec!["d".to_owned()] });
        assert_eq!(listed.with(&found.gained).to_string(), "a\nb\nc\nd\n");
    }

    #[test]
    fn the_committed_list_is_as_it_would_be_written() {
        let text = include_str!("../passing.txt");
        assert_eq!(Passing::parse(text).to_string(), text);
        assert!(text.lines().all(|name| name.contains("[Conformance]")));
    }

    #[test]
    fn no_test_that_passes_is_said_to_be_beyond_reach() {
        let listed = Passing::parse(include_str!("../passing.txt"));
        assert_eq!(beyond().count(), BEYOND.lines().count());
        for (name, needs) in beyond() {
            assert!(name.contains("[Conformance]") && !needs.is_empty(), "{name}");
            assert!(!listed.0.contains(name), "{name}");
        }
    }
}
