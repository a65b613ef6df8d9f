//! Tokens with which nodes join (Secrets of the type `bootstrap.kubernetes.io/token`): signatures of what `cluster-info` says by
//! them, and their removal when their time is over.

pub(crate) mod cleaner;
pub(crate) mod signer;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

/// Where the Secrets are.
pub(crate) const NAMESPACE: &str = "kube-system";

/// What a Secret holds under a key.
fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
}

/// When its time is over; `None` if never, the beginning of time if it does not say a time.
fn expiration(secret: &Secret) -> Option<Timestamp> {
    let text = text(secret, "expiration");
    (!text.is_empty()).then(|| text.parse().unwrap_or(Timestamp::MIN))
}
