//! `spec.conversion`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use super::spec::{one_of, text};
use crate::formats::UrlParts;
use crate::path::Path;

/// Versions of ConversionReview that the server speaks.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const FORM: &str = "; desired format: https://host[/path]";

pub(super) fn check(conversion: &Value, may_have_bad_bundle: bool) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if conversion.is_null() {
        return errors;
    }
    let path = Path::Root("spec.conversion");
    let strategy = text(conversion, "strategy");
    errors.extend(one_of(&path.child("strategy"), strategy, &["None", "Webhook"]));
    let (config, reviews) = (config(conversion), reviews(conversion));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            errors.push(FieldError::forbidden(path.child("webhookClientConfig"), detail));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(path.child("conversionReviewVersions"), detail));
        }
        return errors;
    }
    let of_config = path.child("webhookClientConfig");
    match config {
        None => errors.push(FieldError::required(of_config, "required when strategy is set to Webhook")),
        Some(config) => check_config(config, &of_config, may_have_bad_bundle, &mut errors),
    }
    check_reviews(&reviews, &path.child("conversionReviewVersions"), &mut errors);
    errors
}

fn config(conversion: &Value) -> Option<&Value> {
    conversion.pointer("/webhook/clientConfig").filter(|config| !config.is_null())
}

fn reviews(conversion: &Value) -> Vec<&str> {
    let list = conversion.pointer("/webhook/conversionReviewVersions").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn check_config(config: &Value, path: &Path<'_>, may_have_bad_bundle: bool, errors: &mut FieldErrors) {
    let url = config.get("url").and_then(Value::as_str);
    let service = config.get("service").filter(|service| !service.is_null());
    match (url, service) {
        (Some(url), None) => check_url(url, &path.child("url"), errors),
        (None, Some(service)) => check_service(service, &path.child("service"), errors),
        _ => errors.push(FieldError::required(path, "exactly one of url or service is required")),
    }
    let bundle = text(config, "caBundle");
    if !may_have_bad_bundle && !bundle.is_empty() && !holds_certificate(bundle) {
        let detail = "unable to load root certificates: unable to parse bytes as PEM block";
        errors.push(FieldError::invalid(path.child("caBundle"), bundle, detail));
    }
}

fn check_url(url: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let parts = match UrlParts::of(url) {
        Ok(parts) => parts,
        Err(error) => {
            errors.push(FieldError::required(path, format!("url must be a valid URL: {error}{FORM}")));
            return;
        }
    };
    let mut refuse = |value: &str, detail: String| errors.push(FieldError::invalid(path, value, detail));
    if parts.scheme != "https" {
        refuse(&parts.scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if parts.host.is_empty() {
        refuse(parts.host, format!("host must be specified{FORM}"));
    }
    for (part, what) in [
        (parts.user, "user information is not permitted in the URL"),
        (parts.fragment, "fragments are not permitted in the URL"),
        (parts.query, "query parameters are not permitted in the URL"),
    ] {
        if let Some(part) = part {
            refuse(part, what.to_owned());
        }
    }
}

fn check_service(service: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    // The API server has the two exchanged: it asks for a name where the namespace is missing.
    for (missing, field) in [("namespace", "name"), ("name", "namespace")] {
        if text(service, missing).is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
        }
    }
    let port = service.get("port").and_then(Value::as_i64).unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(path.child("port"), port, detail));
    }
    if let Some(url_path) = service.get("path").and_then(Value::as_str) {
        check_path(url_path, &path.child("path"), errors);
    }
}

fn check_path(url_path: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut refuse = |detail: String| errors.push(FieldError::invalid(path, url_path, detail));
    match url_path {
        "" | "/" => return,
        "//" => return refuse("segment[0] may not be empty".to_owned()),
        _ => {}
    }
    if !url_path.starts_with('/') {
        refuse("must start with a '/'".to_owned());
    }
    let mut letters = url_path.chars();
    letters.next();
    let inner = letters.as_str();
    for (index, segment) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if segment.is_empty() {
            refuse(format!("segment[{index}] may not be empty"));
            continue;
        }
        for problem in Form::Subdomain.problems(segment) {
            refuse(format!("segment[{index}]: {problem}"));
        }
    }
}

fn check_reviews(versions: &[&str], path: &Path<'_>, errors: &mut FieldErrors) {
    if versions.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            errors.push(FieldError::invalid(path.index(index), *version, "duplicate version"));
            continue;
        }
        let problems = Form::Rfc1035Label.problems(version).into_iter();
        errors.extend(problems.map(|problem| FieldError::invalid(path.index(index), *version, problem)));
    }
    if !versions.iter().any(|version| REVIEWS.contains(version)) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(FieldError::invalid(path, versions.to_vec(), detail));
    }
}

/// Whether a conversion's certificates are there and cannot be read.
pub(super) fn has_bad_bundle(conversion: &Value) -> bool {
    let bundle = config(conversion).map(|config| text(config, "caBundle")).unwrap_or_default();
    !bundle.is_empty() && !holds_certificate(bundle)
}

/// Whether base64 text holds a certificate in PEM.
fn holds_certificate(bundle: &str) -> bool {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let Some(text) = STANDARD.decode(bundle).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return false;
    };
    let bodies = text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END));
    bodies.map(|(body, _)| body.split_whitespace().collect::<String>()).any(|body| {
        // A certificate is a sequence.
        STANDARD.decode(body).is_ok_and(|der| der.first() == Some(&0x30))
    })
}
