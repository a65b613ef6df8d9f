//! Files that configure a server: kinds of their own, read as strictly as objects are. Whatever would be ignored is an error.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use skiff_machinery::{Object, strict};
use skiff_schema::Schema;

use crate::pipeline::yaml;

/// A kind of configuration, in the versions in which Kubernetes has it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its definition in the schema that it is read by.
    pub definition: &'static str,
    /// `apiVersion` and `kind`; the first is the one to use.
    pub names: &'static [(&'static str, &'static str)],
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, kind) = self.names[0];
        write!(f, "{kind} of {version} is expected")
    }
}

/// The tree of a text in YAML or JSON.
///
/// # Errors
/// Why it is none, or which key stands twice.
pub fn read_text(text: &[u8]) -> Result<Value, String> {
    let text = yaml::to_json(text)?;
    if let Some(repeated) = text.repeated {
        return Err(format!("yaml: {repeated}"));
    }
    let value: Value = serde_json::from_slice(&text.json).map_err(|error| error.to_string())?;
    Object::from_value(value).map(Object::into_value).map_err(|error| error.to_string())
}

/// The fields of an object that is of a kind, in one of its versions.
///
/// # Errors
/// When it is of another kind, or has what the kind does not know.
///
/// # Panics
/// If the schema does not define the kind: both are parts of the program.
pub fn decode(object: &Value, wanted: &Kind, schema: &Arc<Schema>) -> Result<Value, String> {
    let word = |name: &str| object[name].as_str().unwrap_or_default();
    let (version, kind) = (word("apiVersion"), word("kind"));
    for (field, value) in [("kind", kind), ("apiVersion", version)] {
        if value.is_empty() {
            return Err(format!("{field}: Required value: {wanted}"));
        }
    }
    if !wanted.names.contains(&(version, kind)) {
        return Err(format!("no kind {kind:?} is registered for version {version:?}: {wanted}"));
    }
    let root = schema.root(wanted.definition).expect("the schema defines every kind that is read by it");
    strict::configured(object.clone(), &root)
}
