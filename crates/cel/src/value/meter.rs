//! What an evaluation has cost so far, and what it may.

use crate::error::EvalError;

/// Counts the cost of an evaluation, which Kubernetes defines, and its work, which only bounds what cost does not
/// count: comparing values that share parts, or making long strings out of short ones.
#[derive(Debug)]
pub(crate) struct Meter {
    cost: u64,
    limit: u64,
    work: u64,
}

/// Steps of work that any evaluation may take: some tenths of a second.
const WORK: u64 = 5_000_000;
/// Bytes or elements that one function may make.
const LARGEST_RESULT: usize = 32 * 1024 * 1024;

impl Meter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { cost: 0, limit, work: 0 }
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    /// Adds to the cost.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::CostExceeded) } else { Ok(()) }
    }

    /// Takes steps of work.
    pub(crate) fn work(&mut self, steps: usize) -> Result<(), EvalError> {
        self.work = self.work.saturating_add(steps as u64);
        if self.work > WORK { Err(EvalError::CostExceeded) } else { Ok(()) }
    }

    /// Refuses to make something of this many bytes or elements when that is absurd.
    pub(crate) fn allow(&mut self, size: usize) -> Result<(), EvalError> {
        if size > LARGEST_RESULT {
            return Err(EvalError::CostExceeded);
        }
        self.work(size / 16)
    }
}
