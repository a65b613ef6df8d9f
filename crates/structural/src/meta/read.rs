//! From JSON as it was sent or stored to an object in the form of its schema.

use serde_json::Value;
use skiff_machinery::FieldError;
use thiserror::Error;

use super::{Malformed, ObjectMeta};
use crate::default::drop_nulls;
use crate::model::Structural;
use crate::path::Path;
use crate::prune::prune;
use crate::scale::mismatch;

/// Why JSON is no object of a kind; what was sent is malformed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ReadError {
    /// `apiVersion`, `kind` or `metadata` has the wrong type.
    #[error("{0}")]
    Meta(String),
    /// So has that of an embedded resource.
    #[error("{0}")]
    Embedded(FieldError),
}

impl ObjectMeta {
    /// Brings a whole object into the form of its schema: fields that it does not know are removed, and so are nulls
    /// that mean nothing; metadata has the form of ObjectMeta. [`crate::default`] comes next.
    ///
    /// The paths of the fields that were removed are for `fieldValidation`: `unknown field "spec.foo"`.
    pub fn read(
        &self,
        object: &mut Value,
        schema: &Structural,
        malformed: Malformed,
    ) -> Result<Vec<String>, ReadError> {
        let mut unknown = Vec::new();
        for name in ["kind", "apiVersion"] {
            if let Some(value) = object.get(name).filter(|value| !value.is_string()) {
                return Err(ReadError::Meta(mismatch(&format!(".{name}"), value, "string")));
            }
        }
        if let Some(metadata) = object.get_mut("metadata") {
            let path = Path::Root("metadata");
            unknown.extend(self.object_meta(&path, metadata, malformed).map_err(ReadError::Meta)?);
        }
        unknown.extend(prune(object, schema, true));
        drop_nulls(object, schema);
        let embedded = self.coerce(object, schema, false, malformed);
        unknown.extend(embedded.map_err(ReadError::Embedded)?);
        Ok(unknown)
    }
}
