//! The annotation that definitions in the groups of Kubernetes itself must have.

use serde_json::Value;
use skiff_machinery::FieldError;

use super::spec::text;
use crate::formats::has_scheme_and_host;

const ANNOTATION: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Approval {
    Missing,
    Invalid,
    Bypassed,
    Approved,
}

fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .into_iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn approval(crd: &Value) -> (Approval, &str) {
    let value = text(&crd["metadata"]["annotations"], ANNOTATION);
    let approval = match value {
        "" => Approval::Missing,
        value if value.starts_with("unapproved") => Approval::Bypassed,
        value if has_scheme_and_host(value) => Approval::Approved,
        _ => Approval::Invalid,
    };
    (approval, value)
}

/// Checks the annotation where it is asked for and its state has changed.
pub(super) fn check(crd: &Value, old: Option<&Value>) -> Option<FieldError> {
    let (state, value) = approval(crd);
    if !is_protected(text(&crd["spec"], "group")) || old.is_some_and(|old| approval(old).0 == state) {
        return None;
    }
    let field = format!("metadata.annotations[{ANNOTATION}]");
    match state {
        Approval::Bypassed | Approval::Approved => None,
        Approval::Missing => {
            let detail = format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}");
            Some(FieldError::required(field, detail))
        }
        Approval::Invalid => {
            let detail = format!(
                "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
            );
            Some(FieldError::invalid(field, value, detail))
        }
    }
}
