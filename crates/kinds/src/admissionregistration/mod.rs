//! The group `admissionregistration.k8s.io`.

mod common;
mod mutating_admission_policy;
mod mutating_admission_policy_binding;
mod mutating_webhook_configuration;
mod policies;
mod validating_admission_policy;
mod validating_admission_policy_binding;
mod validating_webhook_configuration;
mod webhooks;

use std::sync::Arc;

use skiff_machinery::Kind;
use skiff_schema::Schema;

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        mutating_admission_policy::row(schema),
        mutating_admission_policy_binding::row(schema),
        mutating_webhook_configuration::row(schema),
        validating_admission_policy::row(schema),
        validating_admission_policy_binding::row(schema),
        validating_webhook_configuration::row(schema),
    ]
}
