//! What is to be done about a request.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use skiff_identity::{CertificateRequest, NODE_PREFIX, NODES};
use skiff_ordered::Ordered as _;

use super::LONGEST;

/// The signers of the cluster's authority.
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODE_SERVER: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// How long a certificate is valid at most, and at least.
const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
const SHORTEST_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// How long requests that came to an end are kept.
const ENDED: SignedDuration = SignedDuration::from_hours(1);
/// How long those that came to none are kept.
const WAITING: SignedDuration = SignedDuration::from_hours(24);

/// What is to be done now.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing, for a while.
    Wait(Duration),
    /// Its time is over.
    Delete,
    /// Ask whether its user may have a node's certificate: any of these permissions will do.
    Ask(Vec<Permission>),
    /// Make the certificate.
    Sign { asked: Box<CertificateRequest>, life: SignedDuration },
    /// Tell that there will be none, and why.
    Fail(String),
}

/// What lets somebody have the certificate of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Of the node that it is.
    Own,
    /// Of any node.
    Any,
}

impl Permission {
    /// As RBAC names it, below the requests.
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::Own => "selfnodeclient",
            Self::Any => "nodeclient",
        }
    }

    /// What an approval says.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Own => "Auto approving self kubelet client certificate after SubjectAccessReview.",
            Self::Any => "Auto approving kubelet client certificate after SubjectAccessReview.",
        }
    }
}

/// Decides about a request.
pub(super) fn step(request: &CertificateSigningRequest, now: Timestamp) -> Step {
    let wait = until_old(request, now);
    if wait.is_zero() {
        return Step::Delete;
    }
    let (approved, denied, failed) =
        (has(request, "Approved"), has(request, "Denied"), has(request, "Failed"));
    if is_issued(request) || denied || failed {
        return Step::Wait(wait);
    }
    let Ok(asked) = CertificateRequest::from_pem(&request.spec.request.0) else { return Step::Wait(wait) };
    if !approved {
        let permissions = permissions(request, &asked);
        return if permissions.is_empty() { Step::Wait(wait) } else { Step::Ask(permissions) };
    }
    let usages = request.spec.usages.as_deref().unwrap_or_default();
    match check(&request.spec.signer_name, &asked, usages) {
        None => Step::Wait(wait),
        Some(Err(why)) => Step::Fail(why),
        Some(Ok(())) => Step::Sign { asked: Box::new(asked), life: life(request) },
    }
}

/// How long until a request is removed; no time if it is over.
pub(super) fn until_old(request: &CertificateSigningRequest, now: Timestamp) -> Duration {
    let made = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let since =
        |kind: &str| condition(request, kind).and_then(|c| c.last_update_time.as_ref()).map(|time| time.0);
    let ended = |kind: &str| since(kind).map(|time| time + ENDED);
    let is_undecided = conditions(request).next().is_none();
    let ends = [
        made.filter(|_| is_undecided).map(|time| time + WAITING),
        ended("Denied"),
        ended("Failed"),
        if is_issued(request) { ended("Approved") } else { since("Approved").map(|time| time + WAITING) },
    ];
    let end = ends.into_iter().flatten().min();
    end.map_or(LONGEST, |end| Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn conditions(
    request: &CertificateSigningRequest,
) -> impl Iterator<Item = &CertificateSigningRequestCondition> {
    request.status.iter().flat_map(|status| status.conditions.iter().flatten())
}

fn condition<'r>(
    request: &'r CertificateSigningRequest,
    kind: &str,
) -> Option<&'r CertificateSigningRequestCondition> {
    conditions(request).find(|condition| condition.type_ == kind)
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    condition(request, kind).is_some()
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

fn life(request: &CertificateSigningRequest) -> SignedDuration {
    let asked = request.spec.expiration_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
    asked.map_or(LIFE, |asked| asked.clamp(SHORTEST_LIFE, LIFE))
}

/// What would let its user have it, if it is for the certificate of a node.
fn permissions(request: &CertificateSigningRequest, asked: &CertificateRequest) -> Vec<Permission> {
    let usages = request.spec.usages.as_deref().unwrap_or_default();
    if request.spec.signer_name != NODE_CLIENT || check(NODE_CLIENT, asked, usages) != Some(Ok(())) {
        return Vec::new();
    }
    let is_own = request.spec.username.as_deref() == Some(asked.common_name.as_str());
    if is_own { vec![Permission::Own, Permission::Any] } else { vec![Permission::Any] }
}

/// Whether a signer makes such certificates; none if the signer is none of the four.
fn check(signer: &str, asked: &CertificateRequest, usages: &[String]) -> Option<Result<(), String>> {
    let checked = match signer {
        CLIENT => client(usages),
        NODE_CLIENT => {
            node_client(asked).map_err(str::to_owned).and_then(|()| exactly(usages, "client auth"))
        }
        NODE_SERVER => node_server(asked).map_err(str::to_owned).and_then(|()| {
            exactly(usages, "server auth")?;
            is_node(asked).map_err(str::to_owned)
        }),
        LEGACY => Ok(()),
        _ => return None,
    };
    Some(checked)
}

fn client(usages: &[String]) -> Result<(), String> {
    let allowed =
        |usage: &&String| matches!(usage.as_str(), "digital signature" | "key encipherment" | "client auth");
    if let Some(other) = usages.iter().find(|usage| !allowed(usage)) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    if !usages.iter().any(|usage| usage == "client auth") {
        return Err("missing required usage for client certificate: client auth".to_owned());
    }
    Ok(())
}

fn node_client(asked: &CertificateRequest) -> Result<(), &'static str> {
    of_nodes(asked)?;
    if !asked.names.is_empty() {
        return Err("DNS subjectAltNames are not allowed");
    }
    if asked.mails > 0 {
        return Err("Email subjectAltNames are not allowed");
    }
    if !asked.addresses.is_empty() {
        return Err("IP subjectAltNames are not allowed");
    }
    if asked.uris > 0 {
        return Err("URI subjectAltNames are not allowed");
    }
    is_node(asked)
}

fn node_server(asked: &CertificateRequest) -> Result<(), &'static str> {
    of_nodes(asked)?;
    if asked.names.is_empty() && asked.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required");
    }
    if asked.mails > 0 {
        return Err("Email subjectAltNames are not allowed");
    }
    if asked.uris > 0 {
        return Err("URI subjectAltNames are not allowed");
    }
    Ok(())
}

fn of_nodes(asked: &CertificateRequest) -> Result<(), &'static str> {
    if asked.organizations == [NODES] { Ok(()) } else { Err("subject organization is not system:nodes") }
}

fn is_node(asked: &CertificateRequest) -> Result<(), &'static str> {
    let is_one = asked.common_name.starts_with(NODE_PREFIX);
    if is_one { Ok(()) } else { Err("subject common name does not begin with system:node:") }
}

/// Whether the usages are a purpose and what its keys do, with or without encipherment, which only RSA keys do.
fn exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).to_set();
    let all = BTreeSet::from(["digital signature", "key encipherment", purpose]);
    let some = BTreeSet::from(["digital signature", purpose]);
    if given == all || given == some {
        return Ok(());
    }
    let told: Vec<&str> = all.into_iter().collect();
    Err(format!("usages did not match [{}]", told.join(" ")))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::certificates::v1::CertificateSigningRequestStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    const HOUR: i64 = 3600;

    fn request(conditions: &[(&str, i64)], certificate: &str) -> CertificateSigningRequest {
        let at = |seconds| Some(Time(Timestamp::from_second(seconds).unwrap()));
        let condition = |(kind, seconds): &(&str, i64)| CertificateSigningRequestCondition {
            type_: (*kind).to_owned(),
            last_update_time: at(*seconds),
            ..CertificateSigningRequestCondition::default()
        };
        let mut request = CertificateSigningRequest::default();
        request.metadata.creation_timestamp = at(0);
        request.status = Some(CertificateSigningRequestStatus {
            conditions: Some(conditions.iter().map(condition).collect()),
            certificate: Some(ByteString(certificate.as_bytes().to_vec())),
        });
        request
    }

    #[test]
    fn requests_are_kept_for_a_while() {
        let check = |conditions: &[(&str, i64)], certificate: &str, seconds: i64, expected: i64| {
            let now = Timestamp::from_second(seconds).unwrap();
            let left = until_old(&request(conditions, certificate), now);
            assert_eq!(i64::try_from(left.as_secs()).unwrap(), expected, "{conditions:?}");
        };
        check(&[], "", HOUR, 23 * HOUR);
        check(&[], "", 25 * HOUR, 0);
        check(&[("Denied", HOUR)], "", HOUR + 60, HOUR - 60);
        check(&[("Approved", HOUR)], "", 2 * HOUR, 23 * HOUR);
        check(&[("Approved", HOUR)], "x", 2 * HOUR, 0);
        check(&[("Approved", HOUR), ("Failed", HOUR)], "", 3 * HOUR, 0);
    }

    #[test]
    fn signers_know_what_they_make() {
        let node = CertificateRequest {
            common_name: "system:node:a".to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            ..CertificateRequest::default()
        };
        let named = CertificateRequest { names: vec!["a".to_owned()], ..node.clone() };
        let other = CertificateRequest { organizations: vec!["people".to_owned()], ..node.clone() };
        let check = |signer: &str,
                     asked: &CertificateRequest,
                     usages: &[&str],
                     expected: Option<Result<(), &str>>| {
            let usages: Vec<String> = usages.iter().map(|usage| (*usage).to_owned()).collect();
            let found = super::check(signer, asked, &usages);
            assert_eq!(found, expected.map(|checked| checked.map_err(str::to_owned)), "{signer}");
        };
        let both = ["digital signature", "key encipherment"];
        check(CLIENT, &other, &["client auth"], Some(Ok(())));
        check(CLIENT, &other, &both, Some(Err("missing required usage for client certificate: client auth")));
        check(CLIENT, &other, &["any"], Some(Err("invalid usage for client certificate: any")));
        check(NODE_CLIENT, &node, &["digital signature", "client auth"], Some(Ok(())));
        check(NODE_CLIENT, &named, &["client auth"], Some(Err("DNS subjectAltNames are not allowed")));
        check(NODE_CLIENT, &other, &["client auth"], Some(Err("subject organization is not system:nodes")));
        check(
            NODE_CLIENT,
            &node,
            &["client auth"],
            Some(Err("usages did not match [client auth digital signature key encipherment]")),
        );
        check(NODE_SERVER, &named, &["digital signature", "server auth"], Some(Ok(())));
        check(NODE_SERVER, &node, &["server auth"], Some(Err("DNS or IP subjectAltName is required")));
        check(LEGACY, &other, &[], Some(Ok(())));
        check("example.com/s", &other, &[], None);
    }

    #[test]
    fn certificates_live_as_long_as_was_asked_within_bounds() {
        let check = |seconds: Option<i32>, expected: SignedDuration| {
            let mut request = request(&[], "");
            request.spec.expiration_seconds = seconds;
            assert_eq!(life(&request), expected);
        };
        check(None, LIFE);
        check(Some(3600), SignedDuration::from_hours(1));
        check(Some(1), SHORTEST_LIFE);
        check(Some(i32::MAX), LIFE);
    }
}
