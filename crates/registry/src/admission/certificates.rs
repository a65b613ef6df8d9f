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

/// The plugin that such a write concerns, if there is one and it is on.
pub(super) fn concerned(review: &Review<'_>) -> Option<Plugin> {
    if !review.is_kind(GROUP, "CertificateSigningRequest") {
        return None;
    }
    let request = review.object.as_deref()?;
    let plugin = match (review.write, review.subresource, review.old) {
        (Write::Create, "", _) => Plugin::CertificateSubjectRestriction,
        (Write::Update, "approval", Some(_)) => Plugin::CertificateApproval,
        (Write::Update, "status", Some(old)) if fills(request, old) => Plugin::CertificateSigning,
        _ => return None,
    };
    Some(plugin).filter(|plugin| review.registry.plugins.has(*plugin))
}

pub(super) async fn confirm(review: &Review<'_>, plugin: Plugin) -> Result<(), ApiError> {
    match (plugin, review.object.as_deref(), review.old) {
        (Plugin::CertificateSubjectRestriction, Some(request), _) => check_subject(review, request),
        (Plugin::CertificateApproval, _, Some(old)) => check_signer(review, old, "approve").await,
        (Plugin::CertificateSigning, _, Some(old)) => check_signer(review, old, "sign").await,
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
async fn check_signer(review: &Review<'_>, request: &Object, verb: &str) -> Result<(), ApiError> {
    let call = review.call;
    let signer = request.str(&["spec", "signerName"]);
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    for name in [signer, &domain] {
        let attributes =
            Attributes { name, version: "*", ..Attributes::resource(&call.user, verb, GROUP, "signers") };
        if review.registry.authority.authorize(&attributes).await.is_allowed() {
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
