//! What expressions may use, and compiling them.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::check::{self, Checked, Declarations};
use crate::cost::{CostEstimate, estimate};
use crate::declared::DeclaredType;
use crate::error::EvalError;
use crate::eval::{self, Activation, Evaluation, Plan};
use crate::issue::{CompileErrors, Source};
use crate::syntax;
use crate::types::Type;

/// The variables and types that expressions have. All of Kubernetes' libraries are there always.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    declarations: Declarations,
    declared: BTreeMap<String, DeclaredType>,
}

/// Makes an [`Environment`].
#[derive(Debug, Default)]
pub struct Builder(Environment);

impl Builder {
    /// A variable. Its name may have dots: `authorizer.requestResource`. Object types in its type are known by names that start with the variable's. Variables whose types
    /// are copies of each other have the same type.
    #[must_use]
    pub fn variable(mut self, name: &str, declared: DeclaredType) -> Self {
        let same = self.0.declared.iter().find(|(_, known)| known.is_same(&declared));
        let root = same.map_or(name, |(first, _)| first);
        let of = self.0.declarations.objects.register(&declared, &format!("{root}Type"));
        self.0.declarations.variables.insert(name.to_owned(), of);
        self.0.declared.insert(name.to_owned(), declared);
        self
    }

    /// Lets expressions make `Object{…}` and `JSONPatch{…}`, as mutating admission policies do.
    #[must_use]
    pub fn mutation(mut self) -> Self {
        self.0.declarations.mutation = true;
        self
    }

    /// The environment.
    pub fn build(self) -> Environment {
        self.0
    }
}

/// Why there is no program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompileError {
    /// The expression cannot be read, or does not fit its types ("compilation failed").
    #[error(transparent)]
    Invalid(#[from] CompileErrors),
    /// A constant in it has no value ("program instantiation failed").
    #[error("{0}")]
    Constant(EvalError),
}

impl Environment {
    /// An environment without variables, to be filled.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Adds a field to a named object type, for what is found out while others are compiled: the variables of an
    /// admission policy.
    pub fn declare_field(&mut self, object: &str, field: &str, of: Type) {
        self.declarations.objects.declare(object, field, of);
    }

    /// An environment that has what this one has, and more.
    pub fn extend(&self) -> Builder {
        Builder(self.clone())
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// When it cannot be read, does not fit the declared types, or has a constant without value.
    pub fn compile(&self, text: &str) -> Result<Program, CompileError> {
        let source = Source::new(text);
        let issues = |issues| CompileErrors::new(&source, issues);
        let parsed = syntax::parse(&source).map_err(issues)?;
        let checked = check::check(parsed, &self.declarations).map_err(issues)?;
        let plan = Plan::new(&checked).map_err(CompileError::Constant)?;
        let estimate = estimate::estimate(&checked, &self.declared);
        Ok(Program::new(&checked, plan, estimate))
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    output: Type,
    variables: BTreeSet<String>,
    selections: BTreeSet<(String, String)>,
    estimate: CostEstimate,
}

impl Program {
    fn new(checked: &Checked, plan: Plan, estimate: CostEstimate) -> Self {
        let output = checked.type_of(checked.expr.id).clone();
        let (variables, selections) = (eval::variables(checked), eval::selections(&checked.expr));
        Self { plan, output, variables, selections, estimate }
    }

    /// The type of the result.
    pub fn output_type(&self) -> &Type {
        &self.output
    }

    /// Whether the expression uses a variable of the environment.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }

    /// Whether the expression selects a field of what has this name.
    pub fn selects(&self, name: &str, field: &str) -> bool {
        self.selections.contains(&(name.to_owned(), field.to_owned()))
    }

    /// The variables of the environment that the expression uses.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(String::as_str)
    }

    /// What one evaluation can cost, given what the types of variables say of the sizes of values.
    pub fn estimate(&self) -> CostEstimate {
        self.estimate
    }

    /// Evaluates the expression. When it costs more than `limit`, it is stopped.
    pub fn evaluate<'a>(&'a self, activation: &'a Activation<'a>, limit: u64) -> Evaluation<'a> {
        self.plan.evaluate(activation, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Value, limits};

    #[test]
    fn fields_of_named_types_can_be_added() {
        let variables = DeclaredType::named_object("kubernetes.variables", []);
        let mut environment = Environment::builder().variable("variables", variables).build();
        let undefined = environment.compile("variables.namespace == 1").unwrap_err();
        assert!(undefined.to_string().contains("undefined field 'namespace'"), "{undefined}");
        environment.declare_field("kubernetes.variables", "namespace", Type::Int);
        assert_eq!(*environment.compile("variables.namespace").unwrap().output_type(), Type::Int);
    }

    #[test]
    fn programs_are_shared_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<Program>();
        check::<Environment>();
    }

    #[test]
    fn a_program_says_what_it_uses_and_what_it_costs() {
        let replicas = DeclaredType::integer();
        let environment = Environment::builder()
            .variable("self", replicas.clone())
            .variable("oldSelf", replicas.clone())
            .build();
        let program = environment.compile("self <= 5 && [1].all(oldSelf, oldSelf > 0)").unwrap();
        assert_eq!(*program.output_type(), Type::Bool);
        assert!(program.uses("self"));
        let claims = Environment::builder().variable("claims", DeclaredType::any()).build();
        for text in [
            "claims.email",
            "has(claims.email)",
            "claims.?email.orValue('')",
            "[1].exists(i, claims.email.size() == i)",
        ] {
            let program = claims.compile(text).unwrap();
            assert!(program.selects("claims", "email") && !program.selects("claims", "name"), "{text}");
        }
        assert!(!program.uses("oldSelf"), "a loop's variable has the same name");
        let json = serde_json::json!(3);
        let activation = Activation::new().with("self", Value::read(&json, &replicas));
        let evaluation = program.evaluate(&activation, limits::PER_CALL);
        assert!(matches!(evaluation.result, Ok(Value::Bool(true))), "{evaluation:?}");
        assert!(evaluation.cost <= program.estimate().max);
        let stopped = program.evaluate(&activation, 3);
        assert!(matches!(stopped.result, Err(EvalError::CostExceeded)), "{stopped:?}");
    }
}
