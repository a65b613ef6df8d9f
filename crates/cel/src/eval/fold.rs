//! Loops.

use crate::cost::{IDENT, NEW_LIST};
use crate::error::EvalError;
use crate::library::Outcome;
use crate::value::{List, Map, Value};

use super::tree::{Fold, Node};
use super::{Evaluator, Local};

impl<'a> Evaluator<'a> {
    pub(super) fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        // Places of outer loops come before; their number is known from the plan.
        self.locals.resize_with(fold.base, || Local::Taken);
        self.locals.push(Local::Pending(&fold.init));
        self.locals.resize_with(fold.base + if fold.two { 3 } else { 2 }, || Local::Taken);
        let done = match range {
            Value::List(list) => self.fold_list(fold, &list),
            Value::Map(map) => self.fold_map(fold, &map),
            other => {
                let of = other.go_type();
                Err(EvalError::new(if fold.two {
                    format!("unsupported comprehension range type: {of}")
                } else {
                    format!("got '{of}', expected iterable type")
                }))
            }
        };
        let result = done.and_then(|()| {
            self.locals.truncate(fold.base + 1);
            self.eval(&fold.result)
        });
        self.locals.truncate(fold.base);
        result
    }

    fn fold_list(&mut self, fold: &'a Fold, list: &List<'a>) -> Result<(), EvalError> {
        for (index, value) in list.iter().enumerate() {
            let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
            let more = if fold.two {
                self.turn(fold, Ok(index), Some(value))?
            } else {
                self.turn(fold, value, None)?
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn fold_map(&mut self, fold: &'a Fold, map: &Map<'a>) -> Result<(), EvalError> {
        for key in map.keys() {
            let value = if fold.two { map.get(&key) } else { None };
            if !self.turn(fold, Ok(key), value)? {
                break;
            }
        }
        Ok(())
    }

    /// One turn; whether there may be another.
    fn turn(
        &mut self,
        fold: &'a Fold,
        first: Outcome<'a>,
        second: Option<Outcome<'a>>,
    ) -> Result<bool, EvalError> {
        self.meter.work(1)?;
        self.locals.truncate(fold.base + 1);
        self.locals.push(Local::Known(first));
        self.locals.extend(second.map(Local::Known));
        match self.eval(&fold.condition) {
            Ok(Value::Bool(false)) => return Ok(false),
            Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
            _ => {}
        }
        let gathered = self.eval(&fold.step);
        if matches!(gathered, Err(EvalError::CostExceeded)) {
            return Err(EvalError::CostExceeded);
        }
        if let Some(local) = self.locals.get_mut(fold.base) {
            *local = Local::Known(gathered);
        }
        Ok(true)
    }

    /// Takes what a loop has gathered out of its place.
    fn take(&mut self, place: usize) -> Outcome<'a> {
        self.charge_ident()?;
        let local = match self.locals.get_mut(place) {
            Some(local) => std::mem::replace(local, Local::Taken),
            None => return Err(EvalError::no_such_overload()),
        };
        match local {
            Local::Known(value) => value,
            Local::Pending(node) => self.pending(place, node),
            Local::Taken => Err(EvalError::no_such_overload()),
        }
    }

    /// Takes what was gathered, unless the element cannot be computed without it.
    pub(super) fn append(&mut self, place: usize, element: &'a Node, constant: bool) -> Outcome<'a> {
        // The element may use what was gathered only in loops of its own, which have places of their own.
        let gathered = self.take(place);
        if matches!(gathered, Err(EvalError::CostExceeded)) {
            return gathered;
        }
        let element = self.eval(element);
        if !constant {
            self.meter.charge(NEW_LIST)?;
        }
        self.meter.charge(IDENT)?;
        match gathered? {
            Value::List(list) => Ok(Value::List(list.push(element?))),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    pub(super) fn insert(&mut self, place: usize, key: &'a Node, value: &'a Node) -> Outcome<'a> {
        let gathered = self.take(place)?;
        let key = self.eval(key)?;
        let value = self.eval(value)?;
        self.meter.charge(1)?;
        match gathered {
            Value::Map(map) => Ok(Value::Map(map.insert(&key, value)?)),
            _ => Err(EvalError::no_such_overload()),
        }
    }
}
