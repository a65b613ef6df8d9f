//! The group `admissionregistration.k8s.io`.

mod mutating_admission_policy;
mod mutating_admission_policy_binding;
mod mutating_webhook_configuration;
mod policies;
mod validating_admission_policy;
mod validating_admission_policy_binding;
mod validating_webhook_configuration;
mod webhooks;

use std::borrow::Cow;
use std::sync::Arc;

use skiff_machinery::{GroupVersion, Kind, Scope, Strategy};
use skiff_schema::Schema;

use crate::row::stored;

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

/// What the group's kinds have in common.
fn base(schema: &Arc<Schema>, definition: &'static str, strategy: impl Strategy) -> Kind {
    let gv = GroupVersion::fixed("admissionregistration.k8s.io", "v1");
    let mut kind = stored(schema, gv, definition, Scope::Cluster, strategy);
    kind.names.categories.push(Cow::Borrowed("api-extensions"));
    Kind { counts_generations: true, ..kind }
}

/// Names that end so are kept for what is read from files; so far one is only warned.
const FROM_FILES: &str = ".static.k8s.io";

fn warn_of_name(name: &str) -> Vec<String> {
    if !name.ends_with(FROM_FILES) {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: names ending with {FROM_FILES:?} are reserved for static manifest-based configurations and cannot be managed via the API"
    )]
}
