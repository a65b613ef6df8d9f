//! The forms that names may have (RFC 1035, RFC 1123), with Kubernetes' own messages.

use crate::FieldError;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Checks `metadata.name` as a DNS-1123 subdomain of at most 253 characters.
pub fn subdomain(name: &str) -> Option<FieldError> {
    let ok = name.len() <= 253 && name.split('.').all(is_label_shape);
    (!ok).then(|| FieldError::invalid("metadata.name", name, SUBDOMAIN))
}

/// Whether text is a run of lower-case letters, digits and inner dashes (of any length).
fn is_label_shape(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(a, b)| inner(*a) && inner(*b));
    ends && bytes.iter().all(|b| inner(*b) || *b == b'-')
}
