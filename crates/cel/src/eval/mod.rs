//! Evaluation, and what it costs.

mod attribute;
mod fold;
mod plan;
mod tree;
mod uses;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::Checked;
use crate::cost::runtime::Cost;
use crate::cost::{self, IDENT, NEW_LIST, NEW_MAP, NEW_STRUCT};
use crate::error::EvalError;
use crate::library::{Outcome, Overload};
use crate::types::Type;
use crate::value::{Key, List, Map, Meter, Object, Value, equal};

use tree::{CallNode, Constants, Node, Part};
pub(crate) use uses::{selections, variables};

/// An expression that can be evaluated.
#[derive(Debug)]
pub(crate) struct Plan {
    node: Node,
}

/// Values of variables.
#[derive(Debug, Default)]
pub struct Activation<'a> {
    values: BTreeMap<String, Result<Value<'a>, EvalError>>,
}

impl<'a> Activation<'a> {
    /// No variable has a value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a variable its value; an error is that of every expression that uses it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Result<Value<'a>, EvalError>>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }
}

impl<'a> From<Value<'a>> for Result<Value<'a>, EvalError> {
    fn from(value: Value<'a>) -> Self {
        Ok(value)
    }
}

/// What came of an evaluation.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The value, or why there is none.
    pub result: Result<Value<'a>, EvalError>,
    /// What it has cost, whether or not it has a value.
    pub cost: u64,
}

impl Plan {
    pub(crate) fn new(checked: &Checked) -> Result<Self, EvalError> {
        Ok(Self { node: plan::plan(checked)? })
    }

    pub(crate) fn evaluate<'a>(&'a self, activation: &'a Activation<'a>, limit: u64) -> Evaluation<'a> {
        let mut evaluator = Evaluator { activation, locals: Vec::new(), meter: Meter::new(limit) };
        let result = evaluator.eval(&self.node);
        Evaluation { result, cost: evaluator.meter.cost() }
    }
}

/// A variable of a loop.
enum Local<'a> {
    /// Computed when it is first asked for.
    Pending(&'a Node),
    Known(Outcome<'a>),
    /// Taken out, to be changed in place.
    Taken,
}

struct Evaluator<'a> {
    activation: &'a Activation<'a>,
    locals: Vec<Local<'a>>,
    meter: Meter,
}

/// Calls a function that is known to be called with these values.
fn invoke<'a>(meter: &mut Meter, call: &CallNode, args: &[Value<'a>]) -> Outcome<'a> {
    let function = call.function.0;
    let fits = |overload: &&Overload| {
        overload.member == call.member
            && overload.args.len() == args.len()
            && overload.args.iter().zip(args).all(|(of, value)| accepts(of, value))
    };
    let known = call.overload.and_then(|index| function.overloads.get(index));
    let overload = match known {
        Some(known) => Some(known).filter(fits),
        None => function.overloads.iter().find(fits),
    };
    match overload {
        Some(overload) => (overload.implementation)(meter, args),
        None => Err(mismatch(function.name, args)),
    }
}

/// Whether a value can be an argument of this type.
fn accepts(of: &Type, value: &Value<'_>) -> bool {
    match (of, value) {
        (Type::Dyn | Type::Variable(_), _) => true,
        (Type::List(items), Value::List(list)) => match (&**items, list.get(0)) {
            (Type::Dyn | Type::Variable(_), _) | (_, None) => true,
            (items, Some(Ok(first))) => accepts(items, &first),
            (_, Some(Err(_))) => false,
        },
        (Type::Map(..), Value::Map(_)) | (Type::Optional(_), Value::Optional(_)) => true,
        (Type::Type(_), Value::Type(_)) => true,
        (of, value) => *of == value.type_of(),
    }
}

/// What is said when no overload takes the values. Operators look at the type of the first only: of one that knows the
/// operator, or that knows functions of its own, less is said.
fn mismatch(function: &str, args: &[Value<'_>]) -> EvalError {
    let receiver =
        |value: &Value<'_>| matches!(value, Value::String(_) | Value::Duration(_) | Value::Timestamp(_));
    let number = |value: &Value<'_>| matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    let first = args.first();
    let knows: fn(&Value<'_>) -> bool = match function {
        "_+_" => |value| matches!(value, Value::Bytes(_) | Value::List(_)),
        "-_" | "_%_" | "_-_" | "_*_" | "_/_" | "size" | "@in" | "!_" => |_| false,
        "_<_" | "_<=_" | "_>_" | "_>=_" => |value| matches!(value, Value::Bool(_) | Value::Bytes(_)),
        "contains" | "startsWith" | "endsWith" => |_| true,
        "matches" => |_| false,
        _ => {
            let types: Vec<Type> = args.iter().map(Value::type_of).collect();
            let names: Vec<&str> = types.iter().map(Type::runtime_name).collect();
            return EvalError::new(format!("no such overload: {function}({})", names.join(", ")));
        }
    };
    let special = match (function, first) {
        ("_%_", Some(Value::Double(_))) | ("-_", Some(Value::Uint(_))) | ("size", Some(_)) => false,
        ("!_" | "@in", _) | ("-_", Some(Value::Bool(_))) => true,
        (_, Some(first)) => number(first),
        _ => false,
    };
    if special || first.is_some_and(|first| receiver(first) || knows(first)) {
        EvalError::no_such_overload()
    } else {
        EvalError::new(format!("no such overload: {function}"))
    }
}

impl<'a> Evaluator<'a> {
    fn eval(&mut self, node: &'a Node) -> Outcome<'a> {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Attribute(attribute) => self.attribute(attribute),
            Node::And(sides) => self.logic(sides, false),
            Node::Or(sides) => self.logic(sides, true),
            Node::NotStrictlyFalse(value) => {
                let value = self.eval(value);
                self.meter.charge(1)?;
                match value {
                    Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                    Err(EvalError::CostExceeded) => Err(EvalError::CostExceeded),
                    _ => Ok(Value::Bool(true)),
                }
            }
            Node::Equal(sides) => self.equality(sides, true),
            Node::NotEqual(sides) => self.equality(sides, false),
            Node::OptionalOr { sides, unwrap } => self.optional_or(sides, *unwrap),
            Node::Member { value, set } => {
                let value = self.eval(value)?;
                Ok(Value::Bool(set.contains(&value)))
            }
            Node::Matches { call, regex } => {
                let (args, failed) = self.args(&call.args, true)?;
                self.charge_call(call, &args)?;
                if let Some(error) = failed {
                    return Err(error);
                }
                match args.as_slice() {
                    [Value::String(text), ..] => Ok(Value::Bool(regex.is_match(text))),
                    _ => Err(EvalError::no_such_overload()),
                }
            }
            Node::Call(call) => self.call(call),
            Node::Append { place, element, constant } => self.append(*place, element, *constant),
            Node::Insert { place, key, value } => self.insert(*place, key, value),
            Node::List(parts) => self.list(parts),
            Node::Map(entries) => self.map(entries),
            Node::Struct { name, fields } => self.object(name, fields),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    /// Both sides of `&&` or `||`: one that decides makes up for an error of the other.
    fn logic(&mut self, sides: &'a [Node; 2], decides: bool) -> Outcome<'a> {
        let mut failed = None;
        for side in sides {
            match self.eval(side) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or_else(|| Some(EvalError::no_such_overload())),
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), Err)
    }

    /// Values of arguments. All are computed before an error of one is given, unless the call is eager: then the first
    /// that fails ends it. What failed is null in the values, so that what the call would cost can be counted.
    fn args(
        &mut self,
        nodes: &'a [Node],
        eager: bool,
    ) -> Result<(Vec<Value<'a>>, Option<EvalError>), EvalError> {
        let mut values = Vec::with_capacity(nodes.len());
        let mut failed = None;
        for (index, node) in nodes.iter().enumerate() {
            match self.eval(node) {
                Ok(value) => values.push(value),
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                Err(error) if eager && index + 1 < nodes.len() => return Err(error),
                Err(error) => {
                    values.push(Value::Null);
                    failed = failed.or(Some(error));
                }
            }
        }
        Ok((values, failed))
    }

    fn equality(&mut self, sides: &'a [Node; 2], wanted: bool) -> Outcome<'a> {
        let (values, failed) = self.args(sides, false)?;
        let Ok(values) = <[Value<'a>; 2]>::try_from(values) else {
            return Err(EvalError::no_such_overload());
        };
        self.meter.charge(cost::runtime::equality(&values, wanted))?;
        if let Some(error) = failed {
            return Err(error);
        }
        let [one, another] = values;
        match equal(&mut self.meter, &one, &another) {
            Ok(equal) => Ok(Value::Bool(equal == wanted)),
            Err(EvalError::Failed(_)) if !wanted => Ok(Value::Bool(true)),
            Err(error) => Err(error),
        }
    }

    fn optional_or(&mut self, sides: &'a [Node; 2], unwrap: bool) -> Outcome<'a> {
        match self.eval(&sides[0])? {
            Value::Optional(None) => self.eval(&sides[1]),
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            value => Ok(value),
        }
    }

    fn call(&mut self, call: &'a CallNode) -> Outcome<'a> {
        let (args, failed) = self.args(&call.args, call.eager)?;
        let cost = self.charge_call(call, &args)?;
        let result = match failed {
            Some(error) => Err(error),
            None => invoke(&mut self.meter, call, &args),
        };
        self.meter.charge(cost.after(result.as_ref().ok()))?;
        result
    }

    /// Charges what is known of a call's cost before it happens.
    fn charge_call(&mut self, call: &CallNode, args: &[Value<'a>]) -> Result<Cost, EvalError> {
        let overload = call.overload.and_then(|index| call.function.0.overloads.get(index));
        let id = overload.map(|overload| overload.id);
        let cost = cost::runtime::call(&mut self.meter, call.function.0.name, id, args)?;
        if let Cost::Before(cost) = cost {
            self.meter.charge(cost)?;
        }
        Ok(cost)
    }

    /// A list; making one costs the same when an element fails.
    fn list(&mut self, parts: &'a [Part]) -> Outcome<'a> {
        let values = self.elements(parts);
        self.meter.charge(NEW_LIST)?;
        Ok(Value::List(List::of(values?)))
    }

    fn elements(&mut self, parts: &'a [Part]) -> Result<Vec<Value<'a>>, EvalError> {
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            let value = self.eval(&part.value)?;
            if !part.optional {
                values.push(value);
                continue;
            }
            match value {
                Value::Optional(Some(value)) => values.push((*value).clone()),
                Value::Optional(None) => {}
                other => {
                    let message =
                        format!("cannot initialize optional list element from non-optional value {other}");
                    return Err(EvalError::new(message));
                }
            }
        }
        Ok(values)
    }

    fn map(&mut self, entries: &'a [(Node, Part)]) -> Outcome<'a> {
        let map = self.entries(entries);
        self.meter.charge(NEW_MAP)?;
        Ok(Value::Map(Map::of(map?)))
    }

    fn entries(&mut self, entries: &'a [(Node, Part)]) -> Result<BTreeMap<Key, Value<'a>>, EvalError> {
        let mut map = BTreeMap::new();
        for (key, part) in entries {
            let key = self.eval(key)?;
            let value = self.eval(&part.value)?;
            let place = Key::insertable(&key)?;
            match present(value, part.optional, &key.to_string())? {
                Some(value) => map.insert(place, value),
                None => map.remove(&place),
            };
        }
        Ok(map)
    }

    fn object(&mut self, name: &Arc<str>, fields: &'a [(String, Part)]) -> Outcome<'a> {
        let values = self.fields(fields);
        self.meter.charge(NEW_STRUCT)?;
        Ok(Value::Object(Arc::new(Object { name: name.clone(), fields: values? })))
    }

    fn fields(&mut self, fields: &'a [(String, Part)]) -> Result<BTreeMap<String, Value<'a>>, EvalError> {
        let mut values = BTreeMap::new();
        for (field, part) in fields {
            let value = self.eval(&part.value)?;
            if let Some(value) = present(value, part.optional, field)? {
                values.insert(field.clone(), value);
            }
        }
        Ok(values)
    }

    fn charge_ident(&mut self) -> Result<(), EvalError> {
        self.meter.charge(IDENT)
    }
}

/// The value of an entry, when there is one.
fn present<'a>(value: Value<'a>, optional: bool, name: &str) -> Result<Option<Value<'a>>, EvalError> {
    match value {
        value if !optional => Ok(Some(value)),
        Value::Optional(value) => Ok(value.map(|value| (*value).clone())),
        other => Err(EvalError::new(format!(
            "cannot initialize optional entry '{name}' from non-optional value {other}"
        ))),
    }
}

impl Constants {
    fn contains(&self, value: &Value<'_>) -> bool {
        Key::of(value).is_some_and(|key| self.0.contains(&key))
    }
}
