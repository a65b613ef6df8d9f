//! Errors as the Status objects that clients read.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{ApiError, Cause, Subject};

/// After how many seconds a write to a full disk may be tried again; the store looks for room every second.
const FULL_RETRY: u32 = 10;

impl ApiError {
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
            Self::TooManyRequests | Self::TooManyOfUser(_) | Self::BudgetSpent { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Self::Unclassified(_) => (StatusCode::INTERNAL_SERVER_ERROR, ""),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            // Kubernetes has no reason of its own for it; there it is an internal error with etcd's words.
            Self::StorageFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "InternalError"),
            Self::FutureRevision { .. } | Self::Overdue => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
            Self::Passed(status) => (passed_code(status), ""),
            Self::Silent(code) => (*code, ""),
        }
    }

    /// The HTTP status code.
    pub fn code(&self) -> StatusCode {
        self.class().0
    }

    /// Seconds after which a retry makes sense: the `Retry-After` header.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::FutureRevision { .. } | Self::TooManyRequests | Self::TooManyOfUser(_) => Some(1),
            Self::BudgetSpent { retry, .. } => *retry,
            _ => None,
        }
    }

    /// The body of the answer.
    pub fn status(&self) -> Value {
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
                | Self::Overdue
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
            Self::BudgetSpent { why, .. } => vec![plain("DisruptionBudget", why)],
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

#[cfg(test)]
mod tests {
    use skiff_machinery::FieldError;

    use super::*;

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
