//! Kubernetes' protobuf encoding: bodies to JSON trees, and back.
//!
//! Go clients with built-in types (kubectl from 1.32 for `create namespace`, `auth can-i`, `drain`, …) send nothing
//! else, and ask for it. Types and numbers of the fields are those of the [schema](skiff_schema); fields of other
//! numbers are skipped.

mod decode;
mod encode;
mod tree;
mod wire;
pub(crate) mod write;

use thiserror::Error;

pub use decode::{decode, type_of};
pub use encode::{
    envelope, event, list_end, list_item, list_item_size, list_start, message, message_of_text,
    metadata_message, object, wrapped_metadata,
};

/// The media type of the encoding.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";

/// The definition of JSON schemas, which stand beside other things in [`Type::SchemaOr`](skiff_schema::Type).
const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// The first second of the year 1, as Go's zero time is sent.
const GO_ZERO: i64 = -62_135_596_800;

/// A body that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProtobufError {
    /// The body does not start as Kubernetes' encoding does.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// There is nothing after the prefix.
    #[error("empty body")]
    Empty,
    /// The bytes end within a field.
    #[error("unexpected EOF")]
    End,
    /// A number has more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A length has more than 63 bits.
    #[error("proto: negative length found during unmarshaling")]
    NegativeLength,
    /// A field has none of the encoding's forms.
    #[error("proto: illegal wireType {0}")]
    IllegalForm(u64),
    /// A group ends that did not begin, in this message.
    #[error("proto: {0}: wiretype end group for non-group")]
    EndGroup(String),
    /// A group ends that did not begin, where the message has no name.
    #[error("proto: unexpected end of group")]
    UnexpectedEndGroup,
    /// The number of a field is not above zero.
    #[error("proto: {message}: illegal tag {number} (wire type {key})")]
    Tag {
        /// The message's name, without its group and version.
        message: String,
        /// The field's number.
        number: i32,
        /// Number and form as they are sent, in one.
        key: u64,
    },
    /// Messages are in each other deeper than any definition is.
    #[error("exceeded max depth of {0} messages")]
    Depth(usize),
    /// A field has another form than its type.
    #[error("proto: wrong wireType = {form} for field {field}")]
    Form {
        /// The form that was sent.
        form: u8,
        /// The field.
        field: String,
    },
    /// Text is not UTF-8.
    #[error("proto: field {0} contains invalid UTF-8")]
    Text(String),
    /// The definition has no form in protobuf.
    #[error("no protobuf form of {0} is known")]
    Unknown(String),
}

#[cfg(test)]
mod tests;
