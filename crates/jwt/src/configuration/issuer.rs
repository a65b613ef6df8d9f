//! What is said of an issuer itself: where it is, whom its server has its certificate from, and for whom its tokens are.

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, go};

use super::{items, text};

pub(super) fn check_issuer(issuer: &Value, path: &str, own: &[String], errors: &mut FieldErrors) {
    let (url, discovery) = (text(issuer, "url"), text(issuer, "discoveryURL"));
    let field = |name: &str| format!("{path}.{name}");
    if url.is_empty() {
        errors.push(FieldError::required(field("url"), ""));
    } else {
        if own.iter().any(|own| own == url) {
            let detail = format!("URL must not overlap with disallowed issuers: [{}]", own.join(" "));
            errors.push(FieldError::invalid(field("url"), url, detail));
        }
        check_url(url, &field("url"), errors);
    }
    if !discovery.is_empty() {
        if !url.is_empty() && url.trim_end_matches('/') == discovery.trim_end_matches('/') {
            let detail = "discoveryURL must be different from URL";
            errors.push(FieldError::invalid(field("discoveryURL"), discovery, detail));
        }
        check_url(discovery, &field("discoveryURL"), errors);
    }
    check_audiences(issuer, &field("audiences"), &field("audienceMatchPolicy"), errors);
    let authority = text(issuer, "certificateAuthority");
    if !authority.is_empty() {
        let any = CertificateDer::pem_slice_iter(authority.as_bytes()).any(|one| one.is_ok());
        if !any {
            let detail = "data does not contain any valid RSA or ECDSA certificates";
            errors.push(FieldError::invalid(field("certificateAuthority"), "<omitted>", detail));
        }
    }
    match text(issuer, "egressSelectorType") {
        // There is one network: both lead there.
        "" | "controlplane" | "cluster" => {}
        other => errors.push(FieldError::invalid(
            field("egressSelectorType"),
            other,
            "egress selector must be either controlplane or cluster",
        )),
    }
}

fn check_url(url: &str, path: &str, errors: &mut FieldErrors) {
    let mut wrong = |detail: &str| errors.push(FieldError::invalid(path, url, detail));
    let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) = match skiff_cel::split_scheme(before) {
        Ok(parts) => parts,
        Err(why) => return wrong(&format!("parse {}: {why}", go::quoted(before))),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("https") {
        wrong("URL scheme must be https");
    }
    if authority.contains('@') {
        wrong("URL must not contain a username or password");
    }
    if !query.is_empty() {
        wrong("URL must not contain a query");
    }
    if !fragment.is_empty() {
        wrong("URL must not contain a fragment");
    }
}

fn check_audiences(issuer: &Value, path: &str, policy_path: &str, errors: &mut FieldErrors) {
    let (mut seen, policy) = (BTreeSet::new(), text(issuer, "audienceMatchPolicy"));
    for (i, audience) in items(issuer, "audiences") {
        let audience = audience.as_str().unwrap_or_default();
        if audience.is_empty() {
            errors.push(FieldError::required(format!("{path}[{i}]"), ""));
        }
        if !seen.insert(audience) {
            errors.push(FieldError::duplicate(format!("{path}[{i}]"), audience));
        }
    }
    let wrong = match items(issuer, "audiences").count() {
        0 => return errors.push(FieldError::required(path, format!("at least one {path} is required"))),
        1 if !matches!(policy, "" | "MatchAny") => {
            "audienceMatchPolicy must be empty or MatchAny for single audience"
        }
        2.. if policy != "MatchAny" => "audienceMatchPolicy must be MatchAny for multiple audiences",
        _ => return,
    };
    errors.push(FieldError::invalid(policy_path, policy, wrong));
}
