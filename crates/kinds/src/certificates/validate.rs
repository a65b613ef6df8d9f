//! Checks of requests for certificates, and of what becomes of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_identity::CertificateRequest;
use skiff_machinery::cells::{str_of, strings};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object};
use skiff_ordered::Ordered as _;
use x509_parser::pem::Pem;

use super::conditions::{self, DECISIONS};
use crate::shared::check::one_of;
use crate::shared::{diff, go};

/// What a certificate may be for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The signer that is there for requests of old alone.
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// Seconds for which a certificate has to be valid at least.
const LEAST_SECONDS: i64 = 600;

/// The conditions that are there or not, and never false.
const TRUE: [&str; 3] = ["Approved", "Denied", "Failed"];

/// By what a request is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The object itself.
    Whole,
    /// Its status, by the signer.
    Status,
    /// Its approval.
    Approval,
}

/// Checks a new request.
pub(super) fn new(object: &Object) -> FieldErrors {
    check(object, None)
}

/// Checks a change.
pub(super) fn change(new: &Object, old: &Object, by: Change) -> FieldErrors {
    const CONDITIONS: &str = "status.conditions";
    let mut errors = check(new, Some(old));
    for kind in TRUE {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            errors.push(FieldError::forbidden(CONDITIONS, detail));
        }
    }
    for kind in DECISIONS.into_iter().filter(|_| by != Change::Approval) {
        let (now, before) = (of_type(new, kind), of_type(old, kind));
        if now.len() > before.len() {
            let detail = format!("updates may not add a condition of type {kind:?}");
            errors.push(FieldError::forbidden(CONDITIONS, detail));
        } else if now.len() == before.len() && now != before {
            let told = diff::of_json(&shown(&before), &shown(&now));
            let detail = format!("updates may not modify a condition of type {kind:?}\n{told}");
            errors.push(FieldError::forbidden(CONDITIONS, detail));
        }
    }
    const CERTIFICATE: &str = "status.certificate";
    if certificate(new) != certificate(old) {
        if by != Change::Status {
            errors.push(FieldError::forbidden(CERTIFICATE, "updates may not set certificate content"));
        } else if !certificate(old).is_empty() {
            errors.push(FieldError::forbidden(
                CERTIFICATE,
                "updates may not modify existing certificate content",
            ));
        }
    }
    errors
}

fn certificate(object: &Object) -> &str {
    object.str(&["status", "certificate"])
}

fn of_type<'o>(object: &'o Object, kind: &str) -> Vec<&'o Value> {
    conditions::of(object).iter().filter(|condition| str_of(condition, "type") == kind).collect()
}

/// Conditions as Kubernetes' own type has them.
fn shown(list: &[&Value]) -> String {
    let one = |condition: &&Value| {
        go::object(&[
            ("Type", go::text(condition, "type")),
            ("Status", go::text(condition, "status")),
            ("Reason", go::text(condition, "reason")),
            ("Message", go::text(condition, "message")),
            ("LastUpdateTime", go::plain(condition, "lastUpdateTime")),
            ("LastTransitionTime", go::plain(condition, "lastTransitionTime")),
        ])
    };
    format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(","))
}

/// What is wrong in an object; what was wrong before may stay wrong.
fn check(object: &Object, old: Option<&Object>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let asked = object.str(&["spec", "request"]);
    if let Err(why) = CertificateRequest::from_base64(asked) {
        let shown = if asked.is_empty() { Value::Null } else { asked.into() };
        errors.push(FieldError::invalid("spec.request", shown, why.to_string()));
    }
    errors.extend(usages(object, old));
    errors.extend(signer(object.str(&["spec", "signerName"]), old));
    let seconds = object.get(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    if let Some(seconds) = seconds.filter(|seconds| *seconds < LEAST_SECONDS) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid("spec.expirationSeconds", seconds, detail));
    }
    errors.extend(check_conditions(object, old));
    let was = old.map(certificate);
    let is_old = was.is_some_and(|was| was == certificate(object) || is_certificate(was).is_err());
    if !is_old && let Err(why) = is_certificate(certificate(object)) {
        errors.push(FieldError::invalid("status.certificate", "<certificate data>", why));
    }
    errors
}

fn usages(object: &Object, old: Option<&Object>) -> FieldErrors {
    const USES: &[&str] = &["spec", "usages"];
    let list = strings(object, USES);
    let before = old.map(|old| strings(old, USES)).unwrap_or_default();
    let has_twice = |list: &[&str]| list.iter().to_set().len() < list.len();
    let mut errors = FieldErrors::new();
    if list.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    if before.iter().all(|usage| USAGES.contains(usage)) {
        for (index, usage) in list.iter().enumerate().filter(|(_, usage)| !USAGES.contains(usage)) {
            errors.push(FieldError::not_supported(format!("spec.usages[{index}]"), *usage, &USAGES));
        }
    }
    if !has_twice(&before) {
        for (index, usage) in list.iter().enumerate().filter(|(index, usage)| list[..*index].contains(usage))
        {
            errors.push(FieldError::duplicate(format!("spec.usages[{index}]"), *usage));
        }
    }
    errors
}

/// The name of a signer: a domain and a path.
fn signer(name: &str, old: Option<&Object>) -> FieldErrors {
    const FIELD: &str = "spec.signerName";
    const LONGEST: usize = 253 + 1 + 253 + 1 + 63;
    if name.is_empty() {
        return [FieldError::required(FIELD, "")].into();
    }
    if name == LEGACY && old.is_none_or(|old| old.str(&["spec", "signerName"]) != LEGACY) {
        let detail = "the legacy signerName is not allowed via this API version";
        return [FieldError::invalid(FIELD, name, detail)].into();
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return [FieldError::invalid(FIELD, name, detail)].into();
    };
    let mut errors = FieldErrors::new();
    if domain.len() > 253 {
        errors.push(FieldError::too_long(FIELD, 253));
    }
    errors.extend(labels(domain, Form::DnsLabel));
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(FIELD, domain, detail));
    }
    errors.extend(labels(path, Form::Subdomain));
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(FIELD, LONGEST));
    }
    errors
}

/// What is wrong with the first wrong label of a part of a signer's name.
fn labels(part: &str, form: Form) -> FieldErrors {
    let Some(wrong) = part.split('.').find(|label| !form.fits(label)) else { return FieldErrors::new() };
    let problems = form.problems(wrong).into_iter();
    let told = problems.map(|problem| format!("validating label {wrong:?}: {problem}"));
    told.map(|detail| FieldError::invalid("spec.signerName", part, detail)).collect()
}

fn check_conditions(object: &Object, old: Option<&Object>) -> FieldErrors {
    let has = |kind: &str| old.is_some_and(|old| !of_type(old, kind).is_empty());
    let kinds = |object: &Object| -> Vec<String> {
        conditions::of(object).iter().map(|condition| str_of(condition, "type").to_owned()).collect()
    };
    let had_twice = old.is_some_and(|old| {
        let kinds = kinds(old);
        kinds.iter().to_set().len() < kinds.len()
    });
    let may_contradict = DECISIONS.into_iter().all(has);
    let mut errors = FieldErrors::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in conditions::of(object).iter().enumerate() {
        let at = |field: &str| format!("status.conditions[{index}].{field}");
        let (kind, status) = (str_of(condition, "type"), str_of(condition, "status"));
        if kind.is_empty() && !has("") {
            errors.push(FieldError::required(at("type"), ""));
        }
        let states: &[&str] = if TRUE.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        errors.extend(one_of(&at("status"), Some(status), states));
        let contradicts =
            DECISIONS.contains(&kind) && DECISIONS.iter().any(|other| *other != kind && seen.contains(other));
        if contradicts && !may_contradict {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid("status.conditions", kind, detail));
        }
        if seen.contains(&kind) && !had_twice {
            errors.push(FieldError::duplicate(at("type"), kind));
        }
        seen.push(kind);
    }
    errors
}

/// Whether a text in base64 is nothing, or certificates in PEM and nothing else.
fn is_certificate(base64: &str) -> Result<(), String> {
    if base64.is_empty() {
        return Ok(());
    }
    let text = STANDARD.decode(base64).unwrap_or_default();
    let mut count = 0;
    for pem in Pem::iter_from_buffer(&text) {
        let Ok(pem) = pem else { break };
        if pem.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", pem.label));
        }
        count += 1;
        pem.parse_x509().map_err(|_| "x509: malformed certificate".to_owned())?;
    }
    if count == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts};

    /// A request of `O=people, CN=someone.example.com`.
    const REQUEST: &str = concat!(
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1JBZ0VBTUM4eER6QU5CZ05WQkFvTUJuQmxiM0JzWlRFY01Cb0dB",
        "MVVFQXd3VGMyOXRaVzl1WlM1bAplR0Z0Y0d4bExtTnZiVEJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCRWZOdXpGQUY5NC9t",
        "ZXA0CkRjRnZmM1VHVGRMQ1NQY3doMWFaeFJhQnl6NXlRVERQS1p6K2ZZcExxejIzMjROcFFnZWtWTURYWTJhQ2lhTWkKNjNjL3lwZWdBREFL",
        "QmdncWhrak9QUVFEQWdOSUFEQkZBaUVBbTFOSkgzUkRJR2tRTmxZc0VtRkU1UkhZNnBoSgo4ajdiK0x0ZDlBWWRxblFDSUNKa1hma1Q4cjhL",
        "VzF6Y2xxazQ1dXRucFFReGliOExBaGh2S0Naei9WRmEKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==",
    );

    fn request(conditions: Value) -> Object {
        object(json!({
            "spec": {"request": REQUEST, "signerName": "example.com/s", "usages": ["client auth"]},
            "status": {"conditions": conditions},
        }))
    }

    #[test]
    fn signers_have_a_domain_and_a_path() {
        let check = |name: &str, count: usize| assert_eq!(signer(name, None).len(), count, "{name}");
        check("example.com/s", 0);
        check("kubernetes.io/kube-apiserver-client", 0);
        check(LEGACY, 1);
        check("", 1);
        check("plain", 1);
        check("a/b", 1);
        check("a.b/c/d", 1);
        check("a.b/C", 1);
    }

    #[test]
    fn usages_are_known_and_differ() {
        let check = |usages: Value, expected: &[&str]| {
            let mut request = request(json!([]));
            request.set(&["spec", "usages"], usages);
            let errors = new(&request);
            assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), expected);
        };
        check(json!(["client auth", "any"]), &[]);
        check(json!([]), &["spec.usages"]);
        check(json!(["flying", "any", "any"]), &["spec.usages[0]", "spec.usages[2]"]);
    }

    #[test]
    fn decisions_are_made_by_approvals_and_stay() {
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let check = |now: &[&str], before: &[&str], by: Change, expected: &[&str]| {
            let list = |kinds: &[&str]| request(kinds.iter().map(|kind| condition(kind)).collect());
            assert_eq!(texts(change(&list(now), &list(before), by)), expected);
        };
        check(&["Approved"], &[], Change::Approval, &[]);
        check(
            &["Approved"],
            &[],
            Change::Status,
            &[r#"status.conditions: Forbidden: updates may not add a condition of type "Approved""#],
        );
        check(
            &[],
            &["Denied"],
            Change::Approval,
            &[r#"status.conditions: Forbidden: updates may not remove a condition of type "Denied""#],
        );
        check(
            &["Approved", "Denied"],
            &["Approved"],
            Change::Approval,
            &[
                r#"status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive"#,
            ],
        );
        check(&["Failed"], &[], Change::Status, &[]);
    }

    #[test]
    fn signers_set_certificates_once() {
        let check = |text: &str, by: Change, expected: &[&str]| {
            let mut signed = request(json!([]));
            signed.set(&["status", "certificate"], STANDARD.encode(text));
            assert_eq!(texts(change(&signed, &request(json!([])), by)), expected);
        };
        check(
            "nothing",
            Change::Status,
            &[
                r#"status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block"#,
            ],
        );
        check(
            "-----BEGIN OTHER-----\nYQ==\n-----END OTHER-----\n",
            Change::Approval,
            &[
                r#"status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "OTHER""#,
                "status.certificate: Forbidden: updates may not set certificate content",
            ],
        );
    }
}
