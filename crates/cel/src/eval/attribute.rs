//! Variables, and what is selected from values.

use crate::error::EvalError;
use crate::library::Outcome;
use crate::value::Value;

use super::plan::is_qualifier;
use super::tree::{Attribute, Branch, Node, Qualifier, QualifierKey, Root};
use super::{Evaluator, Local};

impl<'a> Evaluator<'a> {
    /// The value of an attribute.
    pub(super) fn attribute(&mut self, attribute: &'a Attribute) -> Outcome<'a> {
        let free = attribute.test || matches!(attribute.root, Root::Conditional { .. });
        let value = self.resolve(attribute);
        if !free {
            self.charge_ident()?;
        }
        value
    }

    /// The value without the cost of the whole.
    fn resolve(&mut self, attribute: &'a Attribute) -> Outcome<'a> {
        self.resolve_with(attribute, &[], attribute.test)
    }

    /// The same with more qualifiers behind those that the attribute has.
    fn resolve_with(&mut self, attribute: &'a Attribute, more: &[&'a Qualifier], test: bool) -> Outcome<'a> {
        let qualifiers = attribute.qualifiers.iter().chain(more.iter().copied());
        let value = match &attribute.root {
            Root::Conditional { condition, branches } => {
                let branch = match self.eval(condition)? {
                    Value::Bool(true) => &branches[0],
                    Value::Bool(false) => &branches[1],
                    _ => return Err(EvalError::no_such_overload()),
                };
                match branch {
                    Branch::Attribute(inner) => {
                        let qualifiers: Vec<&'a Qualifier> = qualifiers.collect();
                        return self.resolve_with(inner, &qualifiers, test);
                    }
                    Branch::Node(node) => self.eval(node)?,
                }
            }
            Root::Variable(name) => match self.activation.values.get(name) {
                Some(value) => value.clone()?,
                None => return Err(EvalError::new(format!("no such attribute(s): {name}"))),
            },
            Root::Local(place) => self.local(*place)?,
            Root::Value(node) => self.eval(node)?,
        };
        self.qualify_all(value, qualifiers, test)
    }

    fn local(&mut self, place: usize) -> Outcome<'a> {
        let node = match self.locals.get(place) {
            Some(Local::Known(value)) => return value.clone(),
            Some(Local::Pending(node)) => *node,
            _ => return Err(EvalError::no_such_overload()),
        };
        let value = self.pending(place, node);
        if let Some(local) = self.locals.get_mut(place) {
            *local = Local::Known(value.clone());
        }
        value
    }

    /// Computes what belongs at a place: there, only variables of lower places are known.
    pub(super) fn pending(&mut self, place: usize, node: &'a Node) -> Outcome<'a> {
        let above = self.locals.split_off(place);
        let value = self.eval(node);
        self.locals.truncate(place);
        self.locals.extend(above);
        value
    }

    /// Applies qualifiers one after the other. Once one is optional, the result is, and the others are asked for only
    /// when there is something.
    fn qualify_all(
        &mut self,
        value: Value<'a>,
        qualifiers: impl Iterator<Item = &'a Qualifier>,
        test: bool,
    ) -> Outcome<'a> {
        let mut qualifiers = qualifiers.peekable();
        if qualifiers.peek().is_none() {
            return Ok(value);
        }
        let absent = || Ok(if test { Value::Bool(false) } else { Value::Optional(None) });
        let (mut value, mut optional) = match value {
            Value::Optional(None) => return absent(),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            value => (value, false),
        };
        while let Some(qualifier) = qualifiers.next() {
            optional = optional || qualifier.optional;
            let testing = test && qualifiers.peek().is_none();
            let part = self.qualify(&value, qualifier, optional || testing);
            // What is looked for in vain where it may be absent costs nothing.
            if !optional || matches!(part, Ok(Some(_))) {
                self.charge_ident()?;
            }
            match part? {
                part if testing => return Ok(Value::Bool(part.is_some())),
                Some(part) => value = part,
                None => return absent(),
            }
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    /// A part of a value; `None` when there is none and there need not be.
    fn qualify(
        &mut self,
        value: &Value<'a>,
        qualifier: &'a Qualifier,
        absent: bool,
    ) -> Result<Option<Value<'a>>, EvalError> {
        match &qualifier.key {
            QualifierKey::Constant(key) => select(value, key, absent),
            QualifierKey::Attribute(attribute) => {
                let key = self.resolve(attribute)?;
                select(value, &key, absent)
            }
            QualifierKey::Computed(node) => {
                let key = self.eval(node)?;
                select(value, &key, absent)
            }
        }
    }
}

fn select<'a>(value: &Value<'a>, key: &Value<'_>, absent: bool) -> Result<Option<Value<'a>>, EvalError> {
    if !is_qualifier(key) {
        return Err(EvalError::new(format!("invalid qualifier type: {}", key.go_type())));
    }
    let missing = |what: &str| if absent { Ok(None) } else { Err(EvalError::new(format!("{what}: {key}"))) };
    let part = match value {
        Value::Map(map) => map.get(key).transpose()?,
        Value::List(list) => {
            let index = index(key)?;
            match usize::try_from(index).ok().and_then(|index| list.get(index)) {
                Some(element) => return element.map(Some),
                None => return missing("index out of bounds"),
            }
        }
        Value::Object(object) => {
            let Value::String(name) = key else { return missing("no such key") };
            match object.fields.get(&**name) {
                // Any object can have any field.
                None if !absent => Some(Value::Null),
                field => field.cloned(),
            }
        }
        _ => None,
    };
    match part {
        Some(part) => Ok(Some(part)),
        None => missing("no such key"),
    }
}

/// The integer that a number is.
fn index(key: &Value<'_>) -> Result<i64, EvalError> {
    let index = match key {
        Value::Int(index) => Some(*index),
        Value::Uint(index) => i64::try_from(*index).ok(),
        Value::Double(_) => match crate::value::Key::of(key) {
            Some(crate::value::Key::Int(index)) => Some(index),
            _ => return Err(EvalError::new(format!("unsupported index value {key} in list"))),
        },
        other => {
            let of = other.type_of();
            return Err(EvalError::new(format!("unsupported index type '{}' in list", of.runtime_name())));
        }
    };
    Ok(index.unwrap_or(i64::MAX))
}
