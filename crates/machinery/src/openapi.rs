//! The OpenAPI documents: version 3 per group and version, version 2 as one, each in JSON and protobuf.
//!
//! kubectl reads from them which fields there are (`explain`, client-side validation), how lists merge
//! (`apply`), and that a PATCH knows `fieldValidation` and `dryRun`. Making a document takes milliseconds
//! and megabytes for the moment; callers keep the bytes, which do not change while the catalogue does not.

mod common;
mod definitions;
mod gnostic;
mod guests;
mod operations;
mod text;
mod v2;
mod v3;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use skiff_ordered::Ordered as _;

pub use common::{Common, Dialect, Encoding, Publication};
pub use guests::Guest;

use self::text::version;
use crate::discovery::Registry;
use crate::version_path;
use crate::{Catalogue, GroupVersion, Kind, discovery};

/// The document of `/openapi/v3`: where the documents of each group and version are. The hash in the URL
/// changes with the document, so that clients may keep what they have. Other servers say where their documents are.
pub fn v3_index(catalogue: &Catalogue, registry: &Registry) -> Value {
    let entry = |gv: &GroupVersion, url: String| {
        (version_path(gv).trim_start_matches('/').to_owned(), json!({"serverRelativeURL": url}))
    };
    let own = |gv: &GroupVersion| entry(gv, v3_url(catalogue, gv));
    let mut paths: serde_json::Map<String, Value> =
        discovery::group_versions(catalogue).iter().map(own).one_by_one();
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
