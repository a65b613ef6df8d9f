//! In which forms there are definitions, and what a kind is told that publishes its own.

use serde_json::{Value, json};
use skiff_descriptions::Descriptions;

use crate::{GroupVersion, Selectable};

/// A kind whose descriptions of the fields that all kinds have are taken for those that have none.
const ANY_KIND: &str = "io.k8s.api.core.v1.ConfigMap";

/// Which version of OpenAPI the definitions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Swagger 2.0.
    V2,
    /// OpenAPI 3.0.
    V3,
}

impl Dialect {
    /// A reference to a definition.
    pub fn reference(self, name: &str) -> Value {
        let prefix = match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        };
        json!({"$ref": format!("{prefix}{name}")})
    }
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

/// What the fields that all objects have mean.
#[derive(Clone, Copy)]
pub struct Common<'d>(pub(super) &'d Descriptions);

impl Common<'_> {
    /// The description of `apiVersion`, `kind` or `metadata`.
    pub fn text(&self, field: &str) -> &str {
        self.0.field(ANY_KIND, field).unwrap_or_default()
    }
}

/// A definition that is to be published.
pub struct Publication<'p> {
    /// Group and version of the kind.
    pub gv: &'p GroupVersion,
    /// Its name.
    pub kind: &'p str,
    /// Fields that field selectors may name.
    pub selectable: &'p [Selectable],
    /// For which version of OpenAPI.
    pub dialect: Dialect,
    /// What all definitions say.
    pub common: Common<'p>,
}
