//! The one mapping from everything that can go wrong to `metav1.Status`, in Kubernetes' words.

use std::collections::HashSet;

use http::StatusCode;
use serde_json::{Map, Value, json};
use skiff_auth::Refusal;
use skiff_machinery::{FieldErrors, Kind};
use skiff_store::{CommitError, ReadError, Revision};
use thiserror::Error;

/// What an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// API group; empty for core.
    pub(crate) group: Box<str>,
    /// Plural resource, e.g. `services`, possibly with a subresource (`pods/binding`).
    pub(crate) resource: Box<str>,
    /// Kind, e.g. `Service`.
    pub(crate) kind: Box<str>,
    /// Name of the object; empty when the request names none.
    pub(crate) name: Box<str>,
}

impl Subject {
    /// An object of a kind.
    pub(crate) fn new(kind: &Kind, name: impl Into<Box<str>>) -> Self {
        Self {
            group: kind.gv.group.as_ref().into(),
            resource: kind.names.plural.as_ref().into(),
            kind: kind.names.kind.as_ref().into(),
            name: name.into(),
        }
    }

    /// An object of the core group, for kinds that the pipeline itself refers to.
    pub(crate) fn core(resource: &str, name: impl Into<Box<str>>) -> Self {
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
pub(crate) struct Cause {
    /// Machine-readable, e.g. `NamespaceTerminating`.
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
    /// Path of the field concerned; may be empty.
    pub(crate) field: String,
}

/// Why a request was refused. The display text is the `message` of the Status.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
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
pub(crate) fn aggregate(errors: &FieldErrors) -> String {
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
    pub(crate) fn modified(subject: Subject) -> Self {
        Self::Conflict { subject, message: MODIFIED.to_owned() }
    }

    /// 403 worded `pods "x" is forbidden: WHY`.
    pub(crate) fn forbidden(subject: Subject, why: &str) -> Self {
        let message = format!("{} {:?} is forbidden: {why}", subject.qualified_resource(), subject.name);
        Self::Forbidden { subject, message, causes: Vec::new() }
    }

    /// 422 with at least one error.
    pub(crate) fn invalid(subject: Subject, errors: impl Into<FieldErrors>) -> Self {
        Self::Invalid { subject, errors: errors.into().told() }
    }

    /// 500 from an error of ours, which is logged with its sources.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self::Internal(text)
    }

    /// HTTP status code and `Status.reason`.
    fn class(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NoSuchPage | Self::UnknownPath | Self::NotFound(_) => (StatusCode::NOT_FOUND, "NotFound"),
            Self::MethodNotAllowed | Self::NotSupported { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")
            }
            Self::NotAcceptable(_) | Self::NoRepresentation(_) | Self::NoSuchView(_) => {
                (StatusCode::NOT_ACCEPTABLE, "NotAcceptable")
            }
            Self::AlreadyExists(_) | Self::GeneratedNamesTaken(_) => (StatusCode::CONFLICT, "AlreadyExists"),
            Self::Conflict { .. } | Self::ApplyConflict { .. } => (StatusCode::CONFLICT, "Conflict"),
            Self::Expired { .. } => (StatusCode::GONE, "Expired"),
            Self::TooLarge(_) | Self::TooManyOperations(_) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge")
            }
            Self::UnsupportedMediaType(_) | Self::UnknownPatch => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType")
            }
            Self::Invalid { .. } | Self::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
            Self::BadRequest(_) | Self::MalformedPath => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::TooManyRequests | Self::TooManyOfUser(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Self::Unclassified(_) => (StatusCode::INTERNAL_SERVER_ERROR, ""),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            // Kubernetes has no reason of its own for it; there it is an internal error with etcd's words.
            Self::StorageFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "InternalError"),
            Self::FutureRevision { .. } => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
            Self::Passed(status) => (passed_code(status), ""),
            Self::Silent(code) => (*code, ""),
        }
    }

    /// The HTTP status code.
    pub(crate) fn code(&self) -> StatusCode {
        self.class().0
    }

    /// Seconds after which a retry makes sense: the `Retry-After` header.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::FutureRevision { .. } | Self::TooManyRequests | Self::TooManyOfUser(_) => Some(1),
            _ => None,
        }
    }

    /// The body of the answer.
    pub(crate) fn status(&self) -> Value {
        if let Self::Passed(status) = self {
            return status.clone();
        }
        let (code, reason) = self.class();
        let mut metadata = Map::new();
        if let Self::Expired { continue_token, .. } = self
            && !continue_token.is_empty()
        {
            metadata.insert("continue".to_owned(), continue_token.clone().into());
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.to_string(),
            "code": code.as_u16(),
        });
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        let details = self.details();
        // What a router or an authorizer refuses, and not a kind's handler, has details without anything in them.
        let routed = matches!(
            self,
            Self::UnknownPath
                | Self::Forbidden { .. }
                | Self::MethodNotAllowed
                | Self::NoRepresentation(_)
                | Self::UnknownPatch
                | Self::Unprocessable
        );
        if !details.is_empty() || routed {
            status["details"] = Value::Object(details);
        }
        status
    }

    fn details(&self) -> Map<String, Value> {
        let mut details = match self {
            Self::Forbidden { subject, .. }
            | Self::NotFound(subject)
            | Self::AlreadyExists(subject)
            | Self::GeneratedNamesTaken(subject)
            | Self::NotSupported { subject, .. }
            | Self::Conflict { subject, .. } => subject_details(subject, &subject.resource),
            Self::Invalid { subject, .. } => subject_details(subject, &subject.kind),
            _ => Map::new(),
        };
        let causes = self.causes();
        if !causes.is_empty() {
            details.insert("causes".to_owned(), causes.iter().map(cause_value).collect());
        }
        let retry = match self {
            Self::GeneratedNamesTaken(_) => Some(1),
            // In the body alone: at the header clients would try again ten times before they tell their user.
            Self::StorageFull { .. } => Some(FULL_RETRY),
            other => other.retry_after(),
        };
        if let Some(seconds) = retry {
            details.insert("retryAfterSeconds".to_owned(), seconds.into());
        }
        details
    }

    fn causes(&self) -> Vec<Cause> {
        let plain = |reason: &str, message: &str| Cause {
            reason: reason.to_owned(),
            message: message.to_owned(),
            field: String::new(),
        };
        match self {
            Self::Forbidden { causes, .. } | Self::ApplyConflict { causes, .. } => causes.clone(),
            Self::Invalid { errors, .. } => errors
                .iter()
                .map(|error| Cause {
                    reason: error.kind.cause().to_owned(),
                    message: error.body(),
                    field: error.field.clone(),
                })
                .collect(),
            Self::FutureRevision { .. } => {
                vec![plain("ResourceVersionTooLarge", "Too large resource version")]
            }
            Self::Internal(message) => vec![plain("", message)],
            _ => Vec::new(),
        }
    }
}

fn passed_code(status: &Value) -> StatusCode {
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn subject_details(subject: &Subject, kind: &str) -> Map<String, Value> {
    let mut details = Map::new();
    for (key, value) in [("name", &*subject.name), ("group", &*subject.group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    details
}

fn cause_value(cause: &Cause) -> Value {
    let mut map = Map::new();
    for (key, value) in [("reason", &cause.reason), ("message", &cause.message), ("field", &cause.field)] {
        if !value.is_empty() {
            map.insert(key.to_owned(), value.as_str().into());
        }
    }
    Value::Object(map)
}

/// After how many seconds a write to a full disk may be tried again; the store looks for room every second.
const FULL_RETRY: u32 = 10;

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { requested, oldest } => Self::Expired {
                message: format!("too old resource version: {requested} ({oldest})"),
                continue_token: String::new(),
            },
            ReadError::Future { requested, current } => Self::FutureRevision { requested, current },
            ReadError::Backend(_) => Self::internal(&error),
        }
    }
}

impl From<CommitError> for ApiError {
    /// For commits whose conflicts the caller has handled; one that is left over is an internal error.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed | CommitError::Storage(_) => Self::Unavailable { message: error.to_string() },
            CommitError::Full => Self::StorageFull { message: error.to_string() },
            CommitError::Conflict { .. } => Self::internal(&error),
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

    #[test]
    fn words_status_as_kubernetes_does() {
        let check = |error: ApiError, code: u64, reason: &str, message: &str| {
            let status = error.status();
            assert_eq!(status["code"], code);
            assert_eq!(status["reason"], reason);
            assert_eq!(status["message"], message);
        };
        let pod = || Subject { kind: "Pod".into(), ..Subject::core("pods", "x") };
        check(ApiError::NotFound(pod()), 404, "NotFound", r#"pods "x" not found"#);
        check(ApiError::AlreadyExists(pod()), 409, "AlreadyExists", r#"pods "x" already exists"#);
        let slice = Subject { group: "discovery.k8s.io".into(), ..Subject::core("endpointslices", "s") };
        check(
            ApiError::modified(slice),
            409,
            "Conflict",
            r#"Operation cannot be fulfilled on endpointslices.discovery.k8s.io "s": the object has been modified; please apply your changes to the latest version and try again"#,
        );
        check(
            ApiError::invalid(pod(), [FieldError::required("spec.containers", "")]),
            422,
            "Invalid",
            r#"Pod "x" is invalid: spec.containers: Required value"#,
        );
        check(ApiError::UnknownPath, 404, "NotFound", "the server could not find the requested resource");
    }

    #[test]
    fn details_name_object_and_causes() {
        let subject = Subject { kind: "Pod".into(), ..Subject::core("pods", "x") };
        let status = ApiError::invalid(subject, [FieldError::required("spec.a", "")]).status();
        assert_eq!(
            status["details"],
            json!({
                "name": "x",
                "kind": "Pod",
                "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.a"}],
            })
        );
    }
}
