//! Types as schemas declare them: with bounds of size, from which cost is estimated, and with the form that their
//! values have in JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::escape::{escape, unescape};
use crate::limits::REQUEST_SIZE;
use crate::types::{Kubernetes, Type};

/// The type of a variable or of a part of it. Where a schema sets no bound, the largest request does.
#[derive(Clone, Debug)]
pub struct DeclaredType {
    pub(crate) shape: Shape,
    pub(crate) nullable: bool,
    /// Elements, entries, bytes: what `size()` can be at most; zero for what has no size.
    pub(crate) max_elements: u64,
    /// Bytes that a value has in JSON at least.
    pub(crate) min_size: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Any,
    IntOrString,
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Duration,
    Date,
    DateTime,
    List { items: Arc<DeclaredType>, kind: ListKind },
    Map { values: Arc<DeclaredType> },
    Object(Arc<ObjectType>),
    Optional(Arc<DeclaredType>),
    Typed(Type),
}

/// What makes elements of a list the same (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Nothing: lists are equal when they have equal elements in the same order.
    #[default]
    Atomic,
    /// Their value; the order says nothing, and a sum is the union.
    Set,
    /// The values of these fields; the order says nothing, and in a sum the second replaces the first.
    Map(Vec<String>),
}

/// An object's fields.
#[derive(Debug)]
pub(crate) struct ObjectType {
    /// A name that clients may see; else one is made from where the type stands.
    pub(crate) name: Option<Arc<str>>,
    /// By the name in JSON.
    pub(crate) fields: BTreeMap<String, DeclaredType>,
}

/// A field of an object for [`DeclaredType::object`].
#[derive(Clone, Debug)]
pub struct Field {
    declared: DeclaredType,
    always: bool,
}

impl Field {
    /// A field that may be absent.
    pub fn optional(declared: DeclaredType) -> Self {
        Self { declared, always: false }
    }

    /// A field that every object has: required, without default.
    pub fn required(declared: DeclaredType) -> Self {
        Self { declared, always: true }
    }
}

/// Bytes around the whole in JSON.
const BRACKETS: u64 = 2;
/// A date or time as short as it gets, quotes included.
const MIN_DATE_TIME: u64 = 21;
const DATE: u64 = 12;
const MIN_DURATION: u64 = 3;
const MAX_DURATION: u64 = 32;
const MAX_DATE_TIME: u64 = 32;

impl DeclaredType {
    fn new(shape: Shape, max_elements: u64, min_size: u64) -> Self {
        Self { shape, nullable: false, max_elements, min_size }
    }

    /// Anything: maps, lists and scalars as JSON has them.
    pub fn any() -> Self {
        Self::new(Shape::Any, 0, 1)
    }

    /// `x-kubernetes-int-or-string`.
    pub fn int_or_string(max_length: Option<u64>) -> Self {
        Self::new(Shape::IntOrString, max_length.map_or(REQUEST_SIZE - BRACKETS, utf8), 1)
    }

    /// `type: boolean`
    pub fn boolean() -> Self {
        Self::new(Shape::Bool, 0, 4)
    }

    /// `type: integer`
    pub fn integer() -> Self {
        Self::new(Shape::Int, 0, 1)
    }

    /// `type: number`
    pub fn number() -> Self {
        Self::new(Shape::Double, 0, 1)
    }

    /// A string of at most `max_length` code points; when none is given, the longest of `values`, if it has such.
    pub fn string<'v>(max_length: Option<u64>, values: impl IntoIterator<Item = &'v str>) -> Self {
        let longest = values.into_iter().map(str::len).max();
        let longest = longest.map_or(REQUEST_SIZE - BRACKETS, |longest| longest as u64);
        Self::new(Shape::String, max_length.map_or(longest, utf8), 2)
    }

    /// `format: byte`: base64 in JSON.
    pub fn bytes(max_length: Option<u64>) -> Self {
        Self::new(Shape::Bytes, max_length.unwrap_or(REQUEST_SIZE - BRACKETS), 2)
    }

    /// `format: duration`
    pub fn duration() -> Self {
        Self::new(Shape::Duration, MAX_DURATION, MIN_DURATION)
    }

    /// `format: date`
    pub fn date() -> Self {
        Self::new(Shape::Date, DATE, DATE)
    }

    /// `format: date-time`
    pub fn date_time() -> Self {
        Self::new(Shape::DateTime, MAX_DATE_TIME, MIN_DATE_TIME)
    }

    /// A list of at most `max_items`.
    pub fn list(items: Self, max_items: Option<u64>, kind: ListKind) -> Self {
        let most = max_items.unwrap_or((REQUEST_SIZE - BRACKETS) / (items.min_size + 1));
        Self::new(Shape::List { items: Arc::new(items), kind }, most, BRACKETS)
    }

    /// A map from strings (`additionalProperties`) with at most `max_properties` entries.
    pub fn map(values: Self, max_properties: Option<u64>) -> Self {
        // Each entry has two quotes, a colon, a comma and a key besides.
        let most = max_properties.unwrap_or((REQUEST_SIZE - BRACKETS) / (values.min_size + 6));
        Self::new(Shape::Map { values: Arc::new(values) }, most, BRACKETS)
    }

    /// An object with fields by their names in JSON. Names that cannot be escaped cannot be selected.
    pub fn object(fields: impl IntoIterator<Item = (String, Field)>) -> Self {
        Self::object_of(None, fields)
    }

    /// An object type whose name clients see in messages. Its fields are selected by their names as they are, not escaped.
    pub fn named_object(name: &str, fields: impl IntoIterator<Item = (String, Field)>) -> Self {
        Self::object_of(Some(name.into()), fields)
    }

    fn object_of(name: Option<Arc<str>>, fields: impl IntoIterator<Item = (String, Field)>) -> Self {
        let mut min_size = BRACKETS;
        let mut declared = BTreeMap::new();
        for (name, field) in fields {
            if field.always {
                min_size += name.len() as u64 + field.declared.min_size + 4;
            }
            declared.insert(name, field.declared);
        }
        Self::new(Shape::Object(Arc::new(ObjectType { name, fields: declared })), 0, min_size)
    }

    /// A value that may be absent, as an optional one.
    pub fn maybe(self) -> Self {
        Self::new(Shape::Optional(Arc::new(self)), 0, 1)
    }

    /// A value of one of Kubernetes' libraries.
    pub fn kubernetes(known: Kubernetes) -> Self {
        Self::typed(Type::Kubernetes(known))
    }

    /// A value that an expression of this type has made. Object types in it are those of other variables.
    pub fn typed(of: Type) -> Self {
        Self::new(Shape::Typed(of), 0, 1)
    }

    /// The same, but null is a value, too.
    #[must_use]
    pub fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// Bytes that a value has in JSON at least.
    pub fn min_size(&self) -> u64 {
        self.min_size
    }

    /// How often a value of this type can be in one request at most.
    pub fn max_cardinality(&self) -> u64 {
        REQUEST_SIZE / (self.min_size + 1)
    }

    /// Whether both are one type: copies of each other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.shape, &other.shape) {
            (Shape::Optional(inner), _) => inner.is_same(other),
            (_, Shape::Optional(inner)) => self.is_same(inner),
            (Shape::Object(one), Shape::Object(another)) => Arc::ptr_eq(one, another),
            (Shape::List { items: one, .. }, Shape::List { items: another, .. })
            | (Shape::Map { values: one }, Shape::Map { values: another }) => Arc::ptr_eq(one, another),
            _ => false,
        }
    }

    /// The type of one field, item or entry.
    pub(crate) fn part(&self, part: &Part) -> Option<&Self> {
        match (&self.shape, part) {
            (Shape::Optional(inner), part) => inner.part(part),
            (Shape::List { items, .. }, Part::Items) => Some(items),
            (Shape::Map { values }, Part::Values) => Some(values),
            (Shape::Map { .. }, Part::Keys) => Some(&KEY),
            (Shape::Object(object), Part::Field(name)) if object.name.is_some() => object.fields.get(name),
            (Shape::Object(object), Part::Field(name)) => {
                let field = unescape(name)?;
                // A word of the language that was not escaped leads nowhere here.
                let escaped = escape(&field).is_some_and(|escaped| escaped == *name);
                object.fields.get(&field).filter(|_| escaped)
            }
            _ => None,
        }
    }
}

/// Keys of maps have no size that counts.
static KEY: DeclaredType =
    DeclaredType { shape: Shape::String, nullable: false, max_elements: 0, min_size: 2 };

/// A step from a type to the type of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// By its escaped name.
    Field(String),
    Items,
    Indices,
    Keys,
    Values,
}

/// Code points have up to four bytes.
fn utf8(length: u64) -> u64 {
    length.saturating_mul(4)
}

/// The fields of an object type as the checker sees them, by escaped name.
pub(crate) type Fields = BTreeMap<String, Type>;

/// Object types by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    by_name: BTreeMap<Arc<str>, Arc<Fields>>,
}

impl Objects {
    pub(crate) fn fields(&self, name: &str) -> Option<&Fields> {
        self.by_name.get(name).map(|fields| &**fields)
    }

    /// Adds a field to an object type, or changes its type.
    pub(crate) fn declare(&mut self, name: &str, field: &str, of: Type) {
        let fields = self.by_name.entry(name.into()).or_default();
        Arc::make_mut(fields).insert(field.to_owned(), of);
    }

    /// The checker's type of `declared`; object types in it are noted, with names made from `path`.
    pub(crate) fn register(&mut self, declared: &DeclaredType, path: &str) -> Type {
        match &declared.shape {
            Shape::Any | Shape::IntOrString => Type::Dyn,
            Shape::Bool => Type::Bool,
            Shape::Int => Type::Int,
            Shape::Double => Type::Double,
            Shape::String => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Duration => Type::Duration,
            Shape::Date | Shape::DateTime => Type::Timestamp,
            Shape::List { items, .. } => Type::list(self.register(items, &format!("{path}.@idx"))),
            Shape::Map { values } => Type::map(Type::String, self.register(values, &format!("{path}.@elem"))),
            Shape::Optional(inner) => Type::optional(self.register(inner, path)),
            Shape::Typed(of) => of.clone(),
            Shape::Object(object) => self.object(object, path),
        }
    }

    fn object(&mut self, object: &ObjectType, path: &str) -> Type {
        let name: Arc<str> = object.name.clone().unwrap_or_else(|| path.into());
        let mut fields = Fields::new();
        for (field, declared) in &object.fields {
            let escaped = if object.name.is_some() { Some(field.clone()) } else { escape(field) };
            if let Some(escaped) = escaped {
                let of = self.register(declared, &format!("{name}.{escaped}"));
                fields.insert(escaped, of);
            }
        }
        self.by_name.insert(name.clone(), Arc::new(fields));
        Type::Object(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_of_types_without_a_name_are_escaped() {
        let fields = || [("namespace".to_owned(), Field::optional(DeclaredType::integer()))];
        let mut objects = Objects::default();
        objects.register(&DeclaredType::object(fields()), "selfType");
        objects.register(&DeclaredType::named_object("kubernetes.Metadata", fields()), "");
        let names = |of: &str| objects.fields(of).unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names("selfType"), ["__namespace__"]);
        assert_eq!(names("kubernetes.Metadata"), ["namespace"]);
    }

    #[test]
    fn sizes_are_estimated_where_schemas_set_no_bound() {
        let check = |declared: DeclaredType, most: u64, least: u64| {
            assert_eq!((declared.max_elements, declared.min_size), (most, least), "{declared:?}");
        };
        check(DeclaredType::string(None, []), 3_145_726, 2);
        check(DeclaredType::string(None, ["one", "three"]), 5, 2);
        check(DeclaredType::string(Some(20), ["ignored"]), 80, 2);
        check(DeclaredType::int_or_string(None), 3_145_726, 1);
        check(DeclaredType::list(DeclaredType::integer(), None, ListKind::Atomic), 1_572_863, 2);
        check(DeclaredType::list(DeclaredType::integer(), Some(3), ListKind::Set), 3, 2);
        check(DeclaredType::map(DeclaredType::string(None, []), None), 393_215, 2);
        let name = ("name".to_owned(), Field::required(DeclaredType::string(None, [])));
        let port = ("port".to_owned(), Field::optional(DeclaredType::integer()));
        check(DeclaredType::object([name, port]), 0, 12);
    }
}
