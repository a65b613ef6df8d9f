//! The text of documents.

use std::fmt::Write as _;

use serde_json::Value;

/// Version in the documents' `info`.
pub(super) fn version() -> String {
    format!("v{}", skiff_schema::release())
}

/// The entries of a JSON object, after the text that opens it. A document is written part by part: as one tree it takes megabytes,
/// which the allocator would keep.
pub(super) struct Entries(pub(super) String);

impl Entries {
    pub(super) fn push(&mut self, name: &str, value: &Value) {
        let comma = if self.0.ends_with('{') { "" } else { "," };
        write!(self.0, "{comma}{}:{value}", Value::from(name)).expect("writing into a String");
    }
}
