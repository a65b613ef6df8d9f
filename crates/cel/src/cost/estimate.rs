//! What an expression can cost, from the sizes that the types of its variables allow.

use std::collections::BTreeMap;

use crate::check::Checked;
use crate::declared::{DeclaredType, Part};
use crate::syntax::ast::{ACCUMULATOR, Call, Comprehension, Expr, Id, Kind};
use crate::types::Type;
use crate::value::Constant;

use super::functions::{self, CallEstimate};
use super::{CostEstimate, NEW_LIST, NEW_MAP, NEW_STRUCT, Size};

/// The range of costs of a checked expression.
pub(crate) fn estimate(checked: &Checked, variables: &BTreeMap<String, DeclaredType>) -> CostEstimate {
    let mut estimator = Estimator {
        checked,
        variables,
        paths: BTreeMap::new(),
        locals: Vec::new(),
        sizes: BTreeMap::new(),
        entries: BTreeMap::new(),
    };
    estimator.cost(&checked.expr)
}

/// A variable of the environment and the way to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    variable: String,
    parts: Vec<Part>,
}

impl Path {
    /// The way to a part. A part of what is no part of a variable is taken for a variable itself: so it is defined.
    pub(super) fn to(part: Part, of: Option<&Self>) -> Self {
        let Some(path) = of else {
            let variable = match part {
                Part::Field(name) => name,
                Part::Items | Part::Indices | Part::Keys | Part::Values => String::new(),
            };
            return Self { variable, parts: Vec::new() };
        };
        let mut path = path.clone();
        path.parts.push(part);
        path
    }
}

/// The sizes of a list's or map's keys and values.
#[derive(Clone, Copy, Debug)]
struct EntrySize {
    is_list: bool,
    key: Size,
    value: Size,
}

/// A variable of a loop, or a name that was given to a value.
struct Local {
    name: String,
    path: Option<Path>,
    size: Option<Size>,
    entry: Option<EntrySize>,
}

/// What is known of an argument.
pub(super) struct Node<'e> {
    pub(super) path: Option<Path>,
    pub(super) of: Type,
    pub(super) expr: &'e Expr,
    pub(super) size: Option<Size>,
}

pub(super) struct Estimator<'e> {
    checked: &'e Checked,
    variables: &'e BTreeMap<String, DeclaredType>,
    paths: BTreeMap<Id, Option<Path>>,
    locals: Vec<Local>,
    sizes: BTreeMap<Id, Size>,
    entries: BTreeMap<Id, EntrySize>,
}

impl<'e> Estimator<'e> {
    fn cost(&mut self, expr: &'e Expr) -> CostEstimate {
        match &expr.kind {
            Kind::Literal(_) => CostEstimate::ZERO,
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => Some(Path { variable: name.clone(), parts: Vec::new() }),
                };
                self.paths.insert(expr.id, path);
                CostEstimate::ONE
            }
            Kind::Select(select) => {
                let mut cost = self.cost(&select.operand);
                if select.test {
                    return cost;
                }
                if matches!(
                    self.checked.type_of(select.operand.id),
                    Type::Map(..) | Type::Object(_) | Type::Variable(_)
                ) {
                    cost = cost.plus(CostEstimate::ONE);
                }
                let path = self.path(&select.operand);
                let path = Path::to(Part::Field(select.field.clone()), path.as_ref());
                self.paths.insert(expr.id, Some(path));
                cost
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(elements) => {
                let values = elements.iter().map(|element| &element.value);
                let (cost, value) = self.all(values);
                self.entries.insert(expr.id, EntrySize { is_list: true, key: Size::ONE, value });
                cost.plus(CostEstimate::exactly(NEW_LIST))
            }
            Kind::Map(entries) => {
                let (keys, key) = self.all(entries.iter().map(|entry| &entry.key));
                let (values, value) = self.all(entries.iter().map(|entry| &entry.value));
                self.entries.insert(expr.id, EntrySize { is_list: false, key, value });
                keys.plus(values).plus(CostEstimate::exactly(NEW_MAP))
            }
            Kind::Struct(object) => object
                .fields
                .iter()
                .fold(CostEstimate::exactly(NEW_STRUCT), |cost, field| cost.plus(self.cost(&field.value))),
            Kind::Comprehension(fold) if fold.is_bind() => self.bind(expr, fold),
            Kind::Comprehension(fold) => self.comprehension(expr, fold),
        }
    }

    /// The cost of all of these together, and the range of their sizes.
    fn all(&mut self, parts: impl Iterator<Item = &'e Expr>) -> (CostEstimate, Size) {
        let mut cost = CostEstimate::ZERO;
        let mut size: Option<Size> = None;
        for part in parts {
            cost = cost.plus(self.cost(part));
            let one = self.size_or_unknown(part);
            size = Some(size.map_or(one, |size| size.union(one)));
        }
        (cost, size.unwrap_or(Size::ZERO))
    }

    fn call(&mut self, expr: &'e Expr, call: &'e Call) -> CostEstimate {
        if call.function == "dyn"
            && let [arg] = call.args.as_slice()
        {
            let cost = self.cost(arg);
            self.copy_sizes(expr, arg);
            return cost.plus(CostEstimate::ONE);
        }
        let mut costs = Vec::with_capacity(call.args.len());
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            costs.push(self.cost(arg));
            args.push(self.node(arg));
        }
        let checked = self.checked;
        let overloads = checked.overloads(expr.id);
        if overloads.is_empty() {
            return CostEstimate::ZERO;
        }
        let mut sum = CostEstimate::ZERO;
        let target = call.target.as_deref().map(|target| {
            sum = self.cost(target);
            self.node(target)
        });
        let mut cost: Option<CostEstimate> = None;
        let mut size: Option<Size> = None;
        for overload in overloads {
            let estimate = self.overload(expr, call, overload, target.as_ref(), &args, &costs);
            cost = Some(cost.map_or(estimate.cost, |cost| cost.union(estimate.cost)));
            size = match (size, estimate.size) {
                (Some(size), Some(other)) => Some(size.union(other)),
                (size, other) => size.or(other),
            };
            self.index(expr, overload, &args, &mut size);
            size = size.or_else(|| self.size(expr));
        }
        self.set_size(expr, size);
        sum.plus(cost.unwrap_or(CostEstimate::ZERO))
    }

    /// An index leads to a part of what is indexed.
    fn index(&mut self, expr: &'e Expr, overload: &str, args: &[Node<'e>], size: &mut Option<Size>) {
        let part = match overload {
            "index_list" => Part::Items,
            "index_map" => Part::Values,
            _ => return,
        };
        if let Some(indexed) = args.first() {
            *size = self.entry_size(indexed.expr).map(|entry| entry.value);
            let path = Path::to(part, self.path(indexed.expr).as_ref());
            self.paths.insert(expr.id, Some(path));
        }
    }

    fn overload(
        &mut self,
        expr: &'e Expr,
        call: &Call,
        overload: &str,
        target: Option<&Node<'e>>,
        args: &[Node<'e>],
        costs: &[CostEstimate],
    ) -> CallEstimate {
        let arguments = costs.iter().fold(CostEstimate::ZERO, |sum, cost| sum.plus(*cost));
        if let Some(estimate) = functions::estimate(self, &call.function, overload, target, args) {
            return CallEstimate { cost: estimate.cost.plus(arguments), size: estimate.size };
        }
        match (overload, args, costs) {
            ("logical_or" | "logical_and", _, [left, right]) => {
                // The right side may not be needed.
                CallEstimate::of(CostEstimate { min: left.min, max: left.plus(*right).max })
            }
            ("conditional", [_, yes, no], [condition, yes_cost, no_cost]) => {
                let size = or_unknown(yes).union(or_unknown(no));
                let entry = self.union_entries(yes.expr, no.expr);
                self.set_entry_size(expr, entry);
                CallEstimate { cost: condition.plus(yes_cost.union(*no_cost)), size: Some(size) }
            }
            ("add_string" | "add_bytes" | "add_list", [one, another], _) => {
                let size = or_unknown(one).plus(or_unknown(another));
                let entry = self.union_entries(one.expr, another.expr);
                self.set_entry_size(expr, entry);
                let cost =
                    if overload == "add_list" { CostEstimate::ONE } else { size.scaled(super::TRAVERSAL) };
                CallEstimate { cost: cost.plus(arguments), size: Some(size) }
            }
            _ => {
                let estimate = functions::standard(overload, target, args);
                CallEstimate { cost: estimate.cost.plus(arguments), size: estimate.size }
            }
        }
    }

    fn comprehension(&mut self, expr: &'e Expr, fold: &'e Comprehension) -> CostEstimate {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_named(&fold.accumulator, &fold.init);
        match &fold.second {
            None => self.push_single(&fold.variable, &fold.range),
            Some(second) => {
                let entry = self.entry_size(&fold.range);
                let is_list = self.is_list(&fold.range, entry);
                let (key, value) =
                    if is_list { (Part::Indices, Part::Items) } else { (Part::Keys, Part::Values) };
                self.push_part(&fold.variable, &fold.range, key, entry.map(|entry| entry.key));
                self.push_part(second, &fold.range, value, entry.map(|entry| entry.value));
            }
        }
        let turn = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.locals.truncate(self.locals.len() - if fold.second.is_some() { 2 } else { 1 });
        sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        let turns = self.size_or_unknown(&fold.range);
        sum = sum.plus(turns.times(turn));
        match &fold.init.kind {
            Kind::Literal(_) => {
                let size = self.size(&fold.init);
                self.set_size(expr, size);
            }
            Kind::List(_) | Kind::Map(_) => {
                self.set_size(expr, Some(turns));
                let entry = self.entry_size(&fold.step);
                self.set_entry_size(expr, entry);
            }
            _ => {}
        }
        sum
    }

    fn bind(&mut self, expr: &'e Expr, fold: &'e Comprehension) -> CostEstimate {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_named(&fold.accumulator, &fold.init);
        sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        self.copy_sizes(expr, &fold.result);
        sum
    }

    fn push_named(&mut self, name: &str, value: &'e Expr) {
        let (path, entry) = (self.path(value), self.entry_size(value));
        let size = self.size(value);
        self.locals.push(Local { name: name.to_owned(), path, size, entry });
    }

    fn push_single(&mut self, name: &str, range: &'e Expr) {
        let entry = self.entry_size(range);
        let is_list = self.is_list(range, entry);
        let size = entry.map(|entry| if is_list { entry.value } else { entry.key });
        self.push_part(name, range, if is_list { Part::Items } else { Part::Keys }, size);
    }

    fn push_part(&mut self, name: &str, range: &'e Expr, part: Part, size: Option<Size>) {
        let path = Some(Path::to(part, self.path(range).as_ref()));
        self.locals.push(Local { name: name.to_owned(), path, size, entry: None });
    }

    fn is_list(&self, range: &Expr, entry: Option<EntrySize>) -> bool {
        entry.map_or_else(|| matches!(self.checked.type_of(range.id), Type::List(_)), |entry| entry.is_list)
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn path(&self, expr: &Expr) -> Option<Path> {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().flatten()
    }

    fn node(&mut self, expr: &'e Expr) -> Node<'e> {
        let path = self.path(expr).filter(|path| path.variable != ACCUMULATOR);
        Node { path, of: self.checked.type_of(expr.id).clone(), expr, size: self.size(expr) }
    }

    /// The size that a declared type bounds.
    pub(super) fn declared_size(&self, path: Option<&Path>) -> Option<Size> {
        let path = path?;
        // What is no variable counts as the object itself: names of types.
        let mut declared = self.variables.get(&path.variable).or_else(|| self.variables.get("self"))?;
        for part in &path.parts {
            declared = declared.part(part)?;
        }
        Some(Size { min: 0, max: declared.max_elements })
    }

    fn size(&mut self, expr: &'e Expr) -> Option<Size> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = literal_size(expr) {
            return Some(size);
        }
        if let Some(size) = self.declared_size(self.path(expr).as_ref()) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if is_scalar(self.checked.type_of(expr.id)) {
            return Some(Size::ONE);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.size),
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &'e Expr) -> Size {
        self.size(expr).unwrap_or(Size::UNKNOWN)
    }

    fn set_size(&mut self, expr: &Expr, size: Option<Size>) {
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
    }

    fn entry_size(&self, expr: &Expr) -> Option<EntrySize> {
        if let Some(entry) = self.entries.get(&expr.id) {
            return Some(*entry);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.entry),
            _ => None,
        }
    }

    fn set_entry_size(&mut self, expr: &Expr, entry: Option<EntrySize>) {
        if let Some(entry) = entry {
            self.entries.insert(expr.id, entry);
        }
    }

    fn union_entries(&self, one: &Expr, another: &Expr) -> Option<EntrySize> {
        let (one, another) = (self.entry_size(one)?, self.entry_size(another)?);
        Some(EntrySize {
            is_list: one.is_list,
            key: one.key.union(another.key),
            value: one.value.union(another.value),
        })
    }

    fn copy_sizes(&mut self, to: &'e Expr, from: &'e Expr) {
        let (size, entry) = (self.size(from), self.entry_size(from));
        self.set_size(to, size);
        self.set_entry_size(to, entry);
    }
}

pub(super) fn or_unknown(node: &Node<'_>) -> Size {
    node.size.unwrap_or(Size::UNKNOWN)
}

fn literal_size(expr: &Expr) -> Option<Size> {
    let size = match &expr.kind {
        Kind::Literal(Constant::String(text)) => text.chars().count(),
        Kind::Literal(Constant::Bytes(bytes)) => bytes.len(),
        Kind::Literal(_) => 1,
        Kind::List(elements) => elements.len(),
        Kind::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(Size::exactly(size as u64))
}

fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}
