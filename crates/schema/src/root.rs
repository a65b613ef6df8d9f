//! The types of whole objects.

use std::fmt;
use std::sync::Arc;

use crate::{Definition, DefinitionId, Kinds, Schema, Type};

/// The type of whole objects: a schema and a definition of it.
#[derive(Clone)]
pub struct Root {
    pub(crate) schema: Arc<Schema>,
    pub(crate) id: DefinitionId,
}

impl Root {
    /// The schema that the definition is in.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The schema that the definition is in, for others to hold.
    pub fn share(&self) -> Arc<Schema> {
        self.schema.clone()
    }

    /// A value of the definition.
    pub fn ty(&self) -> Type {
        Type::Object(self.id)
    }

    /// What the definition is found by.
    pub fn id(&self) -> DefinitionId {
        self.id
    }

    /// The fields of the whole object.
    pub fn definition(&self) -> &Definition {
        self.schema.get(self.id)
    }

    /// E.g. `io.k8s.api.core.v1.Service`.
    pub fn name(&self) -> &str {
        &self.definition().name
    }

    /// The definition of a kind of objects in the same schema.
    pub fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<Self> {
        let is_it = |definition: &Definition| match &definition.kinds {
            Kinds::Of(kinds) => kinds.iter().any(|known| *known == [group, version, kind]),
            Kinds::None | Kinds::Everywhere => false,
        };
        self.schema.definitions().find(|definition| is_it(definition)).and_then(|d| self.sibling(d.name()))
    }

    /// Another definition of the same schema.
    pub fn sibling(&self, name: &str) -> Option<Self> {
        self.schema.root(name)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.name())
    }
}

impl PartialEq for Root {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.schema, &other.schema) && self.id == other.id
    }
}

impl Eq for Root {}
