//! Finds the type of every part of an expression, what names stand for, and which overloads are called.

mod call;
mod literals;
mod unify;

use std::sync::Arc;

use crate::declared::Objects;
use crate::issue::Issue;
use crate::syntax::Parsed;
use crate::syntax::ast::{Comprehension, Expr, Id, Kind, Select, Struct};
use crate::types::{Kubernetes, Type};
use crate::value::Constant;

use unify::{Unifier, most_general};

/// What an environment knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declarations {
    /// By name.
    pub(crate) variables: std::collections::BTreeMap<String, Type>,
    pub(crate) objects: Objects,
    /// Whether `Object{…}` and `JSONPatch{…}` can be made.
    pub(crate) mutation: bool,
}

/// What a name or a call refers to.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    /// A variable, of a loop or of the environment, by the name in the tree.
    Variable,
    /// The name of a type.
    Type(Type),
    /// The overloads that may be called.
    Overloads(Vec<&'static str>),
}

/// A checked expression.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) expr: Expr,
    types: Vec<Type>,
    references: Vec<Option<Reference>>,
}

impl Checked {
    pub(crate) fn type_of(&self, id: Id) -> &Type {
        self.types.get(id as usize).unwrap_or(&Type::Dyn)
    }

    pub(crate) fn reference(&self, id: Id) -> Option<&Reference> {
        self.references.get(id as usize)?.as_ref()
    }

    /// The overloads that a call may be of.
    pub(crate) fn overloads(&self, id: Id) -> &[&'static str] {
        match self.reference(id) {
            Some(Reference::Overloads(overloads)) => overloads,
            _ => &[],
        }
    }
}

/// Checks an expression against what an environment declares.
pub(crate) fn check(parsed: Parsed, declarations: &Declarations) -> Result<Checked, Vec<Issue>> {
    let Parsed { mut expr, offsets } = parsed;
    let mut checker = Checker {
        declarations,
        types: vec![None; offsets.len()],
        references: vec![None; offsets.len()],
        offsets,
        scopes: Vec::new(),
        unifier: Unifier::default(),
        issues: Vec::new(),
    };
    checker.check(&mut expr);
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    let Checker { types, references, offsets, unifier, .. } = checker;
    let resolve = |of: Option<Type>| of.map_or(Type::Dyn, |of| unifier.resolve(&of, true));
    let checked = Checked { expr, types: types.into_iter().map(resolve).collect(), references };
    let mut issues = Vec::new();
    literals::validate(&checked, &offsets, &mut issues);
    if issues.is_empty() { Ok(checked) } else { Err(issues) }
}

struct Checker<'d> {
    declarations: &'d Declarations,
    types: Vec<Option<Type>>,
    references: Vec<Option<Reference>>,
    offsets: Vec<u32>,
    /// Variables of the loops around, the innermost last.
    scopes: Vec<(String, Type)>,
    unifier: Unifier,
    issues: Vec<Issue>,
}

/// Parts of the largest type that an expression may have.
const TYPE_SIZE: usize = 1000;

impl Checker<'_> {
    fn report(&mut self, id: Id, message: String) {
        let offset = self.offsets.get(id as usize).copied();
        self.issues.push(Issue { offset, message });
    }

    fn set_type(&mut self, id: Id, of: Type) {
        let mut left = TYPE_SIZE;
        let of = if fits(&of, &mut left) {
            of
        } else {
            self.report(id, format!("type is too large: more than {TYPE_SIZE} parts"));
            Type::Error
        };
        self.types[id as usize] = Some(of);
    }

    fn type_of(&self, expr: &Expr) -> Type {
        self.types.get(expr.id as usize).cloned().flatten().unwrap_or(Type::Error)
    }

    fn refer(&mut self, id: Id, to: Reference) {
        self.references[id as usize] = Some(to);
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.report(id, format!("undeclared reference to '{name}' (in container '')"));
        self.set_type(id, Type::Error);
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.report(id, format!("expected type '{expected}' but found '{found}'"));
    }

    fn check(&mut self, expr: &mut Expr) {
        let id = expr.id;
        match &mut expr.kind {
            Kind::Literal(constant) => {
                let of = literal_type(constant);
                self.set_type(id, of);
            }
            Kind::Ident(name) => self.check_ident(id, name),
            Kind::Select(_) => self.check_select(expr),
            Kind::Call(_) => self.check_call(expr),
            Kind::List(elements) => {
                let mut joined = None;
                for element in elements {
                    self.check(&mut element.value);
                    let of = self.value_type(&element.value, element.optional);
                    joined = Some(self.join(joined, of));
                }
                let items = joined.unwrap_or_else(|| self.unifier.variable());
                self.set_type(id, Type::list(items));
            }
            Kind::Map(entries) => {
                let mut joined = None;
                for entry in entries {
                    let (keys, values) = joined.unzip();
                    self.check(&mut entry.key);
                    let key = self.type_of(&entry.key);
                    let keys = self.join(keys, key);
                    self.check(&mut entry.value);
                    let value = self.value_type(&entry.value, entry.optional);
                    let values = self.join(values, value);
                    joined = Some((keys, values));
                }
                let (keys, values) =
                    joined.unwrap_or_else(|| (self.unifier.variable(), self.unifier.variable()));
                self.set_type(id, Type::map(keys, values));
            }
            Kind::Struct(object) => self.check_struct(id, object),
            Kind::Comprehension(fold) => self.check_comprehension(id, fold),
        }
    }

    /// The type of an element, entry or field; of an optional one, what it may have.
    fn value_type(&mut self, value: &Expr, optional: bool) -> Type {
        let of = self.type_of(value);
        if !optional {
            return of;
        }
        let (inner, is_optional) = of.unwrap_optional();
        let inner = inner.clone();
        if !is_optional && inner != Type::Dyn {
            self.mismatch(value.id, &Type::optional(inner.clone()), &of);
        }
        inner
    }

    /// The type of both, for elements of one list; whether they should be together is looked at later.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else { return current };
        if self.unifier.assignable(&previous, &current) {
            return most_general(&previous, &current);
        }
        Type::Dyn
    }

    fn check_ident(&mut self, id: Id, name: &mut String) {
        match self.lookup(name) {
            Some((of, reference)) => {
                if let Some(plain) = name.strip_prefix('.') {
                    *name = plain.to_owned();
                }
                self.set_type(id, of);
                self.refer(id, reference);
            }
            None => {
                let name = name.clone();
                self.undeclared(id, &name);
            }
        }
    }

    /// The type of what a name stands for. A name that starts with a dot is none of a loop's variables... nor of
    /// anything else that is not declared for the whole expression.
    fn lookup(&self, name: &str) -> Option<(Type, Reference)> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let local = self.scopes.iter().rev().find(|(local, _)| local == name).map(|(_, of)| of);
        if let Some(of) = local.or_else(|| self.declarations.variables.get(name)) {
            return Some((of.clone(), Reference::Variable));
        }
        let named = self.declarations.type_named(name)?;
        Some((Type::Type(Arc::new(named.clone())), Reference::Type(named)))
    }

    fn check_select(&mut self, expr: &mut Expr) {
        let id = expr.id;
        if let Some(name) = expr.qualified_name()
            && let Some((of, reference)) = self.lookup(&name)
        {
            self.set_type(id, of);
            self.refer(id, reference);
            expr.kind = Kind::Ident(name.trim_start_matches('.').to_owned());
            return;
        }
        let Kind::Select(Select { operand, field, test }) = &mut expr.kind else { return };
        let result = self.check_field(id, operand, field, false);
        let result = if *test { Type::Bool } else { self.unifier.resolve(&result, false) };
        self.set_type(id, result);
    }

    /// The type of a field of `operand`.
    fn check_field(&mut self, id: Id, operand: &mut Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let of = self.unifier.resolve(&self.type_of(operand), false);
        let (target, is_optional) = of.unwrap_optional();
        let result = match target {
            Type::Map(_, values) => (**values).clone(),
            Type::Object(name) => self.field_type(id, name, field).unwrap_or(Type::Error),
            Type::Kubernetes(known) if known.is_object() => {
                self.report(id, format!("unexpected failed resolution of '{}'", known.name()));
                Type::Error
            }
            Type::Variable(_) => {
                self.unifier.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    self.report(id, format!("type '{other}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if is_optional || optional { Type::optional(result) } else { result }
    }

    fn field_type(&mut self, id: Id, object: &str, field: &str) -> Option<Type> {
        if self.declarations.mutation
            && let Some(of) = mutation_field(object, field)
        {
            return Some(of);
        }
        let fields = self.declarations.objects.fields(object);
        // Words of the language need not be escaped behind a dot.
        let escaped = || crate::escape::is_reserved(field).then(|| format!("__{field}__"));
        let found = fields.and_then(|fields| fields.get(field).or_else(|| fields.get(&escaped()?)));
        if found.is_none() {
            self.report(id, format!("undefined field '{field}'"));
        }
        found.cloned()
    }

    fn check_struct(&mut self, id: Id, object: &mut Struct) {
        let Some((of, reference)) = self.lookup(&object.name) else {
            self.undeclared(id, &object.name.clone());
            return;
        };
        if let Some(plain) = object.name.strip_prefix('.') {
            object.name = plain.to_owned();
        }
        let name = match reference {
            Reference::Type(Type::Object(name)) => Some(name),
            Reference::Type(other) => {
                self.report(id, format!("'{}' is not a message type", other.runtime_name()));
                None
            }
            _ => {
                self.report(id, format!("'{}' is not a type", of.runtime_name()));
                None
            }
        };
        let of = name.as_ref().map_or(Type::Error, |name| Type::Object(name.clone()));
        self.set_type(id, of.clone());
        self.refer(id, Reference::Type(of));
        for field in &mut object.fields {
            self.check(&mut field.value);
            if self.declarations.mutation && is_unknown_patch_field(&object.name, &field.name) {
                let given = self.type_of(&field.value);
                let message =
                    format!("expected type of field '{}' is '' but provided type is '{given}'", field.name);
                self.report(field.id, message);
                continue;
            }
            let declared = name.as_ref().and_then(|name| self.field_type(field.id, name, &field.name));
            let declared = declared.unwrap_or(Type::Error);
            let given = self.value_type(&field.value, field.optional);
            if !self.unifier.assignable(&declared, &given) {
                let message = format!(
                    "expected type of field '{}' is '{declared}' but provided type is '{given}'",
                    field.name
                );
                self.report(field.id, message);
            }
        }
    }

    fn check_comprehension(&mut self, id: Id, fold: &mut Comprehension) {
        self.check(&mut fold.range);
        self.check(&mut fold.init);
        let range = self.unifier.resolve(&self.type_of(&fold.range), false);
        let gathered = self.type_of(&fold.init);
        self.scopes.push((fold.accumulator.clone(), gathered.clone()));
        let (first, second) = self.loop_types(&fold.range, &range, fold.second.is_some());
        self.scopes.push((fold.variable.clone(), first));
        if let Some(name) = &fold.second {
            self.scopes.push((name.clone(), second));
        }
        self.check(&mut fold.condition);
        self.expect_type(&fold.condition, &Type::Bool);
        self.check(&mut fold.step);
        self.expect_type(&fold.step, &gathered);
        self.scopes.truncate(self.scopes.len() - if fold.second.is_some() { 2 } else { 1 });
        self.check(&mut fold.result);
        self.scopes.pop();
        let of = self.unifier.resolve(&self.type_of(&fold.result), false);
        self.set_type(id, of);
    }

    /// The types of a loop's variables.
    fn loop_types(&mut self, expr: &Expr, range: &Type, two: bool) -> (Type, Type) {
        match range {
            Type::List(items) if two => (Type::Int, (**items).clone()),
            Type::List(items) => ((**items).clone(), Type::Dyn),
            Type::Map(keys, values) => ((**keys).clone(), (**values).clone()),
            Type::Dyn | Type::Error | Type::Variable(_) => {
                self.unifier.assignable(&Type::Dyn, range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(expr.id, message);
                (Type::Error, Type::Error)
            }
        }
    }

    fn expect_type(&mut self, expr: &Expr, expected: &Type) {
        let of = self.type_of(expr);
        if !self.unifier.assignable(expected, &of) {
            self.mismatch(expr.id, expected, &of);
        }
    }
}

fn literal_type(constant: &Constant) -> Type {
    match constant {
        Constant::Null => Type::Null,
        Constant::Bool(_) => Type::Bool,
        Constant::Int(_) => Type::Int,
        Constant::Uint(_) => Type::Uint,
        Constant::Double(_) => Type::Double,
        Constant::String(_) => Type::String,
        Constant::Bytes(_) => Type::Bytes,
    }
}

fn fits(of: &Type, left: &mut usize) -> bool {
    *left = left.saturating_sub(1);
    match of {
        _ if *left == 0 => false,
        Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => fits(inner, left),
        Type::Map(key, value) => fits(key, left) && fits(value, left),
        _ => true,
    }
}

/// The type of a field that mutating admission can set: any field of an object has any value.
fn mutation_field(object: &str, field: &str) -> Option<Type> {
    match (object, field) {
        ("JSONPatch", "op" | "path" | "from") => Some(Type::String),
        ("JSONPatch", "value") => Some(Type::Dyn),
        _ if is_mutation_object(object) => Some(Type::Dyn),
        _ => None,
    }
}

fn is_unknown_patch_field(object: &str, field: &str) -> bool {
    object == "JSONPatch" && mutation_field(object, field).is_none()
}

fn is_mutation_object(name: &str) -> bool {
    name == "Object" || name.starts_with("Object.")
}

impl Declarations {
    /// The type of this name.
    fn type_named(&self, name: &str) -> Option<Type> {
        let known = match name {
            "bool" => Type::Bool,
            "bytes" => Type::Bytes,
            "double" => Type::Double,
            "google.protobuf.Duration" => Type::Duration,
            "int" => Type::Int,
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "null_type" => Type::Null,
            "string" => Type::String,
            "google.protobuf.Timestamp" => Type::Timestamp,
            "type" => Type::Type(Arc::new(Type::Dyn)),
            "uint" => Type::Uint,
            "optional_type" => Type::optional(Type::Dyn),
            "net.IP" => Type::Kubernetes(Kubernetes::Ip),
            "net.CIDR" => Type::Kubernetes(Kubernetes::Cidr),
            _ if self.mutation && (name == "JSONPatch" || is_mutation_object(name)) => {
                Type::Object(name.into())
            }
            _ if self.objects.fields(name).is_some() => Type::Object(name.into()),
            _ => return None,
        };
        Some(known)
    }
}
