//! The one mapping from everything that can go wrong to `metav1.Status`, in Kubernetes' words.

mod from;
mod status;

use std::collections::HashSet;

use http::StatusCode;
use serde_json::Value;
use skiff_machinery::{FieldErrors, Kind};
use skiff_store::Revision;
use thiserror::Error;

/// What an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// API group; empty for core.
    pub group: Box<str>,
    /// Plural resource, e.g. `services`, possibly with a subresource (`pods/binding`).
    pub resource: Box<str>,
    /// Kind, e.g. `Service`.
    pub kind: Box<str>,
    /// Name of the object; empty when the request names none.
    pub name: Box<str>,
}

impl Subject {
    /// An object of a kind.
    pub fn new(kind: &Kind, name: impl Into<Box<str>>) -> Self {
        Self {
            group: kind.gv.group.as_ref().into(),
            resource: kind.names.plural.as_ref().into(),
            kind: kind.names.kind.as_ref().into(),
            name: name.into(),
        }
    }

    /// An object of the core group, for kinds that the pipeline itself refers to.
    pub fn core(resource: &str, name: impl Into<Box<str>>) -> Self {
        Self { resource: resource.into(), name: name.into(), ..Self::default() }
    }

    fn qualified_resource(&self) -> String {
        qualified(&self.resource, &self.group)
    }

    fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// One entry of `Status.details.causes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, e.g. `NamespaceTerminating`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Path of the field concerned; may be empty.
    pub field: String,
}

/// Why a request was refused. The display text is the `message` of the Status.
#[derive(Debug, Error)]
pub enum ApiError {
    /// 401: the credentials are not valid.
    #[error("Unauthorized")]
    Unauthorized,
    /// 403, with the whole message.
    #[error("{message}")]
    Forbidden {
        /// What may not be touched.
        subject: Subject,
        /// The whole message.
        message: String,
        /// Why in particular; usually empty.
        causes: Vec<Cause>,
    },
    /// 400: what stands in the place of a path is none. Answered in plain text.
    #[error("400 Bad Request")]
    MalformedPath,
    /// A status code without a word, as Kubernetes' descriptions are refused with.
    #[error("{0}")]
    Silent(StatusCode),
    /// 404: a path that leads nowhere. Answered in plain text.
    #[error("404 page not found")]
    NoSuchPage,
    /// 404: no such resource in a group and version that is served.
    #[error("the server could not find the requested resource")]
    UnknownPath,
    /// 404: no such object.
    #[error("{} {:?} not found", .0.qualified_resource(), .0.name)]
    NotFound(Subject),
    /// 405.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// 405 of a custom kind.
    #[error("{verb} is not supported on resources of kind {:?}", .subject.qualified_resource())]
    NotSupported {
        /// The kind.
        subject: Subject,
        /// What authorisation calls the method.
        verb: &'static str,
    },
    /// 406, with the media types on offer.
    #[error("only the following media types are accepted: {0}")]
    NotAcceptable(&'static str),
    /// 406: nothing of what is offered is named in full.
    #[error("406: Not Acceptable\n\nAvailable representations: {0}")]
    NoRepresentation(&'static str),
    /// 406: what is asked for cannot be shown in this way. The whole message.
    #[error("{0}")]
    NoSuchView(String),
    /// 409 on create.
    #[error("{} {:?} already exists", .0.qualified_resource(), .0.name)]
    AlreadyExists(Subject),
    /// 409 on create with `generateName`, after all attempts.
    #[error("{} {:?} already exists, the server was not able to generate a unique name for the object", .0.qualified_resource(), .0.name)]
    GeneratedNamesTaken(Subject),
    /// 409 on update or delete.
    #[error("Operation cannot be fulfilled on {} {:?}: {message}", .subject.qualified_resource(), .subject.name)]
    Conflict {
        /// The object.
        subject: Subject,
        /// What does not fit.
        message: String,
    },
    /// 409 of server-side apply: other managers own fields.
    #[error("{message}")]
    ApplyConflict {
        /// The whole message.
        message: String,
        /// One per field.
        causes: Vec<Cause>,
    },
    /// 410: the revision or continue token is too old.
    #[error("{message}")]
    Expired {
        /// The whole message.
        message: String,
        /// A token that continues with an inconsistent rest; empty when there is none.
        continue_token: String,
    },
    /// 413, with the limit in bytes.
    #[error("Request entity too large: limit is {0}")]
    TooLarge(usize),
    /// 415, with the media types on offer.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(&'static str),
    /// 415: a patch of another format than there are.
    #[error("415: Unsupported Media Type")]
    UnknownPatch,
    /// 413: a JSON patch with more operations than are taken. The whole message.
    #[error("{0}")]
    TooManyOperations(String),
    /// 422: fields of the object (or of the options) are wrong.
    #[error("{} {:?} is invalid: {}", .subject.qualified_kind(), .subject.name, aggregate(.errors))]
    Invalid {
        /// The object.
        subject: Subject,
        /// In the order found; not empty.
        errors: FieldErrors,
    },
    /// 422: a patch cannot be applied.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable,
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 429: no place among the requests that are worked on.
    #[error("Too many requests, please try again later.")]
    TooManyRequests,
    /// 429: a disruption budget forbids to evict a pod.
    #[error("Cannot evict pod as it would violate the pod's disruption budget.")]
    BudgetSpent {
        /// In which way.
        why: String,
        /// When to ask again, in seconds.
        retry: Option<u32>,
    },
    /// 429: one user has so many watches and streams open that there is no place for more of them.
    #[error(
        "Too many requests, please try again later: you have {0} watches and streams open, as many as one user may."
    )]
    TooManyOfUser(usize),
    /// 500.
    #[error("Internal error occurred: {0}")]
    Internal(String),
    /// 500 without a reason, as Kubernetes answers where its code forgot one.
    #[error("{0}")]
    Unclassified(String),
    /// 503: a backend of the request (store, node) does not answer.
    #[error("{message}")]
    Unavailable {
        /// The whole message.
        message: String,
    },
    /// 507: the store's disk is full; nothing was written.
    #[error("{message}")]
    StorageFull {
        /// The whole message.
        message: String,
    },
    /// 504: it took longer than a request may. Of a collection, some may have been deleted.
    #[error("Timeout: request did not complete within the allotted timeout")]
    Overdue,
    /// 504: the revision asked for is yet to come.
    #[error("Timeout: Too large resource version: {requested}, current: {current}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The newest.
        current: Revision,
    },
    /// A Status that another server (a node) made, passed on.
    #[error("{}", .0["message"].as_str().unwrap_or_default())]
    Passed(Value),
}

/// Several errors print in brackets, one alone does not; repetitions are dropped.
pub fn aggregate(errors: &FieldErrors) -> String {
    let mut known = HashSet::new();
    // A request of one body may have a hundred thousand errors.
    let texts: Vec<String> =
        errors.iter().map(ToString::to_string).filter(|text| known.insert(text.clone())).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

impl ApiError {
    /// 409: the object has another `resourceVersion` than the request.
    pub fn modified(subject: Subject) -> Self {
        Self::Conflict { subject, message: MODIFIED.to_owned() }
    }

    /// 403 worded `pods "x" is forbidden: WHY`.
    pub fn forbidden(subject: Subject, why: &str) -> Self {
        let message = format!("{} {:?} is forbidden: {why}", subject.qualified_resource(), subject.name);
        Self::Forbidden { subject, message, causes: Vec::new() }
    }

    /// 422 with at least one error.
    pub fn invalid(subject: Subject, errors: impl Into<FieldErrors>) -> Self {
        Self::Invalid { subject, errors: errors.into().told() }
    }

    /// 500 from an error of ours, which is logged with its sources.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self::Internal(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_machinery::{FieldError, MOST_ERRORS};

    #[test]
    fn lists_a_bounded_number_of_errors() {
        let errors = (0..2000).map(|i| FieldError::required(format!("spec.items[{i}]"), ""));
        let status = ApiError::invalid(Subject::core("pods", "x"), FieldErrors::from_iter(errors)).status();
        assert_eq!(status["details"]["causes"].as_array().unwrap().len(), MOST_ERRORS + 1);
        assert!(
            status["message"].as_str().unwrap().ends_with("errors: Too many: must have at most 1000 items]")
        );
    }
}
