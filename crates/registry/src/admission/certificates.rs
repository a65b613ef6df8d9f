//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may decide about requests for certificates
//! and fill them, and that nobody becomes an administrator by one.

use serde_json::Value;
use skiff_auth::Attributes;
use skiff_identity::{CertificateRequest, MASTERS};
use skiff_machinery::Object;

use super::review::{Review, Write};
use crate::errors::ApiError;
use crate::plugins::Plugin;

const GROUP: &str = "certificates.k8s.io";

/// The signer of certificates by which clients identify themselves to the API server.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

pub(super) fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    if !review.is_kind(GROUP, "CertificateSigningRequest") {
        return Ok(());
    }
    let Some(request) = review.object.as_deref() else { return Ok(()) };
    let is_on = |plugin| review.registry.plugins.has(plugin);
    match (review.write, review.subresource, review.old) {
        (Write::Create, "", _) if is_on(Plugin::CertificateSubjectRestriction) => {
            check_subject(review, request)
        }
        (Write::Update, "approval", Some(old)) if is_on(Plugin::CertificateApproval) => {
            check_signer(review, old, "approve")
        }
        (Write::Update, "status", Some(old)) if fills(request, old) && is_on(Plugin::CertificateSigning) => {
            check_signer(review, old, "sign")
        }
        _ => Ok(()),
    }
}

/// Whether a change of the status is one that signers make.
fn fills(new: &Object, old: &Object) -> bool {
    ["certificate", "conditions"].iter().any(|field| {
        let part = |object: &Object| object.get(&["status", field]).cloned().unwrap_or_default();
        let is_empty = |part: &Value| part.as_array().is_some_and(Vec::is_empty) || part.is_null();
        let (now, before) = (part(new), part(old));
        now != before && !(is_empty(&now) && is_empty(&before))
    })
}

/// Whether the user may do this for the signer, or for all signers of its domain.
fn check_signer(review: &Review<'_>, request: &Object, verb: &str) -> Result<(), ApiError> {
    let call = review.call;
    let signer = request.str(&["spec", "signerName"]);
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    for name in [signer, &domain] {
        let attributes =
            Attributes { name, version: "*", ..Attributes::resource(&call.user, verb, GROUP, "signers") };
        if review.registry.authority.decide(&attributes).is_allowed() {
            return Ok(());
        }
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(ApiError::forbidden(call.subject(request.name()), &why))
}

fn check_subject(review: &Review<'_>, request: &Object) -> Result<(), ApiError> {
    let signer = request.str(&["spec", "signerName"]);
    let asked = CertificateRequest::from_base64(request.str(&["spec", "request"])).unwrap_or_default();
    if signer != CLIENTS || !asked.organizations.iter().any(|name| name == MASTERS) {
        return Ok(());
    }
    let why = format!("use of {signer} signer with {MASTERS} group is not allowed");
    Err(ApiError::forbidden(review.call.subject(request.name()), &why))
}
