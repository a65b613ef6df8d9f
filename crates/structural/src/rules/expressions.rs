//! `x-kubernetes-validations` in definitions: expressions compile, and cost what they may.

use serde_json::{Value, json};
use skiff_machinery::{FieldError, FieldErrors};

use crate::cel::{Cardinality, Compiled, Costs, Declarations, PER_EXPRESSION, PER_SCHEMA, factor};
use crate::model::{Rule, Structural};
use crate::path::Path;

/// The checks of all expressions of a schema.
pub(super) struct Expressions<'s> {
    declarations: Declarations<'s>,
    costs: Costs,
    errors: FieldErrors,
    /// Whether single expressions may cost more than new ones may.
    is_unchanged: bool,
    root: Option<String>,
}

impl<'s> Expressions<'s> {
    pub(super) fn new(is_unchanged: bool) -> Self {
        Self {
            declarations: Declarations::default(),
            costs: Costs::default(),
            errors: FieldErrors::new(),
            is_unchanged,
            root: None,
        }
    }

    /// Checks the expressions of one schema, without those below it.
    pub(super) fn check(
        &mut self,
        schema: &'s Structural,
        path: &Path<'_>,
        is_root: bool,
        cardinality: Cardinality,
        uncorrelated: Option<&Path<'_>>,
    ) {
        if is_root {
            self.root = Some(path.to_string());
        }
        if schema.rules.is_empty() {
            return;
        }
        let rules = path.child("x-kubernetes-validations");
        let Some(declared) = self.declarations.of(schema, is_root) else {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
            self.errors.push(FieldError::new(
                skiff_machinery::FieldErrorKind::Internal,
                rules,
                Value::Null,
                detail,
            ));
            return;
        };
        let compiled = Compiled::all(schema, &declared);
        for (index, (rule, compiled)) in schema.rules.iter().zip(&compiled).enumerate() {
            if let Some(compiled) = compiled {
                let cost = |of_one| cardinality.cost(of_one, declared.max_cardinality());
                self.rule(rule, compiled, &rules.index(index), cost, uncorrelated);
            }
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        compiled: &Compiled,
        path: &Path<'_>,
        cost: impl Fn(u64) -> u64,
        uncorrelated: Option<&Path<'_>>,
    ) {
        let of_rule = path.child("rule");
        match &compiled.program {
            Ok(program) => self.cost("estimated rule cost", cost(program.estimate().max), &of_rule),
            Err(error) => self.errors.push(wrong(&of_rule, rule, error)),
        }
        let of_message = path.child("messageExpression");
        match &compiled.message {
            None => {}
            Some(Ok(program)) => {
                self.cost("estimated messageExpression cost", program.estimate().max, &of_message);
            }
            Some(Err(error)) => self.errors.push(wrong(&of_message, rule, error)),
        }
        if compiled.uses_old_self() {
            if let Some(list) = uncorrelated {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                );
                self.errors.push(FieldError::invalid(of_rule, rule.rule.as_str(), detail));
            }
        } else if let Some(optional) = rule.optional_old_self {
            let detail = "may not be set if oldSelf is not used in rule";
            self.errors.push(FieldError::invalid(path.child("optionalOldSelf"), optional, detail));
        }
    }

    fn cost(&mut self, what: &str, cost: u64, path: &Path<'_>) {
        if cost > PER_EXPRESSION && !self.is_unchanged {
            self.errors.push(FieldError::forbidden(path, factor(what, cost, PER_EXPRESSION)));
        }
        self.costs.add(cost, || path.to_string());
    }

    /// All findings, with what is said of the costs of all expressions together.
    pub(super) fn into_errors(mut self) -> FieldErrors {
        if let Some((total, named)) = self.costs.excess() {
            let detail =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.errors.extend(named.map(|path| FieldError::forbidden(path, detail)));
            let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            let root = self.root.unwrap_or_default();
            self.errors.push(FieldError::forbidden(root, factor(what, total, PER_SCHEMA)));
        }
        self.errors
    }
}

/// An expression that cannot be compiled; the rule is shown with the fields of the server's own type.
fn wrong(path: &Path<'_>, rule: &Rule, detail: &str) -> FieldError {
    let fields = [
        ("Rule", Value::from(rule.rule.as_str())),
        ("Message", rule.message.as_str().into()),
        ("MessageExpression", rule.message_expression.as_str().into()),
        ("Reason", json!(rule.reason)),
        ("FieldPath", rule.field_path.as_str().into()),
        ("OptionalOldSelf", json!(rule.optional_old_self)),
    ];
    let shown: Vec<String> =
        fields.iter().map(|(name, value)| format!("\"{name}\":{}", escaped(value))).collect();
    FieldError::invalid(path, Value::Null, detail).showing(format!("{{{}}}", shown.join(",")))
}

/// JSON as Go writes it, with what browsers could take for markup escaped.
fn escaped(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
