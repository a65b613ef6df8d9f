//! Which requests a webhook is asked about: expressions over a SubjectAccessReview's `spec`, which must all be true.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use skiff_cel::{
    Activation, CompileError, DeclaredType, Environment, Field, ListKind, Program, Type, Value, limits,
};
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors};

/// So many conditions may a webhook have.
const MOST: usize = 64;

/// `matchConditions`.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    conditions: Vec<(String, Program)>,
    request: Option<DeclaredType>,
}

/// `request`
fn request() -> DeclaredType {
    let string = || DeclaredType::string(None, []);
    let strings = || DeclaredType::list(string(), None, ListKind::Atomic);
    let object = |name: &str, fields: Vec<(&str, DeclaredType)>| {
        let field = |(name, declared): (&str, DeclaredType)| (name.to_owned(), Field::optional(declared));
        DeclaredType::named_object(name, fields.into_iter().map(field))
    };
    let selector = |kind: &str| {
        let requirement = vec![("key", string()), ("operator", string()), ("values", strings())];
        let requirement = object(&format!("kubernetes.{kind}SelectorRequirement"), requirement);
        let requirements = DeclaredType::list(requirement, None, ListKind::Atomic);
        let fields = vec![("rawSelector", string()), ("requirements", requirements)];
        object(&format!("kubernetes.{kind}SelectorAttributes"), fields)
    };
    let of_resource = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
    let mut resource: Vec<_> = of_resource.map(|name| (name, string())).into();
    resource.push(("fieldSelector", selector("Field")));
    resource.push(("labelSelector", selector("Label")));
    object(
        "kubernetes.SubjectAccessReviewSpec",
        vec![
            ("resourceAttributes", object("kubernetes.ResourceAttributes", resource)),
            (
                "nonResourceAttributes",
                object("kubernetes.NonResourceAttributes", vec![("path", string()), ("verb", string())]),
            ),
            ("user", string()),
            ("groups", strings()),
            ("extra", DeclaredType::map(strings(), None)),
            ("uid", string()),
        ],
    )
}

impl Conditions {
    /// Compiles those of a webhook; what is wrong with them is among the errors.
    pub(super) fn compile(given: &[Json], path: &str, errors: &mut FieldErrors) -> Self {
        if given.len() > MOST {
            errors.push(FieldError::too_many(path, given.len(), MOST));
            return Self::default();
        }
        let declared = request();
        let environment = Environment::builder().variable("request", declared.clone()).build();
        let (mut seen, mut conditions) = (BTreeSet::new(), Vec::new());
        for (i, condition) in given.iter().enumerate() {
            let (path, text) =
                (format!("{path}[{i}].expression"), condition["expression"].as_str().unwrap_or_default());
            if text.trim().is_empty() {
                errors.push(FieldError::required(path, ""));
            } else if !seen.insert(text) {
                errors.push(FieldError::duplicate(path, text));
            } else {
                match compile(&environment, text, &path) {
                    Ok(program) => conditions.push((text.to_owned(), program)),
                    Err(error) => errors.push(error),
                }
            }
        }
        Self { conditions, request: Some(declared) }
    }

    /// Whether the webhook is asked about a request. One condition that is false decides, whatever became of the others.
    pub(super) fn check(&self, spec: &Json) -> Result<bool, String> {
        let Some(declared) = &self.request else { return Ok(true) };
        let activation = Activation::new().with("request", Value::read(spec, declared));
        let mut errors = Vec::new();
        for (text, program) in &self.conditions {
            match program.evaluate(&activation, limits::PER_CALL).result {
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(error) => {
                    errors.push(format!(
                        "cel evaluation error: expression '{text}' resulted in error: {error}"
                    ));
                }
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

fn compile(environment: &Environment, text: &str, path: &str) -> Result<Program, FieldError> {
    let program = environment.compile(text).map_err(|error| match error {
        CompileError::Invalid(issues) => {
            FieldError::invalid(path, text, format!("compilation failed: {issues}"))
        }
        CompileError::Constant(error) => {
            let detail = format!("program instantiation failed: {error}");
            FieldError::new(FieldErrorKind::Internal, path, Json::Null, detail)
        }
    })?;
    if *program.output_type() != Type::Bool {
        return Err(FieldError::invalid(path, text, "must evaluate to bool"));
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_look_at_the_request() {
        let check = |conditions: &[&str], expected: Result<bool, &str>| {
            let given: Vec<Json> = conditions.iter().map(|text| json!({"expression": text})).collect();
            let mut errors = FieldErrors::new();
            let compiled = Conditions::compile(&given, "matchConditions", &mut errors);
            assert!(errors.is_empty(), "{errors:?}");
            let spec = json!({
                "user": "bob", "groups": ["g"],
                "resourceAttributes": {"namespace": "kube-system", "verb": "get", "resource": "pods"},
            });
            match (compiled.check(&spec), expected) {
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (is, expected) => assert_eq!(is, expected.map_err(str::to_owned), "{conditions:?}"),
            }
        };
        check(&[], Ok(true));
        check(
            &["has(request.resourceAttributes)", "request.resourceAttributes.namespace == 'kube-system'"],
            Ok(true),
        );
        check(&["'system:masters' in request.groups"], Ok(false));
        check(&["request.nonResourceAttributes.path == '/'"], Err("no such key"));
        check(&["request.nonResourceAttributes.path == '/'", "request.user != 'bob'"], Ok(false));
    }
}
