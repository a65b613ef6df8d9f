//! Calls that are loops or tests in disguise.

use crate::value::Constant;

use super::ast::{ACCUMULATOR, Call, Comprehension, Element, Expr, Id, Kind, Select, operator};
use super::parser::{Nodes, Stop};

/// What a call turned out to be.
pub(super) enum Expansion {
    /// No macro.
    Call(Call),
    Expr(Expr),
    /// A macro with arguments that it cannot have.
    Malformed {
        offset: u32,
        message: String,
    },
}

/// Names of older accumulators, which variables must not have.
const OLD_ACCUMULATOR: &str = "__result__";

/// Expands a call when it is one of a macro. Nodes that a macro adds stand where its call is written.
pub(super) fn expand(nodes: &mut Nodes, offset: u32, height: u16, call: Call) -> Result<Expansion, Stop> {
    let Some(rule) = rule(&call) else { return Ok(Expansion::Call(call)) };
    let mut factory = Factory { nodes, offset, height };
    let result = match call.target {
        None => factory.has(call.args),
        Some(target) => factory.receiver(rule, *target, call.args),
    };
    match result {
        Ok(expr) => Ok(Expansion::Expr(expr)),
        Err(Problem::Stop(stop)) => Err(stop),
        Err(Problem::Argument(id, message)) => {
            Ok(Expansion::Malformed { offset: factory.nodes.offset(id), message })
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    Has,
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformList,
    TransformMap,
    TransformMapEntry,
    OptMap,
    OptFlatMap,
    SortBy,
}

fn rule(call: &Call) -> Option<Rule> {
    let rule = match (call.target.is_some(), call.function.as_str(), call.args.len()) {
        (false, "has", 1) => Rule::Has,
        (true, "all", 2 | 3) => Rule::All,
        (true, "exists", 2 | 3) => Rule::Exists,
        (true, "exists_one", 2 | 3) | (true, "existsOne", 3) => Rule::ExistsOne,
        (true, "map", 2 | 3) => Rule::Map,
        (true, "filter", 2) => Rule::Filter,
        (true, "transformList", 3 | 4) => Rule::TransformList,
        (true, "transformMap", 3 | 4) => Rule::TransformMap,
        (true, "transformMapEntry", 3 | 4) => Rule::TransformMapEntry,
        (true, "optMap", 2) => Rule::OptMap,
        (true, "optFlatMap", 2) => Rule::OptFlatMap,
        (true, "sortBy", 2) => Rule::SortBy,
        _ => return None,
    };
    Some(rule)
}

enum Problem {
    Stop(Stop),
    Argument(Id, String),
}

impl From<Stop> for Problem {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

type Made<T = Expr> = Result<T, Problem>;

struct Factory<'a> {
    nodes: &'a mut Nodes,
    offset: u32,
    height: u16,
}

/// The variables of a loop.
struct Variables {
    first: String,
    second: Option<String>,
}

/// What differs between loops.
struct Body {
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

impl Factory<'_> {
    fn node(&mut self, kind: Kind) -> Made {
        Ok(Expr { id: self.nodes.add(self.offset, self.height)?, kind })
    }

    fn literal(&mut self, value: Constant) -> Made {
        self.node(Kind::Literal(value))
    }

    fn ident(&mut self, name: &str) -> Made {
        self.node(Kind::Ident(name.to_owned()))
    }

    fn accumulator(&mut self) -> Made {
        self.ident(ACCUMULATOR)
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Made {
        self.node(Kind::Call(Call { target: None, function: function.to_owned(), args }))
    }

    fn member_call(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Made {
        self.node(Kind::Call(Call { target: Some(Box::new(target)), function: function.to_owned(), args }))
    }

    fn list(&mut self, values: Vec<Expr>) -> Made {
        let elements = values.into_iter().map(|value| Element { value, optional: false }).collect();
        self.node(Kind::List(elements))
    }

    fn has(&mut self, args: Vec<Expr>) -> Made {
        match args.into_iter().next() {
            Some(Expr { kind: Kind::Select(select), .. }) => {
                self.node(Kind::Select(Select { test: true, ..select }))
            }
            Some(arg) => Err(Problem::Argument(arg.id, "invalid argument to has() macro".to_owned())),
            None => self.literal(Constant::Null),
        }
    }

    fn receiver(&mut self, rule: Rule, target: Expr, mut args: Vec<Expr>) -> Made {
        let two = matches!(rule, Rule::TransformList | Rule::TransformMap | Rule::TransformMapEntry)
            || (args.len() == 3 && matches!(rule, Rule::All | Rule::Exists | Rule::ExistsOne));
        match rule {
            Rule::OptMap | Rule::OptFlatMap => return self.optional_map(rule, target, args),
            Rule::SortBy => return self.sort_by(target, args),
            _ => {}
        }
        let quantifier = matches!(rule, Rule::All | Rule::Exists | Rule::ExistsOne);
        let variables = variables(&args, two, quantifier || two)?;
        let mut rest = args.split_off(if two { 2 } else { 1 });
        let last = rest.pop();
        let Some(last) = last else { return self.literal(Constant::Null) };
        let filter = rest.pop();
        let body = match rule {
            Rule::All => self.all(last)?,
            Rule::Exists => self.exists(last)?,
            Rule::ExistsOne => self.exists_one(last)?,
            Rule::Filter => {
                let element = args.swap_remove(0);
                self.list_body(Some(last), element)?
            }
            Rule::TransformMap => self.map_body(filter, Some(&variables.first), last)?,
            Rule::TransformMapEntry => self.map_body(filter, None, last)?,
            _ => self.list_body(filter, last)?,
        };
        self.comprehension(target, variables, body)
    }

    fn comprehension(&mut self, range: Expr, variables: Variables, body: Body) -> Made {
        let Body { init, condition, step, result } = body;
        self.node(Kind::Comprehension(Box::new(Comprehension {
            range,
            variable: variables.first,
            second: variables.second,
            accumulator: ACCUMULATOR.to_owned(),
            init,
            condition,
            step,
            result,
        })))
    }

    fn all(&mut self, predicate: Expr) -> Made<Body> {
        let gathered = self.accumulator()?;
        let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![gathered])?;
        let gathered = self.accumulator()?;
        let step = self.call(operator::AND, vec![gathered, predicate])?;
        Ok(Body { init: self.literal(Constant::Bool(true))?, condition, step, result: self.accumulator()? })
    }

    fn exists(&mut self, predicate: Expr) -> Made<Body> {
        let gathered = self.accumulator()?;
        let not = self.call(operator::NOT, vec![gathered])?;
        let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![not])?;
        let gathered = self.accumulator()?;
        let step = self.call(operator::OR, vec![gathered, predicate])?;
        Ok(Body { init: self.literal(Constant::Bool(false))?, condition, step, result: self.accumulator()? })
    }

    fn exists_one(&mut self, predicate: Expr) -> Made<Body> {
        let (gathered, one) = (self.accumulator()?, self.literal(Constant::Int(1))?);
        let more = self.call(operator::ADD, vec![gathered, one])?;
        let step = self.when(Some(predicate), more)?;
        let (gathered, one) = (self.accumulator()?, self.literal(Constant::Int(1))?);
        let result = self.call(operator::EQUALS, vec![gathered, one])?;
        let init = self.literal(Constant::Int(0))?;
        Ok(Body { init, condition: self.literal(Constant::Bool(true))?, step, result })
    }

    /// `step` where the filter holds, else what is gathered already.
    fn when(&mut self, filter: Option<Expr>, step: Expr) -> Made {
        match filter {
            None => Ok(step),
            Some(filter) => {
                let gathered = self.accumulator()?;
                self.call(operator::CONDITIONAL, vec![filter, step, gathered])
            }
        }
    }

    fn list_body(&mut self, filter: Option<Expr>, element: Expr) -> Made<Body> {
        let (gathered, more) = (self.accumulator()?, self.list(vec![element])?);
        let step = self.call(operator::ADD, vec![gathered, more])?;
        let step = self.when(filter, step)?;
        let init = self.list(Vec::new())?;
        Ok(Body { init, condition: self.literal(Constant::Bool(true))?, step, result: self.accumulator()? })
    }

    /// Entries with the loop's key, or whole maps when there is none.
    fn map_body(&mut self, filter: Option<Expr>, key: Option<&str>, value: Expr) -> Made<Body> {
        let mut args = vec![self.accumulator()?];
        if let Some(key) = key {
            args.push(self.ident(key)?);
        }
        args.push(value);
        let step = self.call(operator::MAP_INSERT, args)?;
        let step = self.when(filter, step)?;
        let init = self.node(Kind::Map(Vec::new()))?;
        Ok(Body { init, condition: self.literal(Constant::Bool(true))?, step, result: self.accumulator()? })
    }

    /// `expr` with the value of `init` under a name.
    fn bind(&mut self, name: &str, init: Expr, expr: Expr) -> Made {
        let range = self.list(Vec::new())?;
        let condition = self.literal(Constant::Bool(false))?;
        let step = self.ident(name)?;
        self.node(Kind::Comprehension(Box::new(Comprehension {
            range,
            variable: "#unused".to_owned(),
            second: None,
            accumulator: name.to_owned(),
            init,
            condition,
            step,
            result: expr,
        })))
    }

    fn optional_map(&mut self, rule: Rule, target: Expr, mut args: Vec<Expr>) -> Made {
        let flat = matches!(rule, Rule::OptFlatMap);
        let Kind::Ident(name) = &args[0].kind else {
            let function = if flat { "optFlatMap" } else { "optMap" };
            let message = format!("{function}() variable name must be a simple identifier");
            return Err(Problem::Argument(args[0].id, message));
        };
        let name = name.clone();
        let mapped = args.swap_remove(1);
        let copy = self.copy(&target)?;
        let present = self.member_call("hasValue", target, Vec::new())?;
        let value = self.member_call("value", copy, Vec::new())?;
        let mut yes = self.bind(&name, value, mapped)?;
        if !flat {
            yes = self.call("optional.of", vec![yes])?;
        }
        let no = self.call("optional.none", Vec::new())?;
        self.call(operator::CONDITIONAL, vec![present, yes, no])
    }

    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Made {
        const INPUT: &str = "@__sortBy_input__";
        if matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Struct(_)) {
            let message =
                "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return Err(Problem::Argument(target.id, message.to_owned()));
        }
        let variables = variables(&args, false, false)?;
        let input = self.ident(INPUT)?;
        let Some(key) = args.into_iter().nth(1) else { return Ok(input) };
        let body = self.list_body(None, key)?;
        let keys = self.comprehension(input, variables, body)?;
        let input = self.ident(INPUT)?;
        let sorted = self.member_call("@sortByAssociatedKeys", input, vec![keys])?;
        self.bind(INPUT, target, sorted)
    }

    /// The same with nodes of its own.
    fn copy(&mut self, expr: &Expr) -> Made {
        let mut copy = expr.clone();
        self.renumber(&mut copy)?;
        Ok(copy)
    }

    fn renumber(&mut self, expr: &mut Expr) -> Made<()> {
        let (offset, height) = (self.nodes.offset(expr.id), self.nodes.height(expr.id));
        expr.id = self.nodes.add(offset, height)?;
        match &mut expr.kind {
            Kind::Literal(_) | Kind::Ident(_) => Ok(()),
            Kind::Select(select) => self.renumber(&mut select.operand),
            Kind::Call(call) => {
                let target = call.target.as_deref_mut();
                target.into_iter().chain(&mut call.args).try_for_each(|part| self.renumber(part))
            }
            Kind::List(elements) => {
                elements.iter_mut().try_for_each(|element| self.renumber(&mut element.value))
            }
            Kind::Map(entries) => entries.iter_mut().try_for_each(|entry| {
                self.renumber(&mut entry.key)?;
                self.renumber(&mut entry.value)
            }),
            Kind::Struct(object) => object.fields.iter_mut().try_for_each(|field| {
                let offset = self.nodes.offset(field.id);
                field.id = self.nodes.add(offset, 0)?;
                self.renumber(&mut field.value)
            }),
            Kind::Comprehension(fold) => {
                let Comprehension { range, init, condition, step, result, .. } = &mut **fold;
                [range, init, condition, step, result].into_iter().try_for_each(|part| self.renumber(part))
            }
        }
    }
}

fn variables(args: &[Expr], two: bool, plain: bool) -> Made<Variables> {
    let name = |arg: &Expr| match &arg.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ if plain => Err(Problem::Argument(arg.id, "argument must be a simple name".to_owned())),
        _ => Err(Problem::Argument(arg.id, "argument is not an identifier".to_owned())),
    };
    let check = |arg: &Expr, name: &str| {
        if name != ACCUMULATOR && name != OLD_ACCUMULATOR {
            return Ok(());
        }
        Err(Problem::Argument(arg.id, "iteration variable overwrites accumulator variable".to_owned()))
    };
    let first = name(&args[0])?;
    if !two {
        check(&args[0], &first)?;
        return Ok(Variables { first, second: None });
    }
    let second = name(&args[1])?;
    if first == second {
        return Err(Problem::Argument(args[1].id, format!("duplicate variable name: {first}")));
    }
    check(&args[0], &first)?;
    check(&args[1], &second)?;
    Ok(Variables { first, second: Some(second) })
}
