//! What was given on the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::line::duration;
use crate::line::flag::{Flag, Takes};

/// The words and flags of a command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// The command with the groups that it is in, e.g. `kubectl create deployment`.
    pub(crate) path: String,
    /// Words that are no flags.
    pub(crate) words: Vec<String>,
    /// How many of the words stood before `--`.
    pub(crate) before_dash: Option<usize>,
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
}

impl Given {
    pub(crate) fn is_given(&self, flag: &Flag) -> bool {
        self.values.contains_key(flag.long)
    }

    /// The value that counts, or the default.
    pub(crate) fn text(&self, flag: &Flag) -> &str {
        self.values.get(flag.long).and_then(|values| values.last()).map_or(flag.default, String::as_str)
    }

    /// The value, unless it is empty.
    pub(crate) fn some(&self, flag: &Flag) -> Option<&str> {
        Some(self.text(flag)).filter(|text| !text.is_empty())
    }

    pub(crate) fn all(&self, flag: &Flag) -> &[String] {
        self.values.get(flag.long).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_on(&self, flag: &Flag) -> bool {
        truth(self.text(flag)).unwrap_or(false)
    }

    pub(crate) fn number(&self, flag: &Flag) -> i64 {
        self.text(flag).parse().unwrap_or_default()
    }

    /// A time; what is below zero has no bound.
    pub(crate) fn time(&self, flag: &Flag) -> Option<Duration> {
        duration::parse(self.text(flag)).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos)
    }

    /// The one name that the command is about.
    pub(crate) fn name(&self) -> Result<&str, Error> {
        let words = &self.words[..self.before_dash.unwrap_or(self.words.len())];
        match words {
            [name] => Ok(name),
            _ => Err(self.misuse(format_args!("exactly one NAME is required, got {}", words.len()))),
        }
    }

    /// What stood after `--`.
    pub(crate) fn after_dash(&self) -> &[String] {
        self.before_dash.map_or(&[], |at| &self.words[at..])
    }

    pub(crate) fn no_words(&self) -> Result<(), Error> {
        if self.words.is_empty() {
            return Ok(());
        }
        Err(self.misuse(format_args!("unexpected arguments: [{}]", self.words.join(" "))))
    }

    /// An error after which the command's help is named.
    pub(crate) fn misuse(&self, text: impl std::fmt::Display) -> Error {
        Error::Usage(format!("{text}\nSee '{} -h' for help and examples", self.path))
    }

    /// The same with a flag given as well.
    pub(crate) fn with(&self, flag: &Flag, value: String) -> Self {
        let mut given = self.clone();
        given.put(flag, value);
        given
    }

    /// The same as if the flag were not given.
    pub(crate) fn without(&self, flag: &Flag) -> Self {
        let mut given = self.clone();
        given.values.remove(flag.long);
        given
    }

    pub(super) fn put(&mut self, flag: &Flag, value: String) {
        let values = self.values.entry(flag.long).or_default();
        match flag.takes {
            Takes::List => values.extend(list(&value)),
            _ => values.push(value),
        }
    }
}

/// Values separated by commas; one with commas in it is quoted.
fn list(text: &str) -> Vec<String> {
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            c => value.push(c),
        }
    }
    if !text.is_empty() {
        values.push(value);
    }
    values
}

/// The spellings of true and false that kubectl's flags take.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
