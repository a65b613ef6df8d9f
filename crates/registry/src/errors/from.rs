//! What errors of other crates mean to clients.

use skiff_auth::Refusal;
use skiff_store::{CommitError, ReadError};

use super::{ApiError, Subject};

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { .. } => Self::Expired {
                message: "The resourceVersion for the provided list is too old.".to_owned(),
                continue_token: String::new(),
            },
            ReadError::Future { requested, current } => Self::FutureRevision { requested, current },
            ReadError::Backend(_) | ReadError::Closed { .. } => Self::internal(&error),
        }
    }
}

impl From<CommitError> for ApiError {
    /// For commits whose conflicts the caller has handled; one that is left over is an internal error.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed | CommitError::Storage(_) => Self::Unavailable { message: error.to_string() },
            CommitError::Full => Self::StorageFull { message: error.to_string() },
            CommitError::Conflict { .. } | CommitError::Unsealed { .. } => Self::internal(&error),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Forbidden(message) => {
                Self::Forbidden { subject: Subject::default(), message, causes: Vec::new() }
            }
            Refusal::Denied { group, resource, name, message } => {
                let subject = Subject { group: group.into(), ..Subject::core(&resource, name) };
                Self::Forbidden { subject, message, causes: Vec::new() }
            }
            Refusal::NotFound { group, resource, name } => {
                Self::NotFound(Subject { group: group.into(), ..Subject::core(resource, name) })
            }
            Refusal::Conflict { resource, name, message } => {
                Self::Conflict { subject: Subject::core(resource, name), message }
            }
            Refusal::Invalid { group, kind, name, errors } => {
                let subject = Subject {
                    group: group.into(),
                    kind: kind.into(),
                    name: name.into(),
                    ..Subject::default()
                };
                Self::invalid(subject, errors)
            }
            Refusal::BadRequest(message) => Self::BadRequest(message),
            Refusal::Internal { .. } => Self::internal(&refusal),
        }
    }
}
