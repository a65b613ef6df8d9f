//! Expressions over claims and over users.

use serde_json::Value as Json;
use skiff_cel::{
    Activation, CompileError, DeclaredType, Environment, Field, ListKind, Program, Type, Value, limits,
};
use skiff_machinery::{FieldError, FieldErrorKind};

/// An expression, compiled.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) text: String,
    program: Program,
    over: Over,
    declared: DeclaredType,
}

/// What an expression is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Claims,
    User,
}

impl Over {
    fn variable(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::User => "user",
        }
    }

    fn declared(self) -> DeclaredType {
        let string = || DeclaredType::string(None, []);
        let strings = || DeclaredType::list(string(), None, ListKind::Atomic);
        match self {
            Self::Claims => DeclaredType::map(DeclaredType::any(), None),
            Self::User => {
                let field = |name: &str, declared| (name.to_owned(), Field::optional(declared));
                let fields = [
                    field("username", string()),
                    field("uid", string()),
                    field("groups", strings()),
                    field("extra", DeclaredType::map(strings(), None)),
                ];
                DeclaredType::named_object("kubernetes.UserInfo", fields)
            }
        }
    }
}

impl Expression {
    /// Compiles what stands in a field; a rule must be true or false.
    pub(crate) fn compile(text: &str, over: Over, is_rule: bool, path: &str) -> Result<Self, FieldError> {
        let invalid = |detail: String| FieldError::invalid(path, text, detail);
        let declared = over.declared();
        let environment = Environment::builder().variable(over.variable(), declared.clone()).build();
        let program = environment.compile(text).map_err(|error| match error {
            CompileError::Invalid(issues) => invalid(format!("compilation failed: {issues}")),
            CompileError::Constant(error) => {
                let detail = format!("program instantiation failed: {error}");
                FieldError::new(FieldErrorKind::Internal, path, Json::Null, detail)
            }
        })?;
        if is_rule && *program.output_type() != Type::Bool {
            return Err(invalid("must evaluate to bool".to_owned()));
        }
        Ok(Self { text: text.to_owned(), program, over, declared })
    }

    /// Whether it looks at a claim.
    pub(crate) fn selects(&self, claim: &str) -> bool {
        self.program.selects(self.over.variable(), claim)
    }

    /// What it comes to, as JSON.
    pub(crate) fn evaluate(&self, input: &Json) -> Result<Json, String> {
        let value = Value::read(input, &self.declared);
        let activation = Activation::new().with(self.over.variable(), value);
        let result = self.program.evaluate(&activation, limits::PER_CALL).result;
        let json = result.and_then(|value| value.to_json());
        json.map_err(|error| format!("expression '{}' resulted in error: {error}", self.text))
    }
}
