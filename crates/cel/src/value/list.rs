//! Lists: parts of objects, made ones, and sums.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::declared::{DeclaredType, ListKind, Shape};
use crate::error::EvalError;

use super::{Key, Meter, Value, equal};

/// A list.
#[derive(Clone, Debug)]
pub struct List<'a>(Items<'a>);

#[derive(Clone, Debug)]
enum Items<'a> {
    /// Of an object; without a declared type, as JSON has it.
    Json { items: &'a [Json], declared: Option<&'a DeclaredType> },
    /// Made; `kind` is that of the first list of a sum.
    Made { values: Arc<Vec<Value<'a>>>, kind: Option<&'a ListKind> },
    /// A sum, which is not copied: its length says nothing of its cost.
    Sum(Arc<Sum<'a>>),
}

#[derive(Debug)]
struct Sum<'a> {
    first: List<'a>,
    second: List<'a>,
    len: usize,
}

impl<'a> List<'a> {
    /// A list of these values.
    pub fn of(values: Vec<Value<'a>>) -> Self {
        Self(Items::Made { values: Arc::new(values), kind: None })
    }

    pub(crate) fn read(items: &'a [Json], declared: Option<&'a DeclaredType>) -> Self {
        Self(Items::Json { items, declared })
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Items::Json { items, .. } => items.len(),
            Items::Made { values, .. } => values.len(),
            Items::Sum(sum) => sum.len,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at an index; `None` when there is none.
    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        let (mut list, mut index) = (self, index);
        loop {
            match &list.0 {
                Items::Json { items, declared } => {
                    let item = items.get(index)?;
                    return Some(Value::read_part(item, declared.and_then(items_of)));
                }
                Items::Made { values, .. } => return values.get(index).cloned().map(Ok),
                Items::Sum(sum) if index < sum.first.len() => list = &sum.first,
                Items::Sum(sum) => {
                    index -= sum.first.len();
                    list = &sum.second;
                }
            }
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> {
        Elements { current: self, next: 0, rest: Vec::new() }
    }

    /// What makes elements the same, for lists of objects.
    pub(crate) fn kind(&self) -> Option<&'a ListKind> {
        match &self.0 {
            Items::Json { declared: Some(DeclaredType { shape: Shape::List { kind, .. }, .. }), .. } => {
                Some(kind)
            }
            Items::Made { kind, .. } => *kind,
            _ => None,
        }
    }

    /// Adds a value at the end, in place when nobody else holds the list.
    pub(crate) fn push(self, value: Value<'a>) -> Self {
        match self.0 {
            Items::Made { mut values, kind } => {
                Arc::make_mut(&mut values).push(value);
                Self(Items::Made { values, kind })
            }
            items => Self(items).plus(Self::of(vec![value])),
        }
    }

    fn plus(self, other: Self) -> Self {
        let len = self.len().saturating_add(other.len());
        if self.is_empty() && self.kind().is_none() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        Self(Items::Sum(Arc::new(Sum { first: self, second: other, len })))
    }

    /// The sum; for sets and for lists with keys it is the union.
    pub(crate) fn concat(self, meter: &mut Meter, other: Self) -> Result<Self, EvalError> {
        match self.kind() {
            None | Some(ListKind::Atomic) => Ok(self.plus(other)),
            Some(kind) => self.union(meter, other, kind),
        }
    }

    fn union(self, meter: &mut Meter, other: Self, kind: &'a ListKind) -> Result<Self, EvalError> {
        meter.work(self.len().saturating_add(other.len()))?;
        let mut values: Vec<Value<'a>> = self.iter().collect::<Result<_, _>>()?;
        let mut places = std::collections::BTreeMap::new();
        for (place, value) in values.iter().enumerate() {
            places.insert(identity(value, kind)?, place);
        }
        for value in other.iter() {
            let value = value?;
            match (places.get(&identity(&value, kind)?), kind) {
                (None, _) => {
                    places.insert(identity(&value, kind)?, values.len());
                    values.push(value);
                }
                (Some(place), ListKind::Map(_)) => values[*place] = value,
                (Some(_), _) => {}
            }
        }
        Ok(Self(Items::Made { values: Arc::new(values), kind: Some(kind) }))
    }

    /// Whether the lists have equal elements, in the same order unless their kind has none.
    pub(crate) fn equal(&self, meter: &mut Meter, other: &Self) -> Result<bool, EvalError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        match self.kind() {
            None | Some(ListKind::Atomic) => {
                for (one, another) in self.iter().zip(other.iter()) {
                    if !equal(meter, &one?, &another?)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Some(kind) => self.equal_unordered(meter, other, kind),
        }
    }

    fn equal_unordered(&self, meter: &mut Meter, other: &Self, kind: &ListKind) -> Result<bool, EvalError> {
        meter.work(self.len())?;
        let mut known = std::collections::BTreeMap::new();
        for value in self.iter() {
            let value = value?;
            known.insert(identity(&value, kind)?, value);
        }
        for value in other.iter() {
            let value = value?;
            let Some(mine) = known.get(&identity(&value, kind)?) else { return Ok(false) };
            if matches!(kind, ListKind::Map(_)) && !equal(meter, mine, &value)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an element equals `value`.
    pub(crate) fn contains(&self, meter: &mut Meter, value: &Value<'a>) -> Result<bool, EvalError> {
        let mut failed = None;
        for element in self.iter() {
            match equal(meter, &element?, value) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(false), Err)
    }
}

/// Goes through a list; through a sum part by part, without looking for each element from its start.
struct Elements<'l, 'a> {
    current: &'l List<'a>,
    next: usize,
    rest: Vec<&'l List<'a>>,
}

impl<'a> Iterator for Elements<'_, 'a> {
    type Item = Result<Value<'a>, EvalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Items::Sum(sum) = &self.current.0 {
                self.rest.push(&sum.second);
                self.current = &sum.first;
                continue;
            }
            if let Some(element) = self.current.get(self.next) {
                self.next += 1;
                return Some(element);
            }
            self.current = self.rest.pop()?;
            self.next = 0;
        }
    }
}

fn items_of(declared: &DeclaredType) -> Option<&DeclaredType> {
    match &declared.shape {
        Shape::List { items, .. } => Some(items),
        _ => None,
    }
}

/// What an element is recognised by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Scalar(Key),
    Fields(Vec<Option<Key>>),
}

fn identity(value: &Value<'_>, kind: &ListKind) -> Result<Identity, EvalError> {
    match (kind, value) {
        (ListKind::Map(keys), Value::Map(map)) => {
            let field = |key: &String| Ok(map.raw(key).transpose()?.as_ref().and_then(Key::of));
            Ok(Identity::Fields(keys.iter().map(field).collect::<Result<_, EvalError>>()?))
        }
        (_, scalar) => Key::of(scalar).map(Identity::Scalar).ok_or_else(EvalError::no_such_overload),
    }
}
