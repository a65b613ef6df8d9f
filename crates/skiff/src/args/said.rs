//! What options say, as one list: from it come the command line of another process and what two of them differ in.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::path::{self, Path};

/// Options that can be handed on.
pub(crate) trait Options {
    /// Each option by the name of its argument.
    fn said(&self) -> Said;

    /// Whether they say nothing but what is usual.
    fn is_empty(&self) -> bool {
        self.said().words().is_empty()
    }
}

/// Names of arguments, as clap knows them, with what is said.
#[derive(Debug, Default)]
pub(crate) struct Said(Vec<(&'static str, Value)>);

#[derive(Debug, PartialEq, Eq)]
enum Value {
    Nothing,
    Flag(bool),
    Text { text: OsString, usual: bool },
}

impl Said {
    /// An option that is given or not.
    pub(crate) fn flag(self, name: &'static str, is: bool) -> Self {
        self.with(name, Value::Flag(is))
    }

    /// An option with a default value.
    pub(crate) fn text(self, name: &'static str, value: impl Display, usual: &str) -> Self {
        let text = value.to_string();
        let usual = text == usual;
        self.with(name, Value::Text { text: text.into(), usual })
    }

    /// An option without one.
    pub(crate) fn maybe(self, name: &'static str, value: Option<impl Display>) -> Self {
        let said = |value: String| Value::Text { text: value.into(), usual: false };
        self.with(name, value.map_or(Value::Nothing, |value| said(value.to_string())))
    }

    /// A file, wherever the process is started; standard output stays that.
    pub(crate) fn file(self, name: &'static str, file: Option<impl AsRef<Path>>) -> Self {
        let said = |file: &Path| {
            let stays = file == Path::new("-");
            // Only without a current directory there is no absolute path; who reads the file says so.
            let text = if stays { None } else { path::absolute(file).ok() };
            Value::Text { text: text.unwrap_or_else(|| file.to_owned()).into(), usual: false }
        };
        self.with(name, file.map_or(Value::Nothing, |file| said(file.as_ref())))
    }

    /// These and others.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.0.push((name, value));
        self
    }

    /// The words of a command line that says the same.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let word = |(name, value): &(&str, Value)| match value {
            Value::Nothing | Value::Flag(false) | Value::Text { usual: true, .. } => None,
            Value::Flag(true) => Some(format!("--{}", option(name)).into()),
            Value::Text { text, usual: false } => {
                let mut word = OsString::from(format!("--{}=", option(name)));
                word.push(text);
                Some(word)
            }
        };
        self.0.iter().filter_map(word).collect()
    }

    /// What is said here and in another list of the same options: name, here, there.
    pub(crate) fn pairs<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'static str, String, String)> + 'a {
        self.0
            .iter()
            .zip(&other.0)
            .map(|((name, here), (_, there))| (*name, here.to_string(), there.to_string()))
    }
}

/// An option as it is written, without the hyphens before it.
pub(crate) fn option(name: &str) -> String {
    name.replace('_', "-")
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Flag(is) => is.fmt(f),
            Self::Text { text, .. } if text.is_empty() => f.write_str("none"),
            Self::Text { text, .. } => text.display().fmt(f),
        }
    }
}
