//! Which API failures a client acts on, told apart in one place.

use kube::Error;

/// The object (or its namespace, or its kind) does not exist.
pub fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_not_found())
}

/// An object of that name exists already.
pub fn is_already_exists(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_already_exists())
}

/// Somebody else changed the object since it was read, or a precondition did not hold.
pub fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_conflict() && !status.is_already_exists())
}

/// A create was refused because the namespace is being deleted: there is nothing left to do.
pub fn is_namespace_terminating(error: &Error) -> bool {
    let Error::Api(status) = error else { return false };
    let caused = |cause: &kube::core::response::StatusCause| cause.reason == "NamespaceTerminating";
    status.is_forbidden() && status.details.as_ref().is_some_and(|details| details.causes.iter().any(caused))
}

/// The failure in the words of the API server, for conditions and events; other failures in our own.
pub fn describe(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}
