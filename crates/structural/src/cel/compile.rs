//! From the text of rules to programs.

use skiff_cel::{CompileError, DeclaredType, Environment, Program, Type};

use crate::fieldpath::{self, Notation};
use crate::model::{Rule, Structural};

/// A rule as it is evaluated.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rule: Rule,
    /// The rule's program, or what is wrong with it.
    pub(crate) program: Result<Program, String>,
    /// The program of `messageExpression`, if there is one, or what is wrong with it.
    pub(crate) message: Option<Result<Program, String>>,
    /// The blamed field below the schema's value.
    pub(crate) field_path: Option<String>,
}

impl Compiled {
    /// Compiles the rules of one schema, without those below it. Empty ones are none.
    pub(crate) fn all(schema: &Structural, declared: &DeclaredType) -> Vec<Option<Self>> {
        if schema.rules.is_empty() {
            return Vec::new();
        }
        let environment = |old: DeclaredType| {
            Environment::builder().variable("self", declared.clone()).variable("oldSelf", old).build()
        };
        let plain = environment(declared.clone());
        let optional = environment(declared.clone().maybe());
        let compile = |rule: &Rule| {
            let environment = if rule.optional_old_self == Some(true) { &optional } else { &plain };
            (!rule.rule.trim().is_empty()).then(|| Self::one(rule, schema, environment))
        };
        schema.rules.iter().map(compile).collect()
    }

    fn one(rule: &Rule, schema: &Structural, environment: &Environment) -> Self {
        let program = program(environment, &rule.rule, "").and_then(|program| {
            let is_condition = *program.output_type() == Type::Bool;
            if is_condition { Ok(program) } else { Err("cel expression must evaluate to a bool".to_owned()) }
        });
        let message =
            Some(rule.message_expression.as_str()).filter(|text| !text.is_empty() && program.is_ok());
        let message = message.map(|text| program_of_message(environment, text));
        let path = Some(rule.field_path.as_str()).filter(|path| !path.is_empty());
        let path = path.and_then(|path| fieldpath::resolve(path, schema, Notation::Brackets).ok());
        Self {
            rule: rule.clone(),
            program,
            message,
            field_path: path.map(|(steps, _)| fieldpath::display(&steps)),
        }
    }

    /// Whether the rule compares with what was before.
    pub(crate) fn uses_old_self(&self) -> bool {
        self.program.as_ref().is_ok_and(|program| program.uses("oldSelf"))
    }

    /// The rule as messages about it call it.
    pub(crate) fn name(&self) -> &str {
        let message = self.rule.message.as_str();
        if message.is_empty() { self.rule.rule.trim() } else { message.trim() }
    }
}

fn program_of_message(environment: &Environment, text: &str) -> Result<Program, String> {
    let program = program(environment, text, "messageExpression ")?;
    match program.output_type() {
        Type::String => Ok(program),
        _ => Err("messageExpression must evaluate to a string".to_owned()),
    }
}

fn program(environment: &Environment, text: &str, what: &str) -> Result<Program, String> {
    environment.compile(text).map_err(|error| match error {
        CompileError::Invalid(errors) => format!("{what}compilation failed: {errors}"),
        CompileError::Constant(error) if what.is_empty() => format!("program instantiation failed: {error}"),
        CompileError::Constant(error) => format!("{what}instantiation failed: {error}"),
    })
}
