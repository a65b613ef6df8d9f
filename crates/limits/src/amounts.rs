//! Amounts by resource: `{cpu: 500m, memory: 1Gi}`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde_json::{Map, Value};
use skiff_ordered::Ordered as _;
use skiff_quantity::{Needed, Quantity};

/// Amounts by resource, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, Quantity>);

impl Amounts {
    /// Reads a ResourceList; what is missing is empty, and what is no amount is left out.
    pub fn read(list: &Value) -> Self {
        let entries = list.as_object().into_iter().flatten();
        Self(entries.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).one_by_one())
    }

    /// The ResourceList, in canonical form.
    pub fn to_value(&self) -> Value {
        let entries = self.0.iter().map(|(name, amount)| (name.clone(), amount.to_string().into()));
        Value::Object(entries.one_by_one::<Map<String, Value>>())
    }

    /// The amount of a resource.
    pub fn get(&self, name: &str) -> Option<Quantity> {
        self.0.get(name).copied()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the same amounts are there, however they are written.
    pub fn equals(&self, other: &Self) -> bool {
        let nanos = |amounts: &Self| -> BTreeMap<String, i128> {
            amounts.iter().map(|(name, amount)| (name.to_owned(), amount.nanos())).one_by_one()
        };
        nanos(self) == nanos(other)
    }

    /// The resources, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Puts an amount in the place of the one that is there.
    pub fn set(&mut self, name: impl Into<String>, amount: impl Into<Quantity>) {
        self.0.insert(name.into(), amount.into());
    }

    fn merge(&mut self, other: &Self, merged: impl Fn(Quantity, Quantity) -> Quantity) {
        for (name, amount) in other.iter() {
            match self.0.entry(name.to_owned()) {
                Entry::Vacant(free) => drop(free.insert(amount)),
                Entry::Occupied(mut mine) => {
                    let sum = merged(*mine.get(), amount);
                    mine.insert(sum);
                }
            }
        }
    }

    /// What is more than in the other; zero where it is not.
    pub(crate) fn beyond(&self, other: &Self) -> Self {
        let rest = |name: &str, amount: Quantity| match other.get(name) {
            Some(before) => amount.minus(before),
            None => amount,
        };
        let not_negative = |rest: Quantity| if rest.nanos() > 0 { rest } else { Quantity::from(0) };
        Self(
            self.iter()
                .map(|(name, amount)| (name.to_owned(), not_negative(rest(name, amount))))
                .one_by_one(),
        )
    }

    /// Only what is kept.
    pub(crate) fn only(&self, mut keep: impl FnMut(&str, Quantity) -> bool) -> Self {
        let kept = self.iter().filter(|(name, amount)| keep(name, *amount));
        Self(kept.map(|(name, amount)| (name.to_owned(), amount)).one_by_one())
    }
}

impl Needed for Amounts {
    fn add(&mut self, other: &Self) {
        self.merge(other, Quantity::plus);
    }

    fn raise_to(&mut self, other: &Self) {
        self.merge(other, |mine, others| if others.nanos() > mine.nanos() { others } else { mine });
    }
}

/// `cpu=500m,memory=1Gi`
impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// An amount, as text or as a number.
pub(crate) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The items of a list; none if it is missing.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A string; empty if it is missing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
