//! Match conditions: expressions that must all be true for a webhook or policy to look at a request.

use serde_json::Value as Json;
use skiff_cel::{Value, limits};

use super::compile::{Environments, Expression, Returns, Scope};
use super::evaluate::{Inputs, OutOfBudget, with_inputs};
use super::variables::Variable;
use crate::surroundings::{items, text};

/// What becomes of a request when the webhook or policy itself fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FailurePolicy {
    /// It is refused.
    #[default]
    Fail,
    /// It goes on.
    Ignore,
}

impl FailurePolicy {
    /// Reads `failurePolicy`.
    pub(crate) fn of(object: &Json) -> Self {
        if text(object, "failurePolicy") == "Ignore" { Self::Ignore } else { Self::Fail }
    }
}

/// Whether the conditions are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Yes,
    No,
    /// That cannot be told, for this reason, and the failure policy is to fail.
    Failed(String),
}

/// `matchConditions`.
#[derive(Debug)]
pub(crate) struct Conditions {
    conditions: Vec<Expression>,
    policy: FailurePolicy,
}

impl Conditions {
    /// Reads those of a webhook or of a policy's `spec`.
    pub(crate) fn compile(of: &Json, policy: FailurePolicy, environments: &Environments) -> Self {
        let compile = |condition: &Json| {
            environments.compile(text(condition, "expression"), Scope::Authorizer, Returns::Bool)
        };
        Self { conditions: items(of, "matchConditions").iter().map(compile).collect(), policy }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// One that is false decides, whatever became of the others.
    pub(crate) fn check(&self, inputs: &Inputs<'_>, variables: &[Variable]) -> Match {
        let budget = limits::RUNTIME_BUDGET_MATCH_CONDITIONS;
        let outcomes: Result<Vec<Result<bool, String>>, OutOfBudget> =
            with_inputs(inputs, variables, budget, |evaluator| {
                let mut outcomes = Vec::with_capacity(self.conditions.len());
                for condition in &self.conditions {
                    let value = evaluator.evaluate(condition)?;
                    outcomes.push(value.map(|value| !matches!(value, Value::Bool(false))));
                }
                Ok(outcomes)
            });
        let Ok(outcomes) = outcomes else { return self.failed(OutOfBudget::TEXT.to_owned()) };
        if outcomes.contains(&Ok(false)) {
            return Match::No;
        }
        let errors: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Match::Yes } else { self.failed(aggregate(errors)) }
    }

    fn failed(&self, why: String) -> Match {
        match self.policy {
            FailurePolicy::Fail => Match::Failed(why),
            FailurePolicy::Ignore => Match::No,
        }
    }
}

/// Several errors are shown in brackets, each once.
fn aggregate(errors: Vec<String>) -> String {
    let mut once: Vec<String> = Vec::new();
    for error in errors {
        if !once.contains(&error) {
            once.push(error);
        }
    }
    match once.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
