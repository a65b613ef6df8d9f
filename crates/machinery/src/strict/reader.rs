//! The way to a value, and what is wrong on it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use skiff_schema::{Definition, Schema, Type};

use super::embedded;

/// One step from the root to a value.
pub(super) enum Step<'s> {
    Field(&'s str),
    Key(String),
    Index(usize),
}

/// How many unknown and repeated fields are told, as in Kubernetes.
pub(super) const MOST_PROBLEMS: usize = 100;

/// What was found wrong, each once.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) list: Vec<String>,
    seen: BTreeSet<String>,
}

/// Where a reader is, and what it has found wrong.
pub(super) struct Reader<'s> {
    pub(super) schema: &'s Schema,
    /// The type of the whole.
    pub(super) root: Type,
    pub(super) path: Vec<Step<'s>>,
    /// The struct whose field is being read.
    pub(super) owner: Option<&'s Definition>,
    pub(super) problems: Problems,
    pub(super) mismatch: Option<String>,
}

impl<'s> Reader<'s> {
    /// The path of a field below the present one, with indices.
    pub(super) fn path_to(&self, last: &str) -> String {
        let mut out = String::new();
        for step in &self.path {
            // Writing to a String cannot fail.
            match step {
                Step::Index(i) => drop(write!(out, "[{i}]")),
                Step::Field(name) => push_name(&mut out, name),
                Step::Key(name) => push_name(&mut out, name),
            }
        }
        push_name(&mut out, last);
        out
    }

    /// Notes a problem with a field below the present one.
    pub(super) fn report(&mut self, problem: &str, field: &str) {
        if self.problems.list.len() >= MOST_PROBLEMS {
            return;
        }
        let text = format!("{problem} field {:?}", self.path_to(field));
        if self.problems.seen.insert(text.clone()) {
            self.problems.list.push(text);
        }
    }

    /// Refuses a value; the message is kept here, because serde would add line and column to it.
    pub(super) fn refuse<E: serde::de::Error>(&mut self, message: String) -> E {
        self.mismatch.get_or_insert(message);
        E::custom("mismatch")
    }

    pub(super) fn wrong_type<E: serde::de::Error>(&mut self, found: &str, wanted: Type) -> E {
        let wanted = match wanted {
            // What is no text is read as a number.
            Type::IntOrString => "int32".to_owned(),
            wanted => go_type(self.schema, wanted),
        };
        let path = self.go_path();
        let place = match self.owner {
            Some(owner) if !path.is_empty() => format!("struct field {}.{path}", owner.short_name()),
            _ => "value".to_owned(),
        };
        self.refuse(format!("json: cannot unmarshal {found} into Go {place} of type {wanted}"))
    }
}

impl Reader<'_> {
    /// The present path as Go tells it: of struct fields, those of structs in structs included.
    fn go_path(&self) -> String {
        let (mut names, mut ty) = (Vec::new(), self.root);
        for step in &self.path {
            match (step, ty) {
                (Step::Field(name), Type::Object(id)) => {
                    names.extend(embedded::embedded(self.schema.get(id).short_name(), name));
                    names.push(*name);
                    ty = self.schema.field(ty, name).map_or(Type::ANY, |field| field.ty);
                }
                (_, Type::List(inner) | Type::Map(inner)) => ty = self.schema.inner(inner),
                _ => ty = Type::ANY,
            }
        }
        names.join(".")
    }
}

fn push_name(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(name);
}

/// A type as Go would write it.
fn go_type(schema: &Schema, ty: Type) -> String {
    match ty {
        Type::String => "string".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Float => "float64".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::MicroTime => "v1.MicroTime".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Raw(_) => "interface {}".to_owned(),
        Type::Map(inner) => format!("map[string]{}", go_type(schema, schema.inner(inner))),
        Type::List(inner) => format!("[]{}", go_type(schema, schema.inner(inner))),
        Type::Object(id) => schema.get(id).go_name(),
    }
}
