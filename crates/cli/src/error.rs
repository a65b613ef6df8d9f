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
    #[error("error: {0}")]
    Usage(String),
    #[error("error: {0}")]
    Output(#[from] skiff_print::OutputError),
    #[error("error: {0}")]
    Io(#[from] std::io::Error),
    #[error("error: the server's answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("error: {path}: {reason}")]
    Manifest { path: String, reason: String },
}

/// `Error from server (NotFound): pods "x" not found`; invalid objects are named first, as kubectl does.
fn server_text(status: &Status) -> String {
    if status.reason == "Invalid"
        && let Some(details) = &status.details
    {
        let text =
            status.message.split_once(" is invalid: ").map_or(status.message.as_str(), |(_, rest)| rest);
        return format!("The {} \"{}\" is invalid: {text}", details.kind, details.name);
    }
    if status.reason.is_empty() {
        return format!("Error from server: {}", status.message);
    }
    format!("Error from server ({}): {}", status.reason, status.message)
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
