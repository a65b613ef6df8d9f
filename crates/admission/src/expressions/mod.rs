//! Expressions of webhooks and policies: what they may use, how they are compiled and evaluated.

mod compile;
mod conditions;
mod evaluate;
mod types;
mod variables;

pub(crate) use compile::{Environments, Expression, Issue, Known, Returns, Scope};
pub(crate) use conditions::{Conditions, FailurePolicy, Match};
pub(crate) use evaluate::{Evaluator, Inputs, OutOfBudget, request_json, with_inputs};
pub(crate) use variables::Variable;
