//! Compiling expressions, and what is said of those that cannot be.

use std::fmt;

use skiff_cel::{Builder, CompileError, DeclaredType, Environment, Kubernetes, Program, Type};
use skiff_machinery::{FieldError, FieldErrorKind};

use super::types;

/// The name of the type of `variables`.
const VARIABLES: &str = "kubernetes.variables";

/// What an expression may use besides objects and the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `authorizer`.
    Authorizer,
    /// Nothing: messages.
    Plain,
    /// `authorizer`, and the types that make patches.
    Patches,
}

/// What an expression must evaluate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returns {
    Bool,
    Text,
    TextOrNull,
    /// `Object{…}`
    Configuration,
    /// `[JSONPatch{…}]`
    Patches,
    Anything,
}

impl Returns {
    fn types(self) -> Vec<Type> {
        match self {
            Self::Bool => vec![Type::Bool],
            Self::Text => vec![Type::String],
            Self::TextOrNull => vec![Type::String, Type::Null],
            Self::Configuration => vec![Type::Object("Object".into())],
            Self::Patches => vec![Type::list(Type::Object("JSONPatch".into()))],
            Self::Anything => Vec::new(),
        }
    }

    fn check(self, output: &Type) -> Result<(), Issue> {
        let types = self.types();
        if self == Self::Anything || types.contains(output) {
            return Ok(());
        }
        let output = go_type(output);
        let types: Vec<String> = types.iter().map(go_type).collect();
        Err(Issue::Invalid(match types.as_slice() {
            [one] => format!("must evaluate to {one} but got {output}"),
            many => format!("must evaluate to one of [{}] but got {output}", many.join(" ")),
        }))
    }
}

/// A type as Go's library prints it, which is not how its checker does.
fn go_type(of: &Type) -> String {
    match of {
        Type::Null => "null_type".to_owned(),
        Type::Duration => "google.protobuf.Duration".to_owned(),
        Type::Timestamp => "google.protobuf.Timestamp".to_owned(),
        Type::List(items) => format!("list({})", go_type(items)),
        Type::Map(keys, values) => format!("map({}, {})", go_type(keys), go_type(values)),
        Type::Optional(value) => format!("optional_type({})", go_type(value)),
        Type::Type(of) => format!("type({})", go_type(of)),
        other => other.to_string(),
    }
}

/// The type of a variable by that of its expression: objects and the library's types are not looked into.
fn variable_type(of: &Type) -> Type {
    match of {
        Type::Bool
        | Type::Bytes
        | Type::Double
        | Type::Duration
        | Type::Int
        | Type::Null
        | Type::String
        | Type::Timestamp
        | Type::Uint => of.clone(),
        Type::List(items) => Type::list(variable_type(items)),
        Type::Map(keys, values) => Type::map(variable_type(keys), variable_type(values)),
        _ => Type::Dyn,
    }
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Issue {
    /// It is wrong.
    Invalid(String),
    /// No fault of it is known.
    Internal(String),
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(detail) | Self::Internal(detail) => f.write_str(detail),
        }
    }
}

impl Issue {
    /// As the error of a field with this expression.
    pub(crate) fn of_field(&self, path: &str, expression: &str) -> FieldError {
        match self {
            Self::Invalid(detail) => FieldError::invalid(path, expression, detail.as_str()),
            Self::Internal(detail) => {
                FieldError::new(FieldErrorKind::Internal, path, serde_json::Value::Null, detail.as_str())
            }
        }
    }
}

/// An expression, compiled or with what is wrong with it.
#[derive(Debug)]
pub(crate) struct Expression {
    /// As written.
    pub(crate) text: String,
    pub(crate) program: Result<Program, Issue>,
}

/// The environments of one webhook's or policy's expressions.
#[derive(Debug)]
pub(crate) struct Environments {
    authorizer: Environment,
    plain: Environment,
    patches: Environment,
}

/// The types of what requests are about, where they are known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// `object` and `oldObject`.
    pub(crate) object: DeclaredType,
    /// `params`; `None` when there are none.
    pub(crate) params: Option<DeclaredType>,
    /// Whether there are `variables`.
    pub(crate) variables: bool,
    /// Whether there is `authorizer.requestResource`.
    pub(crate) request_resource: bool,
}

impl Environments {
    /// For webhooks: neither parameters nor variables.
    pub(crate) fn of_webhooks() -> Self {
        Self::new(false, false)
    }

    /// For policies, with parameters or without. Of variables there are none until they are compiled.
    pub(crate) fn new(params: bool, variables: bool) -> Self {
        let params = params.then(DeclaredType::any);
        Self::known(&Known { object: DeclaredType::any(), params, variables, request_resource: true })
    }

    /// For checks with types.
    pub(crate) fn known(known: &Known) -> Self {
        let authorizer = |builder: Builder| {
            let of = DeclaredType::kubernetes(Kubernetes::Authorizer);
            let builder = builder.variable("authorizer", of);
            if !known.request_resource {
                return builder;
            }
            let of = DeclaredType::kubernetes(Kubernetes::ResourceCheck);
            builder.variable("authorizer.requestResource", of)
        };
        Self {
            authorizer: authorizer(base(known)).build(),
            plain: base(known).build(),
            patches: authorizer(base(known)).mutation().build(),
        }
    }

    pub(crate) fn compile(&self, text: &str, scope: Scope, returns: Returns) -> Expression {
        let environment = match scope {
            Scope::Authorizer => &self.authorizer,
            Scope::Plain => &self.plain,
            Scope::Patches => &self.patches,
        };
        let program = environment.compile(text).map_err(|error| match error {
            CompileError::Invalid(issues) => Issue::Invalid(format!("compilation failed: {issues}")),
            CompileError::Constant(error) => {
                Issue::Internal(format!("program instantiation failed: {error}"))
            }
        });
        let program = program.and_then(|program| {
            returns.check(program.output_type())?;
            Ok(program)
        });
        Expression { text: text.to_owned(), program }
    }

    /// Compiles a variable, which the expressions that follow may use.
    pub(crate) fn compile_variable(&mut self, name: &str, text: &str) -> Expression {
        let expression = self.compile(text, Scope::Authorizer, Returns::Anything);
        let output = expression.program.as_ref().map(Program::output_type);
        let of = output.map_or(Type::Dyn, variable_type);
        for environment in [&mut self.authorizer, &mut self.plain, &mut self.patches] {
            environment.declare_field(VARIABLES, name, of.clone());
        }
        expression
    }
}

fn base(known: &Known) -> Builder {
    let builder = Environment::builder()
        .variable("object", known.object.clone())
        .variable("oldObject", known.object.clone())
        .variable("namespaceObject", types::namespace())
        .variable("request", types::request());
    let builder = match &known.params {
        Some(params) => builder.variable("params", params.clone()),
        None => builder,
    };
    if known.variables {
        builder.variable("variables", DeclaredType::named_object(VARIABLES, []))
    } else {
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(params: bool, text: &str, scope: Scope, returns: Returns) -> Option<String> {
        let environments = Environments::new(params, false);
        environments.compile(text, scope, returns).program.err().map(|issue| issue.to_string())
    }

    #[test]
    fn expressions_have_the_variables_of_their_scope() {
        let check = |params, text: &str, scope, expected: Option<&str>| {
            assert_eq!(problem(params, text, scope, Returns::Bool).as_deref(), expected, "{text}");
        };
        check(false, "object.spec.x == 1 && oldObject == null", Scope::Authorizer, None);
        check(
            false,
            "request.namespace == 'a' && request.userInfo.extra['k'].exists(e, e == 'v')",
            Scope::Plain,
            None,
        );
        check(false, "namespaceObject.metadata.labels['a'] == 'b'", Scope::Plain, None);
        check(true, "params.x == object.y", Scope::Plain, None);
        check(false, "authorizer.requestResource.check('get').allowed()", Scope::Authorizer, None);
        check(
            false,
            "params.x == 1",
            Scope::Plain,
            Some(
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x == 1\n | ^",
            ),
        );
        check(
            false,
            "request.uid == ''",
            Scope::Plain,
            Some(
                "compilation failed: ERROR: <input>:1:8: undefined field 'uid'\n | request.uid == ''\n | .......^",
            ),
        );
        assert!(
            problem(false, "authorizer.path('/').check('get').allowed()", Scope::Plain, Returns::Bool)
                .is_some()
        );
    }

    #[test]
    fn expressions_evaluate_to_what_they_must() {
        let check = |text: &str, returns, expected: Option<&str>| {
            assert_eq!(problem(false, text, Scope::Patches, returns).as_deref(), expected, "{text}");
        };
        check("object.spec.paused", Returns::Bool, Some("must evaluate to bool but got dyn"));
        check("'a'", Returns::Bool, Some("must evaluate to bool but got string"));
        check("null", Returns::Bool, Some("must evaluate to bool but got null_type"));
        check(
            "duration('1s')",
            Returns::Bool,
            Some("must evaluate to bool but got google.protobuf.Duration"),
        );
        check(
            "[timestamp('2024-01-01T00:00:00Z')]",
            Returns::Text,
            Some("must evaluate to string but got list(google.protobuf.Timestamp)"),
        );
        check("1", Returns::TextOrNull, Some("must evaluate to one of [string null_type] but got int"));
        check("null", Returns::TextOrNull, None);
        check("Object{spec: Object.spec{x: 1}}", Returns::Configuration, None);
        check("{'a': 1}", Returns::Configuration, Some("must evaluate to Object but got map(string, int)"));
        check("[JSONPatch{op: 'remove', path: '/a'}]", Returns::Patches, None);
        check("['a']", Returns::Patches, Some("must evaluate to list(JSONPatch) but got list(string)"));
        check("object.x", Returns::Anything, None);
    }

    #[test]
    fn variables_have_the_types_of_their_expressions() {
        let mut environments = Environments::new(false, true);
        let early = environments.compile("variables.x == 1", Scope::Plain, Returns::Bool);
        let issue = early.program.err().map(|issue| issue.to_string());
        assert!(issue.is_some_and(|issue| issue.contains("undefined field 'x'")));
        environments.compile_variable("x", "1 + 1");
        environments.compile_variable("y", "variables.x + 1");
        environments.compile_variable("broken", "nothing");
        environments.compile_variable("request", "[request]");
        let check = |text: &str, expected: Option<&str>| {
            let compiled = environments.compile(text, Scope::Plain, Returns::Bool);
            let issue = compiled.program.err().map(|issue| issue.to_string());
            assert_eq!(issue.as_deref(), expected, "{text}");
        };
        check("variables.x == variables.y", None);
        check("variables.broken == 'a' && variables.request[0].anything", None);
        check("variables.y", Some("must evaluate to bool but got int"));
    }
}
