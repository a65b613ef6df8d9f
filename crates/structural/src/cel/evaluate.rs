//! Evaluating the rules of a schema for an object.

use std::collections::BTreeMap;

use serde_json::Value;
use skiff_cel::{Activation, DeclaredType, Program, limits};
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors, Findings};
use skiff_ordered::Ordered as _;

use super::{Compiled, Declarations, has_line_breaks};
use crate::model::{ListType, MapType, Structural, Type};
use crate::path::Path;
use crate::validate::{Correlated, same_key};

/// All rules of a schema, compiled.
#[derive(Debug)]
pub struct RuleSet {
    root: Node,
}

/// The rules of one schema and of those below it.
#[derive(Debug)]
struct Node {
    ty: Type,
    /// How values are correlated with those before.
    list_map_keys: Option<Vec<String>>,
    is_correlatable_map: bool,
    declared: Declared,
    rules: Vec<Option<Compiled>>,
    items: Option<Box<Node>>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
}

#[derive(Debug)]
struct Declared {
    plain: DeclaredType,
    /// The type of `oldSelf` where there may be none.
    optional: DeclaredType,
}

impl RuleSet {
    /// Compiles the rules of a schema for whole objects; none if it has none.
    pub fn compile(schema: &Structural) -> Option<Self> {
        Self::of(schema, true)
    }

    pub(crate) fn of(schema: &Structural, is_root: bool) -> Option<Self> {
        let root = Node::of(schema, is_root, &mut Declarations::default())?;
        Some(Self { root })
    }

    /// Evaluates the rules for an object, new or in place of another. `schema` is the one that they are from.
    pub fn validate(&self, new: &Value, old: Option<&Value>, schema: &Structural) -> Findings {
        let correlation = match old {
            Some(old) => Correlation { current: Some(Correlated { new, old, schema }), nearest: None },
            None => Correlation::default(),
        };
        let mut run = Run::new(limits::RUNTIME_BUDGET);
        self.run(&Path::Root(""), new, old, correlation, &mut run);
        run.findings
    }

    /// Evaluates the rules for a default; the budget is what is left of that of all defaults.
    pub(crate) fn validate_default(
        &self,
        path: &Path<'_>,
        default: &Value,
        budget: &mut Option<u64>,
    ) -> FieldErrors {
        let Some(before) = *budget else { return FieldErrors::new() };
        let mut left = Vec::new();
        let mut errors = FieldErrors::new();
        // As if it was there, then as if it was not.
        for old in [Some(default), None] {
            let mut run = Run::new(before);
            self.run(path, default, old, Correlation::default(), &mut run);
            left.push(run.budget);
            errors.extend(run.findings.errors);
            if !errors.is_empty() {
                break;
            }
        }
        *budget = left.into_iter().min().flatten();
        errors
    }

    fn run(
        &self,
        path: &Path<'_>,
        new: &Value,
        old: Option<&Value>,
        correlation: Correlation<'_>,
        run: &mut Run,
    ) {
        run.node(&self.root, path, new, old, correlation);
    }
}

impl Node {
    fn of<'s>(schema: &'s Structural, is_root: bool, declarations: &mut Declarations<'s>) -> Option<Self> {
        if !has_rules(schema) {
            return None;
        }
        let is_root = is_root || schema.embedded_resource;
        // Of what is no type nothing is evaluated, and nothing below it.
        let declared = declarations.of(schema, is_root)?;
        let mut below = |schema: &'s Structural| Self::of(schema, false, declarations);
        let items = schema.items.as_deref().and_then(&mut below).map(Box::new);
        let additional = schema.additional.schema().and_then(|schema| below(schema)).map(Box::new);
        let properties =
            schema.properties.iter().filter_map(|(name, schema)| Some((name.clone(), below(schema)?)));
        let properties = properties.one_by_one();
        let rules = Compiled::all(schema, &declared);
        let is_map = schema.list_type == Some(ListType::Map) && schema.ty == Type::Array;
        Some(Self {
            ty: schema.ty.clone(),
            list_map_keys: is_map.then(|| schema.list_map_keys.clone()),
            is_correlatable_map: !matches!(schema.map_type, Some(MapType::Other(_))),
            declared: Declared { optional: declared.clone().maybe(), plain: declared },
            rules,
            items,
            properties,
            additional,
        })
    }
}

fn has_rules(schema: &Structural) -> bool {
    let below = schema.items.iter().chain(schema.properties.values()).chain(schema.additional.schema());
    !schema.rules.is_empty() || below.into_iter().any(|schema| has_rules(schema))
}

/// What a value replaces, for letting pass what did not change.
#[derive(Clone, Copy, Default)]
struct Correlation<'a> {
    current: Option<Correlated<'a>>,
    /// The nearest value above that replaces another.
    nearest: Option<Correlated<'a>>,
}

impl<'a> Correlation<'a> {
    fn key(self, name: &str) -> Self {
        let Some(current) = self.current else { return self };
        // Changes of these are not seen: both objects were brought to one version.
        if self.nearest.is_none() && matches!(name, "apiVersion" | "kind") {
            return Self::default();
        }
        Self { current: current.key(name), nearest: Some(current) }
    }

    fn index(self, index: usize) -> Self {
        let Some(current) = self.current else { return self };
        Self { current: current.index(index), nearest: Some(current) }
    }

    fn is_unchanged(self) -> bool {
        self.current.or(self.nearest).is_some_and(Correlated::is_unchanged)
    }
}

/// One evaluation of all rules for an object.
struct Run {
    /// What is left; none: the evaluation has ended.
    budget: Option<u64>,
    findings: Findings,
}

/// The variables of a value's rules.
struct Variables<'v> {
    plain: Activation<'v>,
    optional: Activation<'v>,
}

impl<'v> Variables<'v> {
    fn of(declared: &'v Declared, new: &'v Value, old: Option<&'v Value>) -> Self {
        let with_self = || Activation::new().with("self", skiff_cel::Value::read(new, &declared.plain));
        let (plain, optional) = match old {
            None => (with_self(), with_self().with("oldSelf", skiff_cel::Value::Optional(None))),
            Some(old) => {
                let plain = skiff_cel::Value::read(old, &declared.plain);
                let optional = skiff_cel::Value::read(old, &declared.optional);
                (with_self().with("oldSelf", plain), with_self().with("oldSelf", optional))
            }
        };
        Self { plain, optional }
    }
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Why an evaluation goes no further.
struct Ended;

impl Run {
    fn new(budget: u64) -> Self {
        Self { budget: Some(budget), findings: Findings::default() }
    }

    fn node(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        new: &Value,
        old: Option<&Value>,
        correlation: Correlation<'_>,
    ) {
        let old = old.filter(|old| !old.is_null());
        if self.budget.is_none() || new.is_null() {
            return;
        }
        if self.rules(node, path, new, old, correlation).is_err() {
            self.budget = None;
            return;
        }
        match new {
            Value::Object(fields) => {
                let old = old.and_then(Value::as_object).filter(|_| node.is_correlatable_map);
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(node) = &node.additional {
                        self.node(node, &path.key(name), value, old, correlation.key(name));
                    }
                    if let Some(node) = node.properties.get(name) {
                        self.node(node, &path.child(name), value, old, correlation.key(name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(of_items) = &node.items else { return };
                for (index, item) in items.iter().enumerate() {
                    let old = old.and_then(Value::as_array).zip(node.list_map_keys.as_ref());
                    let old = old.and_then(|(old, keys)| old.iter().find(|old| same_key(keys, item, old)));
                    self.node(of_items, &path.index(index), item, old, correlation.index(index));
                }
            }
            _ => {}
        }
    }

    fn rules(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        new: &Value,
        old: Option<&Value>,
        correlation: Correlation<'_>,
    ) -> Result<(), Ended> {
        if node.rules.is_empty() {
            return Ok(());
        }
        if self.budget == Some(0) {
            self.findings.errors.push(FieldError::invalid(path, node.ty.name(), OUT_OF_BUDGET));
            return Err(Ended);
        }
        let variables = Variables::of(&node.declared, new, old);
        for compiled in node.rules.iter().flatten() {
            let place = Place { node, path, new, correlation };
            self.rule(compiled, &place, &variables, old.is_some())?;
        }
        Ok(())
    }

    fn rule(
        &mut self,
        compiled: &Compiled,
        place: &Place<'_>,
        variables: &Variables<'_>,
        has_old: bool,
    ) -> Result<(), Ended> {
        let program = match &compiled.program {
            Ok(program) => program,
            Err(error) => {
                self.refuse(place, format!("rule compile error: {error}"));
                return Ok(());
            }
        };
        let is_optional = compiled.rule.optional_old_self == Some(true);
        if compiled.uses_old_self() && !has_old && !is_optional {
            return Ok(());
        }
        let activation = if is_optional { &variables.optional } else { &variables.plain };
        let evaluation = program.evaluate(activation, limits::PER_CALL);
        let Some(left) = self.budget.and_then(|budget| budget.checked_sub(evaluation.cost)) else {
            self.refuse(place, OUT_OF_BUDGET.to_owned());
            return Err(Ended);
        };
        self.budget = Some(left);
        let name = compiled.name();
        match evaluation.result {
            Ok(skiff_cel::Value::Bool(true)) => Ok(()),
            Ok(_) => self.failed(compiled, place, activation),
            Err(error) => {
                let error = error.to_string();
                if error.starts_with("no such overload") {
                    self.refuse(place, format!("'{error}': call arguments did not match a supported operator, function or macro signature for rule: {name}"));
                } else if error.starts_with("operation cancelled: actual cost limit exceeded") {
                    self.refuse(place, format!("'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {name}"));
                    return Err(Ended);
                } else {
                    self.refuse(place, format!("{error} evaluating rule: {name}"));
                }
                Ok(())
            }
        }
    }

    fn refuse(&mut self, place: &Place<'_>, detail: String) {
        self.findings.errors.push(FieldError::invalid(place.path, place.node.ty.name(), detail));
    }

    /// Tells of a rule that does not hold.
    fn failed(
        &mut self,
        compiled: &Compiled,
        place: &Place<'_>,
        activation: &Activation<'_>,
    ) -> Result<(), Ended> {
        let blamed = match &compiled.field_path {
            Some(below) => place.path.child(below).into(),
            None => String::from(place.path),
        };
        let message = match &compiled.message {
            Some(Ok(program)) => self.message(program, &compiled.rule.message_expression, activation),
            _ => Ok(None),
        };
        let detail = match message {
            Ok(Some(message)) => message,
            Ok(None) if compiled.rule.message.is_empty() => format!("failed rule: {}", compiled.name()),
            Ok(None) => compiled.name().to_owned(),
            Err(error) => {
                let error = FieldError::invalid(blamed, place.node.ty.name(), error);
                self.tell(error, compiled, place);
                return Err(Ended);
            }
        };
        let kind = match compiled.rule.reason.as_deref() {
            Some("FieldValueForbidden") => FieldErrorKind::Forbidden,
            Some("FieldValueRequired") => FieldErrorKind::Required,
            Some("FieldValueDuplicate") => FieldErrorKind::Duplicate,
            _ => FieldErrorKind::Invalid,
        };
        let detail = if kind == FieldErrorKind::Duplicate { String::new() } else { detail };
        let error = FieldError::new(kind, blamed, crate::numbers::shown(place.new), detail);
        let is_collection = matches!(place.node.ty, Type::Object | Type::Array);
        let error = if is_collection { error.without_value() } else { error };
        self.tell(error, compiled, place);
        Ok(())
    }

    /// Refuses, or warns of what was so before.
    fn tell(&mut self, error: FieldError, compiled: &Compiled, place: &Place<'_>) {
        if !compiled.uses_old_self() && place.correlation.is_unchanged() {
            self.findings.warnings.push(error.to_string());
        } else {
            self.findings.errors.push(error);
        }
    }

    /// The message that an expression makes; none if it makes none that can be used. An error ends the evaluation.
    fn message(
        &mut self,
        program: &Program,
        text: &str,
        activation: &Activation<'_>,
    ) -> Result<Option<String>, String> {
        let evaluation = program.evaluate(activation, limits::PER_CALL);
        let Some(left) = self.budget.and_then(|budget| budget.checked_sub(evaluation.cost)) else {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned());
        };
        self.budget = Some(left);
        match evaluation.result {
            Ok(skiff_cel::Value::String(message)) => {
                let message = message.to_string();
                let message = message.trim();
                let fits =
                    !message.is_empty() && message.len() <= limits::MESSAGE_SIZE && !has_line_breaks(message);
                Ok(fits.then(|| message.to_owned()))
            }
            Ok(_) => Ok(None),
            Err(skiff_cel::EvalError::CostExceeded) => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {text:?}"
            )),
            Err(_) => Ok(None),
        }
    }
}

/// A value whose rules are evaluated.
struct Place<'p> {
    node: &'p Node,
    path: &'p Path<'p>,
    new: &'p Value,
    correlation: Correlation<'p>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_end_with_the_budget() {
        let rule = |text: &str| json!({"rule": text});
        let schema = Structural::parse(&json!({"type": "object", "properties": {
            "a": {"type": "integer", "x-kubernetes-validations": [rule("self > 1"), rule("self > 2")]},
            "b": {"type": "integer", "x-kubernetes-validations": [rule("self > 3")]}}}))
        .unwrap();
        let rules = RuleSet::compile(&schema).unwrap();
        let check = |budget: u64, wanted: &[&str], left: Option<u64>| {
            let mut run = Run::new(budget);
            rules.run(&Path::Root(""), &json!({"a": 0, "b": 0}), None, Correlation::default(), &mut run);
            let found: Vec<String> = run.findings.errors.iter().map(ToString::to_string).collect();
            assert_eq!((found.iter().map(String::as_str).collect(), run.budget), (wanted.to_vec(), left));
        };
        let first = "a: Invalid value: 0: failed rule: self > 1";
        let second = "a: Invalid value: 0: failed rule: self > 2";
        let third = "b: Invalid value: 0: failed rule: self > 3";
        let ended = format!("Invalid value: \"integer\": {OUT_OF_BUDGET}");
        check(10, &[first, second, third], Some(4));
        check(6, &[first, second, third], Some(0));
        check(5, &[first, second, &format!("b: {ended}")], None);
        check(4, &[first, second, &format!("b: {ended}")], None);
        check(3, &[first, &format!("a: {ended}")], None);
        check(1, &[&format!("a: {ended}")], None);
    }
}
