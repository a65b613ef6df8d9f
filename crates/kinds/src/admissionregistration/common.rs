//! What the group's kinds have in common.

use std::borrow::Cow;
use std::sync::Arc;

use skiff_machinery::{Kind, Scope, Strategy};
use skiff_schema::Schema;

use crate::groups::ADMISSION_REGISTRATION;
use crate::row::stored;

/// A row of the group.
pub(super) fn base(schema: &Arc<Schema>, definition: &'static str, strategy: impl Strategy) -> Kind {
    let mut kind = stored(schema, ADMISSION_REGISTRATION, definition, Scope::Cluster, strategy);
    kind.names.categories.push(Cow::Borrowed("api-extensions"));
    Kind { counts_generations: true, ..kind }
}

/// Names that end so are kept for what is read from files; so far one is only warned.
const FROM_FILES: &str = ".static.k8s.io";

/// The warning of such a name.
pub(super) fn warn_of_name(name: &str) -> Vec<String> {
    if !name.ends_with(FROM_FILES) {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: names ending with {FROM_FILES:?} are reserved for static manifest-based configurations and cannot be managed via the API"
    )]
}
