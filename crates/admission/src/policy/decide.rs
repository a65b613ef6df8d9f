//! What a validating policy makes of one request with one parameter.

use serde_json::Value as Json;
use skiff_cel::{Value, limits};

use super::validating::ValidatingPolicy;
use crate::expressions::{Evaluator, Expression, FailurePolicy, Inputs, Match, OutOfBudget, with_inputs};

/// A `validation` of a policy.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: Expression,
    /// Empty for none.
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    /// For programs; empty for the usual one.
    pub(super) reason: String,
}

/// An `auditAnnotation` of a policy.
#[derive(Debug)]
pub(super) struct Annotation {
    pub(super) key: String,
    pub(super) value: Expression,
}

/// What a validation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Admit,
    Deny {
        message: String,
        /// Empty for the usual one.
        reason: String,
    },
}

/// What an audit annotation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted<'p> {
    Value {
        key: &'p str,
        value: String,
    },
    /// It failed, and the failure policy is to fail.
    Failed(String),
}

/// All that a policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict<'p> {
    /// One for each validation, in order; or one because the policy as a whole failed.
    pub(super) decisions: Vec<Decision>,
    pub(super) annotations: Vec<Noted<'p>>,
}

/// The outcome of one validation before its message is known.
type Checked = Result<bool, String>;

impl ValidatingPolicy {
    /// Asks the policy. Expressions of validations and match conditions may use the authorizer, others may not.
    pub(super) fn decide(&self, inputs: &Inputs<'_>) -> Verdict<'_> {
        // Conditions do not see the namespace.
        let bare = Inputs { namespace: None, ..*inputs };
        match self.common.conditions.check(&bare, &self.common.variables) {
            Match::Yes => {}
            Match::No => return Verdict::default(),
            Match::Failed(why) => return self.failed(why),
        }
        let checked = self.with(inputs, limits::RUNTIME_BUDGET, |evaluator| {
            let checked = self.check(evaluator)?;
            Ok::<_, OutOfBudget>((checked, evaluator.budget))
        });
        let Ok((checked, budget)) = checked else { return self.failed(OutOfBudget::TEXT.to_owned()) };
        let plain = Inputs { authorizer: None, ..*inputs };
        let messages = self.with(&plain, budget, |evaluator| self.messages(evaluator));
        let annotations = self.with(&plain, limits::RUNTIME_BUDGET, |evaluator| self.annotate(evaluator));
        let Ok(annotations) = annotations else { return self.failed(OutOfBudget::TEXT.to_owned()) };
        Verdict { decisions: self.decisions(checked, messages), annotations }
    }

    fn with<T>(&self, inputs: &Inputs<'_>, budget: u64, evaluate: impl FnOnce(&mut Evaluator<'_>) -> T) -> T {
        with_inputs(inputs, &self.common.variables, budget, evaluate)
    }

    /// A decision for what failed.
    fn on_failure(&self, message: String) -> Decision {
        match self.common.failure_policy {
            FailurePolicy::Fail => Decision::Deny { message, reason: String::new() },
            FailurePolicy::Ignore => Decision::Admit,
        }
    }

    fn failed(&self, why: String) -> Verdict<'_> {
        Verdict { decisions: vec![self.on_failure(why)], annotations: Vec::new() }
    }

    fn check(&self, evaluator: &mut Evaluator<'_>) -> Result<Vec<Checked>, OutOfBudget> {
        let mut checked = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            let value = evaluator.evaluate(&validation.expression)?;
            checked.push(value.map(|value| matches!(value, Value::Bool(true))));
        }
        Ok(checked)
    }

    /// What message expressions give, where they give something that can be used.
    fn messages(&self, evaluator: &mut Evaluator<'_>) -> Result<Vec<Option<String>>, OutOfBudget> {
        let mut messages = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            let value = match &validation.message_expression {
                Some(expression) => evaluator.evaluate(expression)?.ok(),
                None => None,
            };
            messages.push(value.and_then(|value| match value {
                Value::String(text) => usable(&text),
                _ => None,
            }));
        }
        Ok(messages)
    }

    /// When messages cost too much, every validation counts as failed.
    fn decisions(
        &self,
        checked: Vec<Checked>,
        messages: Result<Vec<Option<String>>, OutOfBudget>,
    ) -> Vec<Decision> {
        let no_budget = messages.is_err();
        let mut messages = messages.unwrap_or_default().into_iter();
        let decide = |(validation, checked): (&Validation, Checked)| {
            let message = messages.next().flatten();
            match checked {
                Err(why) => self.on_failure(why),
                Ok(_) if no_budget => {
                    self.on_failure(format!("failed messageExpression: {}", OutOfBudget::TEXT))
                }
                Ok(true) => Decision::Admit,
                Ok(false) => Decision::Deny {
                    message: message.unwrap_or_else(|| validation.fixed_message()),
                    reason: validation.reason.clone(),
                },
            }
        };
        self.validations.iter().zip(checked).map(decide).collect()
    }

    fn annotate(&self, evaluator: &mut Evaluator<'_>) -> Result<Vec<Noted<'_>>, OutOfBudget> {
        let mut noted = Vec::new();
        for annotation in &self.annotations {
            match evaluator.evaluate(&annotation.value)? {
                Ok(Value::String(text)) if !text.trim().is_empty() => {
                    let value = text.trim().to_owned();
                    noted.push(Noted::Value { key: &annotation.key, value });
                }
                Ok(_) => {}
                Err(why) if self.common.failure_policy == FailurePolicy::Fail => {
                    noted.push(Noted::Failed(why));
                }
                Err(_) => {}
            }
        }
        Ok(noted)
    }
}

impl Validation {
    /// The message that needs no evaluation.
    fn fixed_message(&self) -> String {
        match self.message.trim() {
            "" => format!("failed expression: {}", self.expression.text.trim()),
            message => message.to_owned(),
        }
    }
}

/// A message of one line that is not absurdly long.
fn usable(text: &str) -> Option<String> {
    let text = text.trim();
    let usable = !text.is_empty() && text.len() <= limits::MESSAGE_SIZE && !text.contains('\n');
    usable.then(|| text.to_owned())
}

/// The HTTP status code of a reason.
pub(super) fn code_of(reason: &str) -> i32 {
    match reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    }
}

/// An annotation of the audit event that tells of a failed validation.
pub(super) fn failure_note(
    policy: &str,
    binding: &str,
    actions: &[&str],
    index: usize,
    message: &str,
) -> String {
    /// In the order in which the fields are written.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Failure<'a> {
        message: &'a str,
        policy: &'a str,
        binding: &'a str,
        expression_index: usize,
        validation_actions: &'a [&'a str],
    }
    let failure = Failure { message, policy, binding, expression_index: index, validation_actions: actions };
    serde_json::to_string(&[failure]).unwrap_or_else(|_| Json::Null.to_string())
}
