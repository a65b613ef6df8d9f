//! Fields by which objects are selected.

use std::borrow::Cow;

use skiff_schema::Text;

use crate::{Native, Object};

/// A field's value as text; empty when unset.
pub type Getter = Native<fn(&Object) -> String, dyn Fn(&Object) -> String + Send + Sync>;

/// A field that a field selector may name besides `metadata.name` and `metadata.namespace`.
#[derive(Clone)]
pub struct Selectable {
    /// Label, e.g. `spec.nodeName`.
    pub label: Text,
    /// Its value in an object.
    pub getter: Getter,
    /// Whether the store keeps objects indexed by it; its label is then the path to its text, empty when it is absent. For
    /// what many ask for and few objects share.
    pub indexed: bool,
}

impl Selectable {
    /// A field of a built-in kind.
    pub const fn fixed(label: &'static str, value: fn(&Object) -> String) -> Self {
        Self { label: Cow::Borrowed(label), getter: Native::Fixed(value), indexed: false }
    }

    /// The same of one by which the store keeps objects indexed.
    pub const fn indexed(label: &'static str, value: fn(&Object) -> String) -> Self {
        Self { label: Cow::Borrowed(label), getter: Native::Fixed(value), indexed: true }
    }

    /// Its value in an object; empty when unset.
    pub fn value(&self, object: &Object) -> String {
        match &self.getter {
            Native::Fixed(value) => value(object),
            Native::Made(value) => value(object),
        }
    }
}
