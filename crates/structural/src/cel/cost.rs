//! What rules may cost, by estimate.

use crate::model::{Additional, Structural, Type};

/// The most that one expression may cost for one object.
pub(crate) const PER_EXPRESSION: u64 = 10_000_000;
/// The most that all expressions of a schema may cost for one object.
pub(crate) const PER_SCHEMA: u64 = 100_000_000;
/// Expressions that are named when a schema costs too much.
const NAMED: usize = 4;

/// How many values of a schema an object can have; none: schemas above set no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cardinality(Option<u64>);

impl Cardinality {
    /// A whole object.
    pub(crate) const ONE: Self = Self(Some(1));

    /// That of what is right below a schema.
    pub(crate) fn below(self, schema: &Structural) -> Self {
        let checks = schema.checks();
        let bound = |most: Option<i64>| most.map(|most| u64::try_from(most).unwrap_or(0));
        let factor = match schema.ty {
            Type::Object if schema.additional != Additional::Unstated => bound(checks.max_properties),
            Type::Array => bound(checks.max_items),
            _ => Some(1),
        };
        Self(self.0.zip(factor).map(|(count, factor)| count.saturating_mul(factor)))
    }

    /// What an expression costs for all values together; `most` is how many there can be in one request.
    pub(crate) fn cost(self, of_one: u64, most: u64) -> u64 {
        of_one.saturating_mul(self.0.unwrap_or(most))
    }
}

/// The costs of all expressions of a schema.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    total: u64,
    /// The most expensive ones, first the most.
    named: Vec<(u64, String)>,
}

impl Costs {
    /// Adds an expression's; `path` says where it is.
    pub(crate) fn add(&mut self, cost: u64, path: impl FnOnce() -> String) {
        self.total = self.total.saturating_add(cost);
        if cost >= PER_SCHEMA / 100 {
            self.named.push((cost, path()));
            skiff_ordered::sort_by_key(&mut self.named, |(cost, _)| std::cmp::Reverse(*cost));
            self.named.truncate(NAMED);
        }
    }

    /// The total, if it is too much, and the places that contribute most.
    pub(crate) fn excess(&self) -> Option<(u64, impl Iterator<Item = &str>)> {
        (self.total > PER_SCHEMA).then(|| (self.total, self.named.iter().map(|(_, path)| path.as_str())))
    }
}

/// What is said of a cost beyond its limit.
#[expect(clippy::cast_precision_loss, reason = "a factor is shown to few digits")]
pub(crate) fn factor(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
