//! What can go wrong, in kubectl's words, and how a run ends.

use std::process::ExitCode;

use kube::core::Status;
use thiserror::Error;

/// Everything that ends a run with exit code 1. The texts are those that kubectl's users know.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("{}", server_text(.0))]
    Server(Box<Status>),
    #[error("Unable to connect to the server: {0}")]
    Connection(String),
    #[error("The connection to the server {0} was refused - did you specify the right host or port?")]
    Refused(String),
    #[error("error: {0}")]
    Usage(String),
    /// What is said as it is.
    #[error("{0}")]
    Plain(String),
    #[error("error: {0}")]
    Output(#[from] skiff_print::OutputError),
    #[error("error: {0}")]
    Io(#[from] std::io::Error),
    #[error("error: the server's answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("error: {path}: {reason}")]
    Manifest { path: String, reason: String },
    /// Several objects failed, each for a reason of its own.
    #[error("{}", lines(.0))]
    Many(Vec<Error>),
}

/// A line each, without the word before it that a single one has.
fn lines(errors: &[Error]) -> String {
    let line = |error: &Error| {
        let text = error.to_string();
        match error {
            Error::Server(_) => text,
            _ => text.strip_prefix("error: ").unwrap_or(&text).to_owned(),
        }
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `Error from server (NotFound): pods "x" not found`; of invalid objects each field is named.
fn server_text(status: &Status) -> String {
    match status.reason.as_str() {
        "Invalid" => invalid_text(status),
        "Unauthorized" => format!("error: You must be logged in to the server ({})", status.message),
        "" => format!("Error from server: {}", status.message),
        reason => format!("Error from server ({reason}): {}", status.message),
    }
}

fn invalid_text(status: &Status) -> String {
    let unnamed = "The request is invalid";
    let Some(details) = &status.details else {
        return if status.message.is_empty() {
            unnamed.to_owned()
        } else {
            format!("{unnamed}: {}", status.message)
        };
    };
    let mut causes: Vec<String> = Vec::new();
    for cause in &details.causes {
        let text = format!("{}: {}", cause.field, cause.message);
        if !causes.contains(&text) {
            causes.push(text);
        }
    }
    let named = !details.kind.is_empty() || !details.name.is_empty();
    let what = match named {
        true => format!("The {} \"{}\" is invalid", details.kind, details.name),
        false if causes.is_empty() && !status.message.is_empty() => format!("{unnamed}: {}", status.message),
        false => unnamed.to_owned(),
    };
    match causes.as_slice() {
        [] => what,
        [cause] => format!("{what}: {cause}"),
        causes => format!("{what}: \n* {}", causes.join("\n* ")),
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Server(status),
            kube::Error::SerdeError(error) => Self::Answer(error),
            other => Self::Connection(skiff_errors::error_text(&other)),
        }
    }
}

impl Error {
    /// `failed to create deployment: …`, with what the server said.
    pub(crate) fn context(self, what: &str) -> Self {
        match self {
            Self::Server(status) => Self::Usage(format!("{what}{}", status.message)),
            other => other,
        }
    }

    /// Whether all went well; otherwise the one error, or all of them.
    pub(crate) fn of_all(results: Vec<Result<(), Self>>) -> Result<(), Self> {
        Self::all(results.into_iter().filter_map(Result::err).collect())
    }

    /// Nothing, the one error, or all of them.
    pub(crate) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Many(errors)),
        }
    }

    pub(crate) fn usage(text: impl std::fmt::Display) -> Self {
        Self::Usage(text.to_string())
    }

    /// Whether somebody else changed the object meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Server(status) if status.code == 409 && status.reason == "Conflict")
    }

    /// Whether the server said that the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Server(status) if status.code == 404)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Some objects failed; each was reported.
    Failed,
    /// A remote command ended with this code.
    Exited(u8),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
            Outcome::Exited(code) => Self::from(code),
        }
    }
}
