//! The types of expressions.

use std::fmt;
use std::sync::Arc;

/// The type of an expression. `Display` is the form in which clients see it in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the language")]
pub enum Type {
    /// Known when the expression is evaluated.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// An object with fields, by the name under which the environment knows it.
    Object(Arc<str>),
    /// A type of Kubernetes' libraries.
    Kubernetes(Kubernetes),
    /// A type to be found while the expression is checked.
    Variable(u32),
    /// Of something that is wrong already.
    Error,
}

/// The types of Kubernetes' libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the library")]
pub enum Kubernetes {
    Quantity,
    Url,
    Ip,
    Cidr,
    Semver,
    Format,
    Authorizer,
    PathCheck,
    GroupCheck,
    ResourceCheck,
    Decision,
}

impl Kubernetes {
    /// All of them, with their names.
    pub(crate) const NAMES: &[(Self, &'static str)] = &[
        (Self::Quantity, "kubernetes.Quantity"),
        (Self::Url, "kubernetes.URL"),
        (Self::Ip, "net.IP"),
        (Self::Cidr, "net.CIDR"),
        (Self::Semver, "kubernetes.Semver"),
        (Self::Format, "kubernetes.NamedFormat"),
        (Self::Authorizer, "kubernetes.authorization.Authorizer"),
        (Self::PathCheck, "kubernetes.authorization.PathCheck"),
        (Self::GroupCheck, "kubernetes.authorization.GroupCheck"),
        (Self::ResourceCheck, "kubernetes.authorization.ResourceCheck"),
        (Self::Decision, "kubernetes.authorization.Decision"),
    ];

    /// The name in messages.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// Whether its values count as objects whose fields nobody knows, not as values without fields.
    pub(crate) fn is_object(self) -> bool {
        !matches!(self, Self::Ip | Self::Cidr)
    }
}

impl Type {
    /// A list of `items`.
    pub fn list(items: Self) -> Self {
        Self::List(Arc::new(items))
    }

    /// A map from `keys` to `values`.
    pub fn map(keys: Self, values: Self) -> Self {
        Self::Map(Arc::new(keys), Arc::new(values))
    }

    /// A value that may be absent.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The type within an optional one; or the type itself, and that it is not optional.
    pub(crate) fn unwrap_optional(&self) -> (&Self, bool) {
        match self {
            Self::Optional(inner) => (inner, true),
            other => (other, false),
        }
    }

    /// Whether null can stand for a value of this type.
    pub(crate) fn is_nullable(&self) -> bool {
        matches!(
            self,
            Self::Null
                | Self::Optional(_)
                | Self::Object(_)
                | Self::Kubernetes(_)
                | Self::Duration
                | Self::Timestamp
        )
    }

    /// What `type(x)` is written as: its name, without parameters' names.
    pub(crate) fn runtime_name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Object(name) => name,
            Self::Kubernetes(known) => known.name(),
            Self::Variable(_) => "var",
            Self::Error => "!error!",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(items) => write!(f, "list({items})"),
            Self::Map(keys, values) => write!(f, "map({keys}, {values})"),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Variable(number) => write!(f, "_var{number}"),
            plain => f.write_str(plain.runtime_name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_messages_show_them() {
        let check = |of: Type, text: &str| assert_eq!(of.to_string(), text);
        check(Type::list(Type::Dyn), "list(dyn)");
        check(Type::map(Type::String, Type::optional(Type::Int)), "map(string, optional_type(int))");
        check(Type::Null, "null");
        check(Type::Timestamp, "timestamp");
        check(Type::Kubernetes(Kubernetes::Url), "kubernetes.URL");
        check(Type::Type(Arc::new(Type::Duration)), "type(duration)");
    }
}
