//! The OpenAPI documents: version 3 per group and version, version 2 as one, each in JSON and protobuf.
//!
//! kubectl reads from them which fields there are (`explain`, client-side validation), how lists merge
//! (`apply`), and that a PATCH knows `fieldValidation` and `dryRun`. Making a document takes milliseconds
//! and megabytes for the moment; callers keep the bytes, which do not change while the catalogue does not.

mod definitions;
mod gnostic;
mod guests;
mod operations;
mod v2;
mod v3;

use std::io::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use definitions::{Common, Dialect};
pub use guests::Guest;

use crate::discovery::Registry;
use crate::subresource::version_path;
use crate::{Catalogue, GroupVersion, Kind, discovery};

/// Version in the documents' `info`.
fn version() -> String {
    format!("v{}", skiff_schema::release())
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As OpenAPI has it.
    Json,
    /// As messages of gnostic's.
    Protobuf,
}

impl Encoding {
    /// The media types in the Accept header of clients that want it, the one of answers last: some ask for one whose `@`
    /// is not allowed in a media type, so that they could not parse it in an answer.
    pub fn media_types(self, dialect: Dialect) -> &'static [&'static str] {
        match (self, dialect) {
            (Self::Json, _) => &["application/json"],
            (Self::Protobuf, Dialect::V2) => &[
                "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
                "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
            ],
            (Self::Protobuf, Dialect::V3) => &[
                "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
                "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
            ],
        }
    }
}

/// The document of `/openapi/v3`: where the documents of each group and version are. The hash in the URL
/// changes with the document, so that clients may keep what they have. Other servers say where their documents are.
pub fn v3_index(catalogue: &Catalogue, registry: &Registry) -> Value {
    let entry = |gv: &GroupVersion, url: String| {
        (version_path(gv).trim_start_matches('/').to_owned(), json!({"serverRelativeURL": url}))
    };
    let own = |gv: &GroupVersion| entry(gv, v3_url(catalogue, gv));
    let mut paths: serde_json::Map<String, Value> =
        discovery::group_versions(catalogue).iter().map(own).collect();
    let others = registry.all_elsewhere().filter_map(|(gv, elsewhere)| Some((gv, elsewhere.v3.clone()?)));
    paths.extend(others.map(|(gv, url)| entry(gv, url)));
    json!({"paths": paths})
}

/// Where the present document of a version is, with the hash by which it is known.
pub fn v3_url(catalogue: &Catalogue, gv: &GroupVersion) -> String {
    format!("/openapi/v3{}?hash={}", version_path(gv), hash(catalogue, gv))
}

/// The document of `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`; `None` if there is no such version.
pub fn v3_document(catalogue: &Catalogue, gv: &GroupVersion, encoding: Encoding) -> Option<Vec<u8>> {
    let kinds: Vec<&Kind> = catalogue.iter().map(AsRef::as_ref).filter(|kind| kind.gv == *gv).collect();
    (!kinds.is_empty()).then(|| v3::document(catalogue, &kinds, encoding))
}

/// The document of `/openapi/v2`; clients before 1.27 ask for it in protobuf.
pub fn v2_document(catalogue: &Catalogue, registry: &Registry, encoding: Encoding) -> Vec<u8> {
    v2::document(catalogue, registry, encoding)
}

/// Identifies the document of a version: made from what goes into it, which is cheaper than the document.
pub fn hash(catalogue: &Catalogue, gv: &GroupVersion) -> String {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    digest.update(version());
    for kind in catalogue.iter().filter(|kind| kind.gv == *gv) {
        let Kind { names, scope, verbs, subresources, edition, .. } = &**kind;
        digest.update(format!("{names:?} {scope:?} {verbs:?} {subresources:?} {edition}\n"));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The entries of a map in a document, written one by one: as one tree a document takes megabytes, which the allocator would
/// keep.
struct Entries {
    encoding: Encoding,
    /// Of each entry, in protobuf: the number of its field, and how its value is written.
    message: (u16, gnostic::Form),
    out: Vec<u8>,
}

impl Entries {
    fn new(encoding: Encoding, message: (u16, gnostic::Form)) -> Self {
        Self { encoding, message, out: Vec::new() }
    }

    fn push(&mut self, name: &str, value: &Value) {
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
