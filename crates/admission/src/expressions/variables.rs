//! Variables of policies: computed when they are first asked for, once for each set of expressions.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use skiff_cel::{Activation, EvalError, Fields, Value, limits};

use super::compile::Expression;

/// A variable of a policy.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) expression: Expression,
}

/// Variables with the values that are known already. What variables are computed from holds them, too.
pub(super) struct Values<'a> {
    variables: &'a [Variable],
    slots: Vec<Slot<'a>>,
    activation: OnceLock<Activation<'a>>,
    /// Of what was computed and not charged yet.
    cost: AtomicU64,
}

#[derive(Default)]
struct Slot<'a> {
    value: OnceLock<Result<Value<'a>, EvalError>>,
    /// Asked for already: of variables with one name, one could ask for itself.
    busy: AtomicBool,
}

impl<'a> Values<'a> {
    pub(super) fn new(variables: &'a [Variable]) -> Self {
        Self {
            slots: variables.iter().map(|_| Slot::default()).collect(),
            variables,
            activation: OnceLock::new(),
            cost: AtomicU64::new(0),
        }
    }

    /// What expressions are evaluated with; the first that is given stays.
    pub(super) fn bind(&self, activation: Activation<'a>) -> &Activation<'a> {
        self.activation.get_or_init(|| activation)
    }

    /// What computing variables has cost since this was asked last.
    pub(super) fn take_cost(&self) -> u64 {
        self.cost.swap(0, Ordering::Relaxed)
    }

    fn compute(&'a self, variable: &'a Variable) -> Result<Value<'a>, EvalError> {
        let name = &variable.name;
        let program = match &variable.expression.program {
            Ok(program) => program,
            Err(issue) => {
                return Err(failed(format!("composited variable {name:?} fails to compile: {issue}")));
            }
        };
        let Some(activation) = self.activation.get() else {
            return Err(failed(format!("unable to get evaluation details of variable {name:?}")));
        };
        let evaluation = program.evaluate(activation, limits::PER_CALL);
        self.cost.fetch_add(evaluation.cost, Ordering::Relaxed);
        evaluation
            .result
            .map_err(|error| failed(format!("composited variable {name:?} fails to evaluate: {error}")))
    }
}

fn failed(message: String) -> EvalError {
    EvalError::Failed(message.into())
}

/// `variables` in expressions.
pub(super) struct Handle<'a>(pub(super) &'a Values<'a>);

impl Fields for Handle<'_> {
    fn get(&self, name: &str) -> Option<Result<Value<'_>, EvalError>> {
        let values = self.0;
        // Of several with one name the last is meant.
        let index = values.variables.iter().rposition(|variable| variable.name == name)?;
        let (variable, slot) = (values.variables.get(index)?, values.slots.get(index)?);
        if slot.value.get().is_none() {
            if slot.busy.swap(true, Ordering::Relaxed) {
                return Some(Err(failed(format!("variable {name:?} is defined by itself"))));
            }
            let value = values.compute(variable);
            slot.value.get_or_init(|| value);
        }
        slot.value.get().cloned()
    }

    fn names(&self) -> Vec<&str> {
        self.0.variables.iter().map(|variable| variable.name.as_str()).collect()
    }
}
