//! What fields each kind has, of which type, and how lists and maps merge.
//!
//! There is one source: the `schemars` descriptions that come with the `k8s_openapi` types. What the server
//! needs of them all the time is in an outline, made and kept current by a test, and read into an arena
//! ([`Schema::global`]). Merge keys are not part of those descriptions; they are in the table of [`merge`].
//! The OpenAPI documents need the full descriptions and are generated from [`documents`] when asked for.

mod compile;
mod merge;
#[cfg(test)]
mod outline;
mod roots;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

pub use merge::{ListKind, PatchRule};

/// What comes before a definition's name in the references of [`documents`].
pub(crate) const REFERENCE_PREFIX: &str = "#/components/schemas/";

/// Definitions, fields and types of the built-in kinds.
const OUTLINE: &str = include_str!("schema/outline.txt");

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    String,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// Any number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A whole number or text (`targetPort`).
    IntOrString,
    /// An amount such as `100m` or `1Gi`.
    Quantity,
    /// RFC 3339, to the second.
    Time,
    /// RFC 3339, to the microsecond.
    MicroTime,
    /// Base64.
    Bytes,
    /// Any JSON, kept as it is.
    Any,
    /// Text keys with values of one type.
    Map(TypeId),
    /// Items of one type.
    List(TypeId),
    /// Known fields.
    Object(DefinitionId),
}

/// The type of a map's values or a list's items, see [`Schema::inner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(u16);

/// A definition, see [`Schema::get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionId(u16);

/// The fields of an object.
#[derive(Debug)]
pub struct Definition {
    name: &'static str,
    /// Ordered by name.
    fields: Box<[Field]>,
    /// Whether server-side apply treats the whole as one value.
    pub atomic: bool,
}

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// As in JSON.
    pub name: &'static str,
    /// What it holds.
    pub ty: Type,
    /// Whether the definition says that it must be there.
    pub required: bool,
    /// How a strategic merge patch treats it.
    pub patch: PatchRule,
    /// How server-side apply treats it, if it is a list or a map.
    pub list: ListKind,
}

/// All definitions.
#[derive(Debug, Default)]
pub struct Schema {
    definitions: Vec<Definition>,
    types: Vec<Type>,
    by_name: BTreeMap<&'static str, DefinitionId>,
}

impl Schema {
    /// The definitions of every built-in kind; built when first asked for.
    pub fn global() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| compile::compile(OUTLINE))
    }

    /// A definition by name, e.g. `io.k8s.api.core.v1.ServiceSpec`.
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    /// The type of a whole object; [`Type::Any`] for a definition that is not known.
    pub fn root(&self, name: &str) -> Type {
        self.by_name.get(name).map_or(Type::Any, |id| Type::Object(*id))
    }

    /// All definitions, ordered by name.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter()
    }

    /// What every definition is found by.
    pub(crate) fn ids(&self) -> impl Iterator<Item = DefinitionId> {
        self.by_name.values().copied()
    }

    /// A definition by id.
    pub fn get(&self, id: DefinitionId) -> &Definition {
        &self.definitions[usize::from(id.0)]
    }

    /// The type of a map's values or a list's items.
    pub fn inner(&self, id: TypeId) -> Type {
        self.types[usize::from(id.0)]
    }

    /// The field `name` of a type that is an object.
    pub fn field(&self, ty: Type, name: &str) -> Option<&Field> {
        match ty {
            Type::Object(id) => self.get(id).field(name),
            _ => None,
        }
    }
}

impl Definition {
    /// E.g. `io.k8s.api.core.v1.ServiceSpec`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// As Go's messages name it, e.g. `v1.ServiceSpec`.
    pub fn go_name(&self) -> String {
        let mut parts = self.name.rsplit('.');
        let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{package}.{name}")
    }

    /// The last part of the name, e.g. `ServiceSpec`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// All fields, ordered by name.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A field by name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.index(name).map(|i| &self.fields[i])
    }

    /// The place of a field in [`Definition::fields`].
    pub fn index(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok()
    }
}

/// The full JSON schemas of the root definitions that are `wanted` and of all that they refer to, by name.
/// Large (megabytes, for all roots): for those who write documents, not for keeping.
pub fn documents(wanted: &dyn Fn(&str) -> bool) -> Map<String, Value> {
    roots::generate(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_types_and_merge_keys() {
        let schema = Schema::global();
        let field = |definition: &str, name: &str| {
            schema
                .definition(definition)
                .unwrap()
                .field(name)
                .unwrap_or_else(|| panic!("{definition} {name}"))
        };
        let core = |name: &str| format!("io.k8s.api.core.v1.{name}");
        assert_eq!(field(&core("ServicePort"), "port").ty, Type::Int32);
        assert!(field(&core("ServicePort"), "port").required);
        assert_eq!(field(&core("ServicePort"), "targetPort").ty, Type::IntOrString);
        assert_eq!(
            field("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp").ty,
            Type::Time
        );
        assert_eq!(field("io.k8s.api.coordination.v1.LeaseSpec", "renewTime").ty, Type::MicroTime);
        let Type::Map(values) = field(&core("Secret"), "data").ty else { panic!("data is a map") };
        assert_eq!(schema.inner(values), Type::Bytes);
        let ports = field(&core("ServiceSpec"), "ports");
        assert_eq!(ports.patch.key, Some("port"));
        assert_eq!(ports.list, ListKind::Map(&["port", "protocol"]));
        assert_eq!(field(&core("ServiceSpec"), "selector").list, ListKind::Atomic);
    }

    #[test]
    fn every_merge_rule_names_an_existing_field() {
        let schema = Schema::global();
        for (definition, field) in merge::named_fields() {
            let Some(found) = schema.definition(definition) else { continue };
            assert!(found.field(field).is_some(), "{definition} has no field {field}");
        }
    }
}
