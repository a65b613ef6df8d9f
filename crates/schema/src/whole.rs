//! All definitions, and how they are found.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Definition, DefinitionId, Field, ListKind, Root, Type, TypeId, Zero, table};

/// All definitions.
#[derive(Debug, Default)]
pub struct Schema {
    /// Ordered by name.
    pub(crate) definitions: Vec<Definition>,
    pub(crate) types: Vec<Type>,
    /// Where definitions are that every kind has in common, if not here.
    pub(crate) common: Option<Arc<Schema>>,
    /// How server-side apply owns lists and maps that are items or values of maps, where it is not as without a word.
    pub(crate) nested: BTreeMap<TypeId, ListKind>,
}

/// The definitions of a release of Kubernetes.
const TABLE: &str = include_str!("kubernetes.txt");

/// The release whose definitions these are, e.g. `1.36.3`.
pub fn release() -> &'static str {
    table::release(TABLE)
}

impl Schema {
    /// The definitions of Kubernetes, those of kinds that are not served included.
    pub fn kubernetes() -> Self {
        table::read(TABLE)
    }

    /// The definitions of a table that reads as that of Kubernetes (`table.rs`); packages and names in order.
    ///
    /// # Panics
    /// If it does not read so: tables are parts of programs, and tests read them.
    pub fn of_table(text: &'static str) -> Self {
        table::read(text)
    }

    /// What a definition is found by.
    pub fn find(&self, name: &str) -> Option<DefinitionId> {
        let at = self.definitions.binary_search_by(|definition| (*definition.name).cmp(name)).ok()?;
        u16::try_from(at).ok().map(DefinitionId)
    }

    /// A definition by name, e.g. `io.k8s.api.core.v1.ServiceSpec`.
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        self.find(name).map(|id| self.get(id))
    }

    /// All definitions, ordered by name.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter()
    }

    /// A definition by id.
    pub fn get(&self, id: DefinitionId) -> &Definition {
        &self.definitions[usize::from(id.0)]
    }

    /// The type of a map's values or a list's items.
    pub fn inner(&self, id: TypeId) -> Type {
        self.types[usize::from(id.0)]
    }

    /// How server-side apply owns such a value, if it is a list or a map.
    pub fn inner_list(&self, id: TypeId) -> &ListKind {
        let unstated = || match self.inner(id) {
            Type::Map(_) => &ListKind::Granular,
            _ => &ListKind::Atomic,
        };
        self.nested.get(&id).unwrap_or_else(unstated)
    }

    /// The field `name` of a type that is an object.
    pub fn field(&self, ty: Type, name: &str) -> Option<&Field> {
        match ty {
            Type::Object(id) => self.get(id).field(name),
            _ => None,
        }
    }

    /// The type of what a path of field names leads to; keys of maps count as names, items of lists have none.
    pub fn at<'p>(&self, ty: Type, path: impl IntoIterator<Item = &'p str>) -> Option<Type> {
        path.into_iter().try_fold(ty, |mut ty, name| {
            while let Type::List(inner) = ty {
                ty = self.inner(inner);
            }
            match ty {
                Type::Raw(_) => Some(ty),
                Type::Map(inner) => Some(self.inner(inner)),
                ty => self.field(ty, name).map(|field| field.ty),
            }
        })
    }

    /// What a type is in the end: what its lists of maps of lists hold.
    pub fn innermost(&self, ty: Type) -> Type {
        match ty {
            Type::List(inner) | Type::Map(inner) => self.innermost(self.inner(inner)),
            other => other,
        }
    }

    /// An object of a definition of which nothing is set, with what is written all the same.
    pub fn empty_object(&self, id: DefinitionId) -> Map<String, Value> {
        let written = self.get(id).fields().iter().filter(|field| field.zero == Zero::Written);
        written.filter_map(|field| Some((field.name.to_string(), self.empty(field.ty)?))).collect()
    }

    /// The zero of a type; none for times and raw JSON, whose zero is null.
    pub fn empty(&self, ty: Type) -> Option<Value> {
        match ty {
            Type::Object(id) => Some(Value::Object(self.empty_object(id))),
            Type::Map(_) => Some(Value::Object(Map::new())),
            Type::List(_) => Some(Value::Array(Vec::new())),
            Type::IntOrString => Some(0.into()),
            Type::Quantity => Some("0".into()),
            Type::Bytes => Some("".into()),
            ty => ty.plain_zero(),
        }
    }

    /// Whole objects of a definition, of this schema or of what it has in common with others.
    pub fn root(self: &Arc<Self>, name: &str) -> Option<Root> {
        match self.find(name) {
            Some(id) => Some(Root { schema: self.clone(), id }),
            None => self.common.as_ref()?.root(name),
        }
    }
}
