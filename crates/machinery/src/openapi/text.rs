//! The text of documents.

use std::io::Write as _;

use serde_json::Value;

use super::common::Encoding;
use super::gnostic;

/// Version in the documents' `info`.
pub(super) fn version() -> String {
    format!("v{}", skiff_schema::release())
}

/// The entries of a map in a document, written one by one: as one tree a document takes megabytes, which the allocator would
/// keep.
pub(super) struct Entries {
    encoding: Encoding,
    /// Of each entry, in protobuf: the number of its field, and how its value is written.
    message: (u16, gnostic::Form),
    pub(super) out: Vec<u8>,
}

impl Entries {
    pub(super) fn new(encoding: Encoding, message: (u16, gnostic::Form)) -> Self {
        Self { encoding, message, out: Vec::new() }
    }

    pub(super) fn push(&mut self, name: &str, value: &Value) {
        match self.encoding {
            Encoding::Json => {
                let comma = if self.out.is_empty() { "" } else { "," };
                write!(self.out, "{comma}{}:{value}", Value::from(name)).expect("writing into memory");
            }
            Encoding::Protobuf => {
                let (number, form) = &self.message;
                form.write_named(&mut self.out, *number, name, value);
            }
        }
    }
}
