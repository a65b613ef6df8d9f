//! The way to a value, and what is wrong on it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::de::Error;
use skiff_schema::{Definition, Schema, Type, go_field};

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
    /// The first value of a wrong type.
    pub(super) mismatch: Option<String>,
    /// What ended the reading.
    pub(super) failure: Option<String>,
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

    /// Refuses the whole for a text that is not what its type wants: such types decode themselves, and what they find wrong
    /// counts before all else.
    pub(super) fn refuse<E: Error>(&mut self, message: String) -> E {
        // Kept here, because serde would add line and column to it.
        self.failure.get_or_insert(message);
        E::custom("mismatch")
    }

    /// Notes a value that is of another type than its place; the first one is told if all else can be read.
    pub(super) fn mismatch(&mut self, message: String) {
        self.mismatch.get_or_insert(message);
    }

    /// That a value is of another type than its place wants.
    pub(super) fn wrong_type<E: Error>(&mut self, found: &str, wanted: Type) -> Result<(), E> {
        let decodes_itself = matches!(wanted, Type::IntOrString | Type::Time | Type::MicroTime);
        if self.mismatch.is_some() && !decodes_itself {
            return Ok(());
        }
        let (path, named) = self.go_path();
        let ty = match wanted {
            // These ask the decoder for a text, or for a number where there is none.
            Type::IntOrString => "int32".to_owned(),
            Type::Time | Type::MicroTime => "string".to_owned(),
            wanted => named.unwrap_or_else(|| go_type(self.schema, wanted)),
        };
        let message = self.cannot(found, &path, &ty);
        if decodes_itself {
            return Err(self.refuse(message));
        }
        self.mismatch(message);
        Ok(())
    }

    /// The same of a type that Go calls so.
    pub(super) fn not_of(&mut self, found: &str, ty: &str) {
        if self.mismatch.is_none() {
            let (path, _) = self.go_path();
            self.mismatch = Some(self.cannot(found, &path, ty));
        }
    }

    fn cannot(&self, found: &str, path: &str, ty: &str) -> String {
        let place = match self.owner {
            Some(owner) if !path.is_empty() => format!("struct field {}.{path}", owner.short_name()),
            _ => "value".to_owned(),
        };
        format!("json: cannot unmarshal {found} into Go {place} of type {ty}")
    }
}

impl Reader<'_> {
    /// The present path as Go tells it: of struct fields, those of structs in structs included; and what its type is called
    /// there, if it has a name of its own.
    fn go_path(&self) -> (String, Option<String>) {
        let (mut names, mut ty, mut named) = (Vec::new(), self.root, None);
        for step in &self.path {
            match (step, ty) {
                (Step::Field(name), Type::Object(id)) => {
                    let go = go_field(self.schema.get(id).name(), name);
                    names.extend(go.inside);
                    names.push(*name);
                    named = go.ty;
                    ty = self.schema.field(ty, name).map_or(Type::ANY, |field| field.ty);
                }
                (_, Type::List(inner) | Type::Map(inner)) => {
                    named = named.and_then(item);
                    ty = self.schema.inner(inner);
                }
                _ => ty = Type::ANY,
            }
        }
        (names.join("."), named.map(str::to_owned))
    }
}

/// The type of the items, or values, of one that Go has no name for.
fn item(ty: &str) -> Option<&str> {
    let rest = ty.strip_prefix("[]").or_else(|| Some(ty.strip_prefix("map[")?.split_once(']')?.1));
    rest.map(|rest| rest.trim_start_matches('*'))
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
