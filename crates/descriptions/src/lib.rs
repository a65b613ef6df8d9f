//! What the fields of Kubernetes' API objects mean, in the words of its API reference: for `kubectl explain` and the
//! OpenAPI documents.
//!
//! They come from the source of the `k8s-openapi` dependency (see `build.rs`), 1 MB that takes 0.2 MB in the program,
//! and are unpacked only for as long as a document is made.

use std::collections::HashMap;
use std::io::Read as _;

use flate2::read::ZlibDecoder;

/// Texts by definition and field.
#[derive(Debug)]
pub struct Descriptions(HashMap<Box<str>, Box<str>>);

impl Descriptions {
    /// Unpacks them all: some milliseconds and megabytes.
    pub fn unpack() -> Self {
        let mut text = String::new();
        let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions"));
        ZlibDecoder::new(packed)
            .read_to_string(&mut text)
            .expect("what the build script packed can be unpacked");
        let entries = text.split_terminator('\u{2}').filter_map(|entry| entry.split_once('\u{1}'));
        Self(entries.map(|(place, text)| (place.into(), text.into())).collect())
    }

    /// What a definition is, e.g. `io.k8s.api.core.v1.ServiceSpec`.
    pub fn definition(&self, name: &str) -> Option<&str> {
        self.field(name, "")
    }

    /// What a field of a definition is.
    pub fn field(&self, definition: &str, field: &str) -> Option<&str> {
        self.0.get(&*format!("{definition} {field}")).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_definitions_and_fields() {
        let texts = Descriptions::unpack();
        let service = texts.definition("io.k8s.api.core.v1.ServiceSpec");
        assert_eq!(service, Some("ServiceSpec describes the attributes that a user creates on a service."));
        let field = |name| texts.field("io.k8s.api.core.v1.ServicePort", name).unwrap_or_default();
        assert_eq!(field("port"), "The port that will be exposed by this service.");
        // A type of its own, and more than one line.
        assert!(field("targetPort").starts_with("Number or name of the port"));
        assert!(field("appProtocol").contains("either:\n\n* Un-prefixed"));
        assert_eq!(texts.field("io.k8s.api.core.v1.ServicePort", "none"), None);
    }
}
