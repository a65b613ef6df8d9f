//! Makes a tree that can be evaluated of a checked expression: variables by their places, chains of selections in one
//! piece, constants computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::{Checked, Reference};
use crate::error::EvalError;
use crate::library::{self, convert, regex as patterns};
use crate::syntax::ast::{Call, Comprehension, Expr, Kind, Select, operator};
use crate::value::{Key, List, Map, Meter, Value};

use super::tree::{
    Attribute, Branch, CallNode, Called, Constants, Fold, Node, Part, Qualifier, QualifierKey, Root,
};

/// Plans the evaluation; fails when a constant has no value.
pub(super) fn plan(checked: &Checked) -> Result<Node, EvalError> {
    Planner { checked, locals: Vec::new() }.node(&checked.expr)
}

struct Planner<'c> {
    checked: &'c Checked,
    /// Names of the places of loops' variables; one that cannot be seen has none.
    locals: Vec<Option<String>>,
}

impl Planner<'_> {
    fn node(&mut self, expr: &Expr) -> Result<Node, EvalError> {
        match &expr.kind {
            Kind::Literal(constant) => Ok(Node::Constant(constant.into())),
            Kind::Ident(name) => Ok(self.ident(expr, name)),
            Kind::Select(select) => self.select(select),
            Kind::Call(call) => self.call(expr, call),
            Kind::List(elements) => {
                let parts = elements
                    .iter()
                    .map(|element| self.part(&element.value, element.optional))
                    .collect::<Result<Vec<_>, _>>()?;
                constant_list(parts)
            }
            Kind::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|entry| Ok((self.node(&entry.key)?, self.part(&entry.value, entry.optional)?)))
                    .collect::<Result<Vec<_>, EvalError>>()?;
                constant_map(entries)
            }
            Kind::Struct(object) => {
                let fields = object
                    .fields
                    .iter()
                    .map(|field| Ok((field.name.clone(), self.part(&field.value, field.optional)?)));
                Ok(Node::Struct {
                    name: object.name.as_str().into(),
                    fields: fields.collect::<Result<Vec<_>, EvalError>>()?,
                })
            }
            Kind::Comprehension(fold) => self.fold(fold),
        }
    }

    fn part(&mut self, value: &Expr, optional: bool) -> Result<Part, EvalError> {
        Ok(Part { value: self.node(value)?, optional })
    }

    fn ident(&self, expr: &Expr, name: &str) -> Node {
        if let Some(Reference::Type(of)) = self.checked.reference(expr.id) {
            return Node::Constant(Value::Type(of.clone()));
        }
        let local = self.locals.iter().rposition(|local| local.as_deref() == Some(name));
        let root = local.map_or_else(|| Root::Variable(name.to_owned()), Root::Local);
        Node::Attribute(Box::new(Attribute { root, qualifiers: Vec::new(), test: false }))
    }

    fn select(&mut self, select: &Select) -> Result<Node, EvalError> {
        let mut attribute = as_attribute(self.node(&select.operand)?);
        let key = QualifierKey::Constant(Value::text(Arc::<str>::from(select.field.as_str())));
        attribute.qualifiers.push(Qualifier { key, optional: false });
        attribute.test = select.test;
        Ok(Node::Attribute(attribute))
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Result<Node, EvalError> {
        let parts = call.target.as_deref().into_iter().chain(&call.args);
        let mut args = parts.map(|part| self.node(part)).collect::<Result<Vec<_>, _>>()?;
        let overloads = self.checked.overloads(expr.id);
        let only = match overloads {
            [only] => Some(*only),
            _ => None,
        };
        match (call.function.as_str(), args.len()) {
            (operator::CONDITIONAL, 3) => return Ok(conditional(args)),
            (operator::NOT_STRICTLY_FALSE, 1) => {
                return Ok(Node::NotStrictlyFalse(Box::new(args.swap_remove(0))));
            }
            (operator::INDEX, 2) => return index(args, false),
            (operator::OPTIONAL_INDEX | operator::OPTIONAL_SELECT, 2) => return index(args, true),
            _ => {}
        }
        let args = match <[Node; 2]>::try_from(args) {
            Err(args) => args,
            Ok(pair) => match (call.function.as_str(), only) {
                (operator::AND, _) => return Ok(Node::And(Box::new(pair))),
                (operator::OR, _) => return Ok(Node::Or(Box::new(pair))),
                (operator::EQUALS, _) => return Ok(Node::Equal(Box::new(pair))),
                (operator::NOT_EQUALS, _) => return Ok(Node::NotEqual(Box::new(pair))),
                ("or", None | Some("optional_or_optional")) => {
                    return Ok(Node::OptionalOr { sides: Box::new(pair), unwrap: false });
                }
                ("orValue", None | Some("optional_orValue_value")) => {
                    return Ok(Node::OptionalOr { sides: Box::new(pair), unwrap: true });
                }
                (operator::IN, Some("in_list")) => match member(pair) {
                    Ok(node) => return Ok(node),
                    Err(pair) => pair.into(),
                },
                _ => pair.into(),
            },
        };
        self.ordinary(call, only, args)
    }

    fn ordinary(&mut self, call: &Call, only: Option<&str>, args: Vec<Node>) -> Result<Node, EvalError> {
        let Some(function) = library::find(&call.function, true) else {
            return Err(EvalError::new(format!("no such overload: {}", call.function)));
        };
        let overload = only.and_then(|id| function.overloads.iter().position(|overload| overload.id == id));
        let member = call.target.is_some();
        let eager = args.len() > 2
            || function.name == "format"
            || (overload.is_none() && !is_operator(function.name));
        let mut call = CallNode { function: Called(function), overload, args, member, eager };
        if let [Node::Constant(value)] = call.args.as_slice()
            && convert::is_conversion(function.name)
        {
            let mut meter = Meter::new(u64::MAX);
            return super::invoke(&mut meter, &call, std::slice::from_ref(value)).map(Node::Constant);
        }
        let pattern = match call.args.get(1) {
            Some(Node::Constant(Value::String(pattern))) => Some(pattern),
            _ => None,
        };
        if let (Some(pattern), "matches" | "find" | "findAll") = (pattern, function.name) {
            let regex = patterns::compile(pattern).map_err(EvalError::new)?;
            call.eager = true;
            if function.name == "matches" {
                return Ok(Node::Matches { call: Box::new(call), regex });
            }
        }
        Ok(Node::Call(Box::new(call)))
    }

    fn fold(&mut self, fold: &Comprehension) -> Result<Node, EvalError> {
        let init = self.node(&fold.init)?;
        let range = self.node(&fold.range)?;
        let base = self.locals.len();
        self.locals.push(Some(fold.accumulator.clone()));
        self.locals.push(Some(fold.variable.clone()));
        self.locals.extend(fold.second.clone().map(Some));
        let condition = self.node(&fold.condition)?;
        let step = self.node(&fold.step)?;
        // Where the result is computed, the loop's own variables are gone.
        self.locals[base + 1..].fill(None);
        let result = self.node(&fold.result)?;
        self.locals.truncate(base);
        let two = fold.second.is_some();
        let step = in_place(step, base);
        Ok(Node::Fold(Box::new(Fold { range, base, two, init, condition, step, result })))
    }
}

/// Functions that find out by themselves what they are called with.
fn is_operator(function: &str) -> bool {
    function.starts_with(['_', '@', '!', '-'])
        || matches!(function, "size" | "dyn" | "type" | "matches" | "sort")
}

/// The node as something that can be selected from.
fn as_attribute(node: Node) -> Box<Attribute> {
    match node {
        Node::Attribute(attribute) if !attribute.test => attribute,
        node => Box::new(Attribute { root: Root::Value(node), qualifiers: Vec::new(), test: false }),
    }
}

fn conditional(args: Vec<Node>) -> Node {
    let branch = |node| match node {
        Node::Attribute(attribute) if !attribute.test => Branch::Attribute(*attribute),
        node => Branch::Node(node),
    };
    let mut args = args.into_iter();
    let [Some(condition), Some(yes), Some(no)] = [args.next(), args.next(), args.next()] else {
        return Node::Constant(Value::Null);
    };
    let root = Root::Conditional { condition, branches: Box::new([branch(yes), branch(no)]) };
    Node::Attribute(Box::new(Attribute { root, qualifiers: Vec::new(), test: false }))
}

fn index(mut args: Vec<Node>, optional: bool) -> Result<Node, EvalError> {
    let (Some(key), Some(operand)) = (args.pop(), args.pop()) else { return Ok(Node::Constant(Value::Null)) };
    let key = match key {
        Node::Constant(value) if is_qualifier(&value) => QualifierKey::Constant(value),
        Node::Constant(value) => {
            return Err(EvalError::new(format!("invalid qualifier type: {}", value.go_type())));
        }
        Node::Attribute(attribute) if !attribute.test => QualifierKey::Attribute(*attribute),
        node => QualifierKey::Computed(node),
    };
    let mut attribute = as_attribute(operand);
    attribute.qualifiers.push(Qualifier { key, optional });
    Ok(Node::Attribute(attribute))
}

/// Whether a value can say which part of another is meant.
pub(super) fn is_qualifier(value: &Value<'_>) -> bool {
    matches!(value, Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_))
}

/// `x in list` as a question to a set, when the list is constant and has plain elements only.
fn member(pair: [Node; 2]) -> Result<Node, [Node; 2]> {
    let [value, list] = pair;
    let Node::Constant(Value::List(constant)) = &list else { return Err([value, list]) };
    if constant.is_empty() {
        return Ok(Node::Constant(Value::Bool(false)));
    }
    let key = |element| match element {
        Ok(plain @ (Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::String(_))) => Key::of(&plain),
        Ok(number @ Value::Double(_)) => Key::of(&number),
        _ => None,
    };
    match constant.iter().map(key).collect::<Option<_>>() {
        Some(keys) => Ok(Node::Member { value: Box::new(value), set: Constants(keys) }),
        None => Err([value, list]),
    }
}

fn constant_list(parts: Vec<Part>) -> Result<Node, EvalError> {
    if parts.iter().any(|part| part.optional || !matches!(part.value, Node::Constant(_))) {
        return Ok(Node::List(parts));
    }
    let values = parts.into_iter().filter_map(|part| match part.value {
        Node::Constant(value) => Some(value),
        _ => None,
    });
    Ok(Node::Constant(Value::List(List::of(values.collect()))))
}

fn constant_map(entries: Vec<(Node, Part)>) -> Result<Node, EvalError> {
    let constant = |node: &Node| matches!(node, Node::Constant(_));
    if entries.iter().any(|(key, part)| part.optional || !constant(key) || !constant(&part.value)) {
        return Ok(Node::Map(entries));
    }
    let mut map = BTreeMap::new();
    for (key, part) in entries {
        if let (Node::Constant(key), Node::Constant(value)) = (key, part.value) {
            map.insert(Key::insertable(&key)?, value);
        }
    }
    Ok(Node::Constant(Value::Map(Map::of(map))))
}

/// A step that adds to what is gathered, so that it can be done without copying.
fn in_place(step: Node, base: usize) -> Node {
    match step {
        Node::Call(call) => in_place_call(*call, base),
        Node::Attribute(attribute) => match *attribute {
            Attribute { root: Root::Conditional { condition, branches }, qualifiers, test } => {
                let branches = branches.map(|branch| match branch {
                    Branch::Node(node) => Branch::Node(in_place(node, base)),
                    branch => branch,
                });
                let root = Root::Conditional { condition, branches: Box::new(branches) };
                Node::Attribute(Box::new(Attribute { root, qualifiers, test }))
            }
            attribute => Node::Attribute(Box::new(attribute)),
        },
        step => step,
    }
}

fn in_place_call(call: CallNode, base: usize) -> Node {
    let gathered = |node: &Node| {
        matches!(node, Node::Attribute(attribute)
            if matches!(attribute.root, Root::Local(place) if place == base) && attribute.qualifiers.is_empty())
    };
    let name = call.function.0.name;
    if !call.args.first().is_some_and(gathered) {
        return Node::Call(Box::new(call));
    }
    let mut args = call.args.into_iter().skip(1);
    match (name, args.len(), args.next(), args.next()) {
        (operator::ADD, 1, Some(Node::List(mut parts)), None) if parts.len() == 1 && !parts[0].optional => {
            let part = parts.swap_remove(0);
            Node::Append { place: base, element: Box::new(part.value), constant: false }
        }
        (operator::ADD, 1, Some(Node::Constant(Value::List(list))), None) if list.len() == 1 => {
            let element = list.get(0).and_then(Result::ok).unwrap_or(Value::Null);
            Node::Append { place: base, element: Box::new(Node::Constant(element)), constant: true }
        }
        (operator::MAP_INSERT, 2, Some(key), Some(value)) => {
            Node::Insert { place: base, key: Box::new(key), value: Box::new(value) }
        }
        (_, _, first, second) => {
            let root = Root::Local(base);
            let gathered = Node::Attribute(Box::new(Attribute { root, qualifiers: Vec::new(), test: false }));
            let args = [Some(gathered), first, second].into_iter().flatten().chain(args).collect();
            Node::Call(Box::new(CallNode {
                args,
                function: call.function,
                overload: call.overload,
                member: call.member,
                eager: call.eager,
            }))
        }
    }
}
