//! The OpenAPI documents: version 3 per group and version (JSON), version 2 as one, in JSON and protobuf.
//!
//! kubectl reads from them which fields there are (`explain`, client-side validation), how lists merge
//! (`apply`), and that a PATCH knows `fieldValidation` and `dryRun`. Making a document takes milliseconds
//! and megabytes for the moment; callers keep the bytes, which do not change while the catalogue does not.

mod common;
mod definitions;
pub mod gnostic;
mod guests;
mod operations;
mod text;
mod v2;
mod v3;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use common::{Common, Dialect, Publication};
pub use guests::Guest;

use self::text::version;
use crate::discovery::Registry;
use crate::version_path;
use crate::{Catalogue, GroupVersion, Kind, discovery};

/// The media type in the Accept header of clients that want the version 2 document in protobuf.
pub const V2_ACCEPT: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The Content-Type of the version 2 document in protobuf: not the type that clients ask for, whose `@` is not allowed
/// in a media type, so that they could not parse it in an answer.
pub const V2_CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document of `/openapi/v3`: where the documents of each group and version are. The hash in the URL
/// changes with the document, so that clients may keep what they have. Other servers say where their documents are.
pub fn v3_index(catalogue: &Catalogue, registry: &Registry) -> Value {
    let entry = |gv: &GroupVersion, url: String| {
        (version_path(gv).trim_start_matches('/').to_owned(), json!({"serverRelativeURL": url}))
    };
    let own = |gv: &GroupVersion| {
        entry(gv, format!("/openapi/v3{}?hash={}", version_path(gv), hash(catalogue, gv)))
    };
    let mut paths: serde_json::Map<String, Value> =
        discovery::group_versions(catalogue).iter().map(own).collect();
    let others = registry.all_elsewhere().filter_map(|(gv, elsewhere)| Some((gv, elsewhere.v3.clone()?)));
    paths.extend(others.map(|(gv, url)| entry(gv, url)));
    json!({"paths": paths})
}

/// The document of `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`, as JSON text; `None` if there
/// is no such version.
pub fn v3_document(catalogue: &Catalogue, gv: &GroupVersion) -> Option<Vec<u8>> {
    let kinds: Vec<&Kind> = catalogue.iter().map(AsRef::as_ref).filter(|kind| kind.gv == *gv).collect();
    (!kinds.is_empty()).then(|| v3::document(catalogue, &kinds).into_bytes())
}

/// The document of `/openapi/v2` as protobuf, for clients before 1.27.
pub fn v2_protobuf(catalogue: &Catalogue, registry: &Registry) -> Vec<u8> {
    v2::protobuf(catalogue, registry)
}

/// The document of `/openapi/v2` as JSON text.
pub fn v2_json(catalogue: &Catalogue, registry: &Registry) -> Vec<u8> {
    v2::json(catalogue, registry).into_bytes()
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
