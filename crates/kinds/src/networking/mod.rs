//! The group `networking.k8s.io`.

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod service_cidr;

pub use ingress::CLASS as INGRESS_CLASS;
pub use ingress_class::is_default as is_default_class;

use std::sync::Arc;

use serde_json::Value;
use skiff_machinery::cells::str_of;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, GroupVersion, Kind};
use skiff_schema::Schema;

const GV: GroupVersion = GroupVersion::fixed("networking.k8s.io", "v1");

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        ingress_class::row(schema),
        ingress::row(schema),
        ip_address::row(schema),
        network_policy::row(schema),
        service_cidr::row(schema),
    ]
}

/// Checks a reference to an object of any kind at `path`.
fn reference(path: &str, reference: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    if let Some(group) = reference.get("apiGroup").and_then(Value::as_str) {
        errors.extend(Form::Subdomain.check(&at("apiGroup"), group));
    }
    for field in ["kind", "name"] {
        match str_of(reference, field) {
            "" => errors.push(FieldError::required(at(field), "")),
            text => errors.extend(Form::PathSegment.check(&at(field), text)),
        }
    }
    errors
}
