//! What came of the tests, as a table that is complete after each of them.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::outcome::Outcome;
use crate::suite::Test;

/// The outcome of each test that has run.
#[derive(Debug)]
pub(crate) struct Results {
    table: File,
    logs: PathBuf,
    done: Vec<(Test, Outcome)>,
}

impl Results {
    /// Begins a new table, `results.tsv`, and a new folder of logs beside it.
    pub(crate) fn create(directory: &Path) -> anyhow::Result<Self> {
        let logs = directory.join("logs");
        if logs.exists() {
            std::fs::remove_dir_all(&logs).with_context(|| logs.display().to_string())?;
        }
        std::fs::create_dir(&logs).with_context(|| logs.display().to_string())?;
        let path = directory.join("results.tsv");
        let mut table = File::create(&path).with_context(|| path.display().to_string())?;
        writeln!(table, "test\tresult\tseconds\tlog\treason")?;
        Ok(Self { table, logs, done: Vec::new() })
    }

    /// Where logs go.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    pub(crate) fn add(&mut self, test: Test, outcome: Outcome, took: Duration) -> anyhow::Result<()> {
        writeln!(self.table, "{}", row(&test, &outcome, took)).context("writing the table of results")?;
        self.done.push((test, outcome));
        Ok(())
    }

    /// How many tests have run.
    pub(crate) fn count(&self) -> usize {
        self.done.len()
    }

    /// Names of the tests that passed.
    pub(crate) fn passed(&self) -> impl Iterator<Item = &str> {
        self.done.iter().filter(|(_, outcome)| *outcome == Outcome::Passed).map(|(test, _)| test.name())
    }

    pub(crate) fn all_passed(&self) -> bool {
        self.passed().count() == self.count()
    }

    /// One line of numbers.
    pub(crate) fn summary(&self) -> String {
        format!("{} of {} tests passed", self.passed().count(), self.count())
    }
}

fn row(test: &Test, outcome: &Outcome, took: Duration) -> String {
    let reason = outcome.reason().replace('\t', " ");
    format!("{}\t{}\t{}\t{}\t{reason}", test.name(), outcome.word(), took.as_secs(), test.log())
}
