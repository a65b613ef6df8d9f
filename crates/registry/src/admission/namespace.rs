//! NamespaceLifecycle: objects live in namespaces that exist and are not going away, and some namespaces
//! stay.

use skiff_machinery::{Object, keys};

use super::review::{Review, Write};
use crate::errors::{ApiError, Cause, Subject};

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) async fn admit(review: &Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    if review.is_core("Namespace") {
        let name = review.old.map_or("", Object::name);
        if review.write == Write::Delete && IMMORTAL.contains(&name) {
            return Err(ApiError::forbidden(call.subject(name), "this namespace may not be deleted"));
        }
        return Ok(());
    }
    let namespace = call.namespace();
    // Asking what one may do is possible to the end.
    let asks = call.kind.gv.group == "authorization.k8s.io";
    if namespace.is_empty() || review.write != Write::Create || asks {
        return Ok(());
    }
    let entry = review.registry.store.get(&keys::core("namespaces", "", namespace)).await?;
    let entry = entry.ok_or_else(|| ApiError::NotFound(Subject::core("namespaces", namespace)))?;
    if review.registry.decoded(call, &entry)?.is_terminating() {
        return Err(terminating(review, namespace));
    }
    Ok(())
}

fn terminating(review: &Review<'_>, namespace: &str) -> ApiError {
    let name = review.object.as_deref().map_or("", Object::name);
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    match ApiError::forbidden(review.call.subject(name), &why) {
        ApiError::Forbidden { subject, message, .. } => {
            ApiError::Forbidden { subject, message, causes: vec![cause] }
        }
        other => other,
    }
}
