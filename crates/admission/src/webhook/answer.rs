//! AdmissionReview: what a webhook answers, and whether that can be used.

use std::collections::BTreeMap;

use base64::DecodeError;
use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

use super::configuration::Type;
use super::review::Version;
use crate::attributes::GroupVersionKind;
use crate::refusal::{Refusal, null_is_empty};

/// What a webhook decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// Why not.
    pub(super) status: Option<Refusal>,
    /// Empty for none.
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Response {
    #[serde(deserialize_with = "null_is_empty")]
    uid: String,
    #[serde(deserialize_with = "null_is_empty")]
    allowed: bool,
    status: Option<Refusal>,
    #[serde(deserialize_with = "null_is_empty")]
    patch: String,
    patch_type: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    audit_annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_empty")]
    warnings: Vec<String>,
}

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It cannot be read: counts as a failed call.
    Unreadable(String),
    /// It says what no answer may say.
    Invalid(String),
}

/// Reads the answer to the review with this UID.
pub(super) fn read(body: &[u8], version: Version, uid: &str, of: Type) -> Result<Answer, Unusable> {
    if body.is_empty() {
        let why = "0-length response with status code: 200 and content type: application/json";
        return Err(Unusable::Unreadable(why.to_owned()));
    }
    let unreadable = |error: serde_json::Error| {
        Unusable::Unreadable(format!("couldn't get version/kind; json parse error: {error}"))
    };
    let review: Value = serde_json::from_slice(body).map_err(unreadable)?;
    let said = |field: &str| review.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = GroupVersionKind::parse(said("apiVersion"), said("kind"));
    let absent = || Unusable::Invalid("webhook response was absent".to_owned());
    if !is_review(&kind, version)? {
        refuse_status(&review)?;
        return Err(absent());
    }
    let response = review.get("response").filter(|response| !response.is_null()).ok_or_else(absent)?;
    let response: Response =
        Deserialize::deserialize(response).map_err(|error| Unusable::Unreadable(format!("json: {error}")))?;
    let patch = base64::engine::general_purpose::STANDARD.decode(&response.patch);
    let patch = patch.map_err(|error| Unusable::Unreadable(base64_text(&error)))?;
    if version == Version::V1 {
        verify(&response, &kind, uid).map_err(Unusable::Invalid)?;
        verify_patch(&patch, response.patch_type.as_deref(), of).map_err(Unusable::Invalid)?;
    }
    Ok(answer(response, patch, version, of))
}

/// Whether it is the review that was asked for, which is taken for granted where nothing is said. Others are none.
fn is_review(kind: &GroupVersionKind, version: Version) -> Result<bool, Unusable> {
    let said = kind.api_version();
    let known = [Version::V1.api_version(), Version::V1Beta1.api_version()];
    match (said.as_str(), kind.kind.as_str()) {
        (said, "AdmissionReview" | "") if said.is_empty() || said == version.api_version() => Ok(true),
        (said, "AdmissionReview") if known.contains(&said) => Ok(false),
        ("v1", "Status") => Ok(false),
        (said, kind) => {
            Err(Unusable::Unreadable(format!("no kind {kind:?} is registered for version {said:?}")))
        }
    }
}

/// A Status instead of a review says what went wrong.
fn refuse_status(review: &Value) -> Result<(), Unusable> {
    if review["kind"] != "Status" || review["status"] == "Success" {
        return Ok(());
    }
    let status = serde_json::from_value::<Refusal>(review.clone()).unwrap_or_default();
    Err(Unusable::Unreadable(status.message))
}

fn verify(response: &Response, kind: &GroupVersionKind, uid: &str) -> Result<(), String> {
    if response.uid != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
    }
    let expected = GroupVersionKind::parse(Version::V1.api_version(), "AdmissionReview");
    if *kind != expected {
        return Err(format!("expected webhook response of {expected}, got {kind}"));
    }
    Ok(())
}

fn verify_patch(patch: &[u8], patch_type: Option<&str>, of: Type) -> Result<(), String> {
    let why = match (of, patch.is_empty(), patch_type) {
        (Type::Validating, false, _) => "validating webhook may not return response.patch",
        (Type::Validating, true, Some(_)) => "validating webhook may not return response.patchType",
        (Type::Mutating, false, None) => "webhook returned response.patch but not response.patchType",
        (Type::Mutating, true, Some(_)) => "webhook returned response.patchType but not response.patch",
        (Type::Mutating, false, Some("")) => "webhook returned invalid response.patchType of \"\"",
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

fn answer(response: Response, patch: Vec<u8>, version: Version, of: Type) -> Answer {
    let patch = if of == Type::Mutating { patch } else { Vec::new() };
    let patch_type = match version {
        Version::V1 => response.patch_type.unwrap_or_default(),
        // In that version nothing else was known, and nobody looked.
        Version::V1Beta1 if patch.is_empty() => String::new(),
        Version::V1Beta1 => "JSONPatch".to_owned(),
    };
    Answer {
        allowed: response.allowed,
        status: response.status,
        patch,
        patch_type,
        annotations: response.audit_annotations,
        warnings: response.warnings,
    }
}

fn base64_text(error: &DecodeError) -> String {
    let at = match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => *at,
        DecodeError::InvalidLength(length) => *length,
        DecodeError::InvalidPadding => 0,
    };
    format!("illegal base64 data at input byte {at}")
}

/// The refusal that a webhook's Status says.
pub(super) fn denial(webhook: &str, status: Option<Refusal>) -> Refusal {
    let mut refusal = status.unwrap_or_default();
    let denied = format!("admission webhook {webhook:?} denied the request");
    refusal.code = refusal.code.max(400);
    if matches!(refusal.status.as_str(), "" | "Success") {
        refusal.status = "Failure".to_owned();
    }
    refusal.message = match (refusal.message.as_str(), refusal.reason.as_str()) {
        ("", "") => format!("{denied} without explanation"),
        ("", why) | (why, _) => format!("{denied}: {why}"),
    };
    refusal
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_verified() {
        let check = |of, version, answer: Value, expected: Result<&str, &str>| {
            let read = read(answer.to_string().as_bytes(), version, "u", of);
            let read = read.map(|answer| String::from_utf8(answer.patch).unwrap() + &answer.patch_type);
            let expected = expected.map(str::to_owned).map_err(|why| Unusable::Invalid(why.to_owned()));
            assert_eq!(read, expected, "{answer}");
        };
        let review = |version: &str, response: Value| json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "response": response});
        let (v1, mutating, validating) = (Version::V1, Type::Mutating, Type::Validating);
        check(mutating, v1, review("v1", json!({"uid": "u", "allowed": true})), Ok(""));
        let patch = json!({"uid": "u", "patch": "W10=", "patchType": "JSONPatch"});
        check(mutating, v1, review("v1", patch.clone()), Ok("[]JSONPatch"));
        check(mutating, v1, review("v1", Value::Null), Err("webhook response was absent"));
        check(mutating, v1, review("v1beta1", json!({})), Err("webhook response was absent"));
        check(mutating, v1, review("v1", json!({"uid": "x"})), Err("expected response.uid=\"u\", got \"x\""));
        check(
            mutating,
            v1,
            json!({"response": {"uid": "u"}}),
            Err("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="),
        );
        check(
            mutating,
            v1,
            review("v1", json!({"uid": "u", "patch": "W10="})),
            Err("webhook returned response.patch but not response.patchType"),
        );
        check(
            mutating,
            v1,
            review("v1", json!({"uid": "u", "patchType": "JSONPatch"})),
            Err("webhook returned response.patchType but not response.patch"),
        );
        check(
            mutating,
            v1,
            review("v1", json!({"uid": "u", "patch": "W10=", "patchType": ""})),
            Err("webhook returned invalid response.patchType of \"\""),
        );
        check(validating, v1, review("v1", patch), Err("validating webhook may not return response.patch"));
        check(
            validating,
            v1,
            review("v1", json!({"uid": "u", "patchType": "JSONPatch"})),
            Err("validating webhook may not return response.patchType"),
        );
        // The older version is not verified.
        check(mutating, Version::V1Beta1, json!({"response": {"patch": "W10="}}), Ok("[]JSONPatch"));
        check(validating, Version::V1Beta1, review("v1beta1", json!({"patch": "W10="})), Ok(""));
    }

    #[test]
    fn what_is_no_review_counts_as_a_failed_call() {
        let check = |answer: &str, expected: &str| {
            let read = read(answer.as_bytes(), Version::V1, "u", Type::Validating);
            let Err(Unusable::Unreadable(why)) = read else { panic!("{answer}: {read:?}") };
            assert!(why.starts_with(expected), "{why}");
        };
        check("", "0-length response with status code: 200");
        check("nothing", "couldn't get version/kind; json parse error: ");
        check(r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"broken"}"#, "broken");
        check(r#"{"kind":"Pod","apiVersion":"v1"}"#, "no kind \"Pod\" is registered for version \"v1\"");
        check(r#"{"response":{"uid":5}}"#, "json: invalid type: integer `5`");
        check(r#"{"response":{"patch":"?"}}"#, "illegal base64 data at input byte 0");
    }

    #[test]
    fn denials_say_who_denied_and_why() {
        let check = |status: Option<Value>, message: &str, code: i32, word: &str| {
            let status = status.map(|status| serde_json::from_value(status).unwrap());
            let refusal = denial("foo", status);
            assert_eq!(refusal.message, format!("admission webhook \"foo\" denied the request{message}"));
            assert_eq!((refusal.code, refusal.status.as_str()), (code, word));
        };
        check(None, " without explanation", 400, "Failure");
        check(Some(json!({"message": "no way"})), ": no way", 400, "Failure");
        check(Some(json!({"reason": "Forbidden"})), ": Forbidden", 400, "Failure");
        check(Some(json!({"message": "no", "reason": "Forbidden", "code": 403})), ": no", 403, "Failure");
        check(Some(json!({"code": 399, "status": "Success"})), " without explanation", 400, "Failure");
        check(Some(json!({"code": 500, "status": "custom"})), " without explanation", 500, "custom");
    }
}
