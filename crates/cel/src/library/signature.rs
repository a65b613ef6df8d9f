//! Overloads as text: `add_list (list(A), list(A)) -> list(A)`, or with a target `size_of string.() -> int`.

use std::sync::Arc;

use crate::types::{Kubernetes, Type};

use super::{Implementation, Overload};

/// Reads one overload.
pub(super) fn read(text: &'static str, implementation: Implementation) -> Option<Overload> {
    let (id, rest) = text.split_once(' ')?;
    let mut reader = Reader { rest, variables: 0 };
    let mut args = Vec::new();
    let member = !reader.take("(");
    if member {
        args.push(reader.of()?);
        reader.expect(".(")?;
    }
    while !reader.take(")") {
        args.push(reader.of()?);
        reader.take(", ");
    }
    reader.expect(" -> ")?;
    let result = reader.of()?;
    let variables = reader.variables;
    reader.rest.is_empty().then_some(Overload { id, member, args, result, variables, implementation })
}

struct Reader {
    rest: &'static str,
    variables: u32,
}

impl Reader {
    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.take(text).then_some(())
    }

    fn of(&mut self) -> Option<Type> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if let Some(plain) = plain(name) {
            return Some(plain);
        }
        match name {
            "list" | "optional" | "type" => {
                self.expect("(")?;
                let inner = Arc::new(self.of()?);
                self.expect(")")?;
                Some(match name {
                    "list" => Type::List(inner),
                    "optional" => Type::Optional(inner),
                    _ => Type::Type(inner),
                })
            }
            "map" => {
                self.expect("(")?;
                let keys = self.of()?;
                self.expect(", ")?;
                let values = self.of()?;
                self.expect(")")?;
                Some(Type::map(keys, values))
            }
            _ => None,
        }
        .or_else(|| self.variable(name))
    }

    /// `A` is the first type variable, `B` the second.
    fn variable(&mut self, name: &str) -> Option<Type> {
        let number = match name {
            "A" => 0,
            "B" => 1,
            _ => return None,
        };
        self.variables = self.variables.max(number + 1);
        Some(Type::Variable(number))
    }
}

fn plain(name: &str) -> Option<Type> {
    let plain = match name {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "Quantity" => Type::Kubernetes(Kubernetes::Quantity),
        "URL" => Type::Kubernetes(Kubernetes::Url),
        "IP" => Type::Kubernetes(Kubernetes::Ip),
        "CIDR" => Type::Kubernetes(Kubernetes::Cidr),
        "Semver" => Type::Kubernetes(Kubernetes::Semver),
        "Format" => Type::Kubernetes(Kubernetes::Format),
        "Authorizer" => Type::Kubernetes(Kubernetes::Authorizer),
        "PathCheck" => Type::Kubernetes(Kubernetes::PathCheck),
        "GroupCheck" => Type::Kubernetes(Kubernetes::GroupCheck),
        "ResourceCheck" => Type::Kubernetes(Kubernetes::ResourceCheck),
        "Decision" => Type::Kubernetes(Kubernetes::Decision),
        _ => return None,
    };
    Some(plain)
}
