//! What expressions evaluate to.

mod equal;
mod key;
mod list;
mod map;
mod meter;
mod read;
mod text;
pub(crate) mod time;
mod write;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use skiff_quantity::Quantity;

use crate::library::authorizer::{Authorization, Decision, GroupCheck, PathCheck, ResourceCheck};
use crate::library::format::Format;
use crate::library::semver::Semver;
use crate::library::url::Url;
use crate::types::{Kubernetes, Type};

pub(crate) use equal::{compare, equal};
pub(crate) use key::Key;
pub use list::List;
pub use map::{Fields, Map};
pub(crate) use meter::Meter;
pub use text::Text;
pub use time::{Duration, Timestamp};

/// A literal in an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// A value. What comes from an object is read from it when it is asked for.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the language")]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Duration(Duration),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    /// A value that may be absent.
    Optional(Option<Arc<Value<'a>>>),
    Type(Type),
    /// An object that the expression made: `Object{…}` or `JSONPatch{…}`.
    Object(Arc<Object<'a>>),
    Quantity(Arc<Quantity>),
    Url(Arc<Url>),
    Ip(IpAddr),
    Cidr(IpNet),
    Semver(Arc<Semver>),
    Format(Format),
    Authorizer(Authorization<'a>),
    PathCheck(Arc<PathCheck<'a>>),
    GroupCheck(Arc<GroupCheck<'a>>),
    ResourceCheck(Arc<ResourceCheck<'a>>),
    Decision(Arc<Decision>),
}

/// An object that an expression made.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// The name of its type.
    pub name: Arc<str>,
    /// The fields that were given, by name, in order of names.
    pub fields: std::collections::BTreeMap<String, Value<'a>>,
}

impl From<&Constant> for Value<'_> {
    fn from(constant: &Constant) -> Self {
        match constant {
            Constant::Null => Self::Null,
            Constant::Bool(value) => Self::Bool(*value),
            Constant::Int(value) => Self::Int(*value),
            Constant::Uint(value) => Self::Uint(*value),
            Constant::Double(value) => Self::Double(*value),
            Constant::String(value) => Self::String(value.clone().into()),
            Constant::Bytes(value) => Self::Bytes(value.clone()),
        }
    }
}

impl<'a> Value<'a> {
    pub(crate) fn text(text: impl Into<Text<'a>>) -> Self {
        Self::String(text.into())
    }

    pub(crate) fn list(values: Vec<Self>) -> Self {
        Self::List(List::of(values))
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// What `size()` gives; `None` for what has no size.
    pub(crate) fn size(&self) -> Option<u64> {
        let size = match self {
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Ip(address) => {
                if address.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            // Bytes of the prefix, begun ones included.
            Self::Cidr(cidr) => usize::from(cidr.prefix_len()).div_ceil(8),
            _ => return None,
        };
        Some(size as u64)
    }

    /// The type that `type()` gives.
    pub(crate) fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Object(object) => Type::Object(object.name.clone()),
            Self::Quantity(_) => Type::Kubernetes(Kubernetes::Quantity),
            Self::Url(_) => Type::Kubernetes(Kubernetes::Url),
            Self::Ip(_) => Type::Kubernetes(Kubernetes::Ip),
            Self::Cidr(_) => Type::Kubernetes(Kubernetes::Cidr),
            Self::Semver(_) => Type::Kubernetes(Kubernetes::Semver),
            Self::Format(_) => Type::Kubernetes(Kubernetes::Format),
            Self::Authorizer(_) => Type::Kubernetes(Kubernetes::Authorizer),
            Self::PathCheck(_) => Type::Kubernetes(Kubernetes::PathCheck),
            Self::GroupCheck(_) => Type::Kubernetes(Kubernetes::GroupCheck),
            Self::ResourceCheck(_) => Type::Kubernetes(Kubernetes::ResourceCheck),
            Self::Decision(_) => Type::Kubernetes(Kubernetes::Decision),
        }
    }

    /// The name of Go's type for such a value, which some messages show.
    pub(crate) fn go_type(&self) -> &'static str {
        match self {
            Self::Null => "types.Null",
            Self::Bool(_) => "types.Bool",
            Self::Int(_) => "types.Int",
            Self::Uint(_) => "types.Uint",
            Self::Double(_) => "types.Double",
            Self::String(_) => "types.String",
            Self::Bytes(_) => "types.Bytes",
            Self::Duration(_) => "types.Duration",
            Self::Timestamp(_) => "types.Timestamp",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Optional(_) => "*types.Optional",
            Self::Type(_) => "*types.Type",
            _ => "ref.Val",
        }
    }

    /// Whether this is its type's zero.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Duration(duration) => duration.nanos() == 0,
            Self::Timestamp(time) => *time == Timestamp::ZERO,
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Optional(value) => value.as_ref().is_none_or(|value| value.is_zero()),
            Self::Object(object) => object.fields.is_empty(),
            _ => false,
        }
    }
}

/// As messages show values, where they show them: keys, indices and elements.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Double(value) => f.write_str(&crate::library::number::shortest(*value)),
            Self::String(text) => f.write_str(text),
            Self::Duration(duration) => duration.fmt(f),
            Self::Timestamp(time) => time.fmt(f),
            Self::Optional(Some(value)) => write!(f, "optional({value})"),
            Self::Optional(None) => f.write_str("optional.none()"),
            Self::Type(of) => f.write_str(of.runtime_name()),
            other => f.write_str(other.type_of().runtime_name()),
        }
    }
}
