//! What fields API objects have, of which type, and how they merge, are defaulted and encoded.
//!
//! Three facts shape this crate:
//! - A [`Schema`] is a value. [`Schema::kubernetes`] reads that of the built-in kinds from a table
//!   (`src/kubernetes.txt`), which `cargo xtask schema` makes from what a Kubernetes release publishes; nothing here is
//!   global, and texts may be owned, so that a schema can come from elsewhere as well.
//! - The table is read in about half a millisecond, when a server starts; see `bench` in this crate's tests.
//! - It knows no kind and does no I/O.

mod build;
mod go;
mod root;
mod table;
mod whole;

use std::borrow::Cow;

use serde_json::{Map, Value};

pub use build::Builder;
pub use go::{GoField, go_field};
pub use root::Root;
pub use whole::{Schema, release};

/// Text of the table, or of a schema that was made while running.
pub type Text = Cow<'static, str>;

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// JSON that is kept as it is.
    Raw(Raw),
    /// Text keys with values of one type.
    Map(TypeId),
    /// Items of one type.
    List(TypeId),
    /// Known fields.
    Object(DefinitionId),
}

/// JSON that is kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Raw {
    /// Anything.
    Json,
    /// Any object.
    Extension,
    /// A set of fields.
    FieldsV1,
    /// In the schemas of CustomResourceDefinitions: a schema or a list of them (`items`).
    SchemaOrSchemas,
    /// There: a schema, `true` or `false` (`additionalProperties`).
    SchemaOrBool,
    /// There: a schema or a list of field names (`dependencies`).
    SchemaOrStrings,
}

/// The type of a map's values or a list's items, see [`Schema::inner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(u16);

/// A definition, see [`Schema::get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionId(u16);

/// The fields of an object.
#[derive(Clone, Debug)]
pub struct Definition {
    name: Text,
    /// Ordered by name.
    fields: Box<[Field]>,
    /// The fields that protobuf knows, ordered by their numbers.
    numbers: Box<[(Numbers, u16)]>,
    /// Whether server-side apply treats the whole as one value.
    pub atomic: bool,
    /// Whether objects may have fields that are not defined here, of which nothing is known.
    pub open: bool,
    /// The kinds of objects that it describes.
    pub kinds: Kinds,
    /// Groups of fields of which one may be set.
    pub unions: Box<[Union]>,
}

/// The kinds of objects that a definition describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kinds {
    /// None: it is a part of others.
    #[default]
    None,
    /// These: group, version and kind.
    Of(Box<[[Text; 3]]>),
    /// One in every group and version (`DeleteOptions`).
    Everywhere,
}

/// Fields of which one may be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    /// The field that tells which; may be empty.
    pub discriminator: Text,
    /// Ordered by name.
    pub fields: Box<[Text]>,
}

/// One field of an object.
#[derive(Clone, Debug)]
pub struct Field {
    /// As in JSON.
    pub name: Text,
    /// What it holds.
    pub ty: Type,
    /// Whether the definition says that it must be there.
    pub required: bool,
    /// What becomes of its zero.
    pub zero: Zero,
    /// How a strategic merge patch treats it.
    pub patch: PatchRule,
    /// How server-side apply treats it, if it is a list, a map or a struct; what the definition of a struct says of itself counts
    /// unless this is granular.
    pub list: ListKind,
    /// Whether the definition says so itself, also where it would be so anyway.
    pub list_stated: bool,
    /// Its value where none is given, if that is not what [`Zero::Written`] says.
    pub default: Option<Box<Value>>,
    /// Whether protobuf sends the list as a message with the items as its field 1.
    pub wrapped: bool,
    /// Its place among the fields in the order in which Go declares, and writes, them.
    rank: usize,
}

/// What becomes of the zero of a field: `""`, `0`, `false`, an empty list, map or struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// It is a value, other than none (a pointer of Go's).
    Value,
    /// So it is, and none is written as null.
    ValueOrNull,
    /// It is the same as none, and left out.
    Omitted,
    /// It is the same as none, and written.
    Written,
}

/// What a strategic merge patch does with a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchRule {
    /// As in OpenAPI, e.g. `merge,retainKeys`; empty if the definition says nothing.
    pub strategy: Text,
    /// The field that identifies an item of a merged list of objects.
    pub key: Option<Text>,
}

impl PatchRule {
    /// Whether a list is merged (with [`PatchRule::key`], or as a set of scalars) and not replaced.
    pub fn merges(&self) -> bool {
        self.strategy.split(',').any(|word| word == "merge")
    }

    /// Whether an object is replaced as a whole.
    pub fn replaces(&self) -> bool {
        self.strategy.split(',').any(|word| word == "replace")
    }
}

/// How server-side apply owns a list or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// As one value.
    Atomic,
    /// Scalars, each owned by itself.
    Set,
    /// Items identified by these fields, each owned by itself.
    Map(Box<[Text]>),
    /// A map whose entries, or a struct whose fields, are owned one by one.
    Granular,
}

/// Where a field is in protobuf: its number, after those of the messages that JSON shows without a level of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Numbers([u16; 3]);

/// What a number of a message stands for, see [`Definition::slot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The field at this place of [`Definition::fields`].
    Field(usize),
    /// A message whose fields JSON shows in the outer object.
    Inline(Level),
}

/// A message of a definition: the outermost, or one whose fields JSON shows in the outer object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    prefix: [u16; 3],
    depth: usize,
}

impl Definition {
    /// E.g. `io.k8s.api.core.v1.ServiceSpec`.
    pub fn name(&self) -> &str {
        &self.name
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

    /// Where Go writes a field, among the others; fields that it does not know come last.
    pub fn rank(&self, name: &str) -> usize {
        self.field(name).map_or(usize::MAX, |field| field.rank)
    }

    /// The place of a field in [`Definition::fields`].
    pub fn index(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()
    }

    /// Whether it has a form in protobuf.
    pub fn has_protobuf(&self) -> bool {
        !self.numbers.is_empty() || self.fields.is_empty()
    }

    /// What a number of one of its messages stands for.
    pub fn slot(&self, level: Level, number: u32) -> Option<Slot> {
        let wanted = level.below(u16::try_from(number).ok().filter(|number| *number > 0)?)?;
        let at = self.numbers.partition_point(|(numbers, _)| numbers.0 < wanted.prefix);
        let (numbers, field) = self.numbers.get(at)?;
        if numbers.0 == wanted.prefix {
            return Some(Slot::Field(usize::from(*field)));
        }
        wanted.holds(*numbers).then_some(Slot::Inline(wanted))
    }

    /// The numbers of one of its messages and what they stand for, in order.
    pub fn slots(&self, level: Level) -> impl Iterator<Item = (u16, Slot)> {
        let mut last = 0;
        self.numbers.iter().filter(move |(numbers, _)| level.holds(*numbers)).filter_map(
            move |(numbers, _)| {
                let number = numbers.0[level.depth];
                let is_new = std::mem::replace(&mut last, number) != number;
                is_new.then(|| Some((number, self.slot(level, number.into())?))).flatten()
            },
        )
    }
}

impl Level {
    fn below(self, number: u16) -> Option<Self> {
        let mut prefix = self.prefix;
        *prefix.get_mut(self.depth)? = number;
        Some(Self { prefix, depth: self.depth + 1 })
    }

    fn holds(self, numbers: Numbers) -> bool {
        numbers.0[..self.depth] == self.prefix[..self.depth]
    }
}

impl Field {
    /// What stands where nothing is given, as OpenAPI tells it; none if nothing does.
    pub fn default_value(&self) -> Option<Value> {
        if let Some(default) = &self.default {
            return Some((**default).clone());
        }
        (self.zero == Zero::Written).then(|| self.ty.plain_zero()).flatten()
    }
}

impl Type {
    /// What is known of a value of which nothing is known.
    pub const ANY: Self = Self::Raw(Raw::Json);

    /// The zero of texts, numbers and structs; none for types whose zero is written in another way.
    pub fn plain_zero(self) -> Option<Value> {
        match self {
            Self::String => Some("".into()),
            Self::Int32 | Self::Int64 | Self::Float => Some(0.into()),
            Self::Bool => Some(false.into()),
            Self::Object(_) => Some(Value::Object(Map::new())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
