//! Kubernetes' own end-to-end suite on a cluster of skiff: `./dev conformance [FOCUS]`.
//!
//! The suite is Kubernetes' program, unchanged; `build` and `images` beside this crate make it and the images that its
//! tests start. Each test is a process of its own with a bound. What passes is listed in `passing.txt`: the list may only
//! grow, so a run of everything fails when a listed test does not pass, and names the tests that can be added.

mod outcome;
mod passing;
mod results;
mod run;
mod suite;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use passing::{Comparison, Passing};
use regex::Regex;
use results::Results;
use run::{End, Events, Node, Run};
use suite::Suite;

const USAGE: &str = "usage: skiff-conformance DIRECTORY [FOCUS]

Runs the conformance tests of the suite in DIRECTORY, or those whose names the regular expression FOCUS matches.
DIRECTORY/results.tsv tells how each ended, DIRECTORY/logs what each printed.
SKIFF_TEST_BINARY names the skiff to test, SKIFF_CONFORMANCE_JOBS how many tests may run at a time (3).";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match conformance(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("skiff-conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn conformance(args: &[&str]) -> anyhow::Result<ExitCode> {
    let (directory, focus) = match args {
        [directory] => (directory, None),
        [directory, focus] => (directory, Some(Regex::new(focus).context("FOCUS is no regular expression")?)),
        _ => bail!(USAGE),
    };
    let jobs = match std::env::var("SKIFF_CONFORMANCE_JOBS") {
        Ok(text) => text.parse::<NonZeroUsize>().context("SKIFF_CONFORMANCE_JOBS is no number from 1")?.get(),
        Err(_) => 3,
    };
    let directory = Path::new(directory);
    let suite = Suite::open(directory)?;
    let mut tests = suite.conformance_tests()?;
    if let Some(focus) = &focus {
        tests.retain(|test| focus.is_match(test.name()));
    }
    if tests.is_empty() {
        bail!("no conformance test has such a name");
    }
    let mut results = Results::create(directory)?;
    let events = Events::watch()?;
    let node = Node::start(&directory.join("images"))?;
    let end = Run { node: &node, suite: &suite, events: &events, jobs }.all(tests, &mut results)?;
    drop(node);
    eprintln!("{}; see {}", results.summary(), directory.join("results.tsv").display());
    match (end, focus) {
        (End::Interrupted, _) => bail!("interrupted"),
        (End::Complete, None) => compare(directory, &results),
        (End::Complete, Some(_)) => {
            Ok(if results.all_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Holds the results of all tests against the list.
fn compare(directory: &Path, results: &Results) -> anyhow::Result<ExitCode> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/passing.txt"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let listed = Passing::parse(&text);
    let Comparison { lost, gained } = listed.compare(results.passed());
    for name in &lost {
        eprintln!("listed, and did not pass: {name}");
    }
    let failed = |name: &str| results.passed().all(|passed| passed != name);
    for (name, needs) in passing::beyond().filter(|(name, _)| failed(name)) {
        eprintln!("needs {needs}: {name}");
    }
    for name in &gained {
        eprintln!("new: {name}");
    }
    if !gained.is_empty() {
        let longer = directory.join("passing.txt");
        std::fs::write(&longer, listed.with(&gained).to_string())
            .with_context(|| longer.display().to_string())?;
        eprintln!("{} tests are new: cp {} {}", gained.len(), longer.display(), path.display());
    }
    Ok(if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
