//! What evaluating costs: estimated from types, and counted while it happens. The numbers decide which expressions a
//! cluster accepts, so they are exactly those of cel-go and Kubernetes.

pub(crate) mod estimate;
mod flat;
mod functions;
pub(crate) mod runtime;

/// A range of costs, in units of about 50 ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostEstimate {
    /// What it costs at least.
    pub min: u64,
    /// What it costs at most; `u64::MAX` when that is not bounded.
    pub max: u64,
}

/// A range of sizes: what `size()` can be.
pub(crate) type Size = CostEstimate;

pub(crate) const IDENT: u64 = 1;
pub(crate) const NEW_LIST: u64 = 10;
pub(crate) const NEW_MAP: u64 = 30;
pub(crate) const NEW_STRUCT: u64 = 40;
/// For each code point that is looked at.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// For each character of a pattern.
pub(crate) const PATTERN: f64 = 0.25;
/// An authorization check: an expression can afford two.
pub(crate) const CHECK: u64 = 350_000;

impl CostEstimate {
    pub(crate) const ZERO: Self = Self::exactly(0);
    pub(crate) const ONE: Self = Self::exactly(1);
    pub(crate) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    pub(crate) const fn exactly(cost: u64) -> Self {
        Self { min: cost, max: cost }
    }

    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    #[must_use]
    pub(crate) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Multiplied and rounded up.
    #[must_use]
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    /// Both ranges and what is between them.
    #[must_use]
    pub(crate) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// `size × factor`, rounded up.
pub(crate) fn scale(size: u64, factor: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
    let product = (size as f64 * factor).ceil();
    to_u64(product)
}

/// What is too large becomes the largest.
pub(crate) fn to_u64(number: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let number = number as u64;
    number
}
