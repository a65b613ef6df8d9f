//! What admission policies need: variables without schema, variables that other expressions make, the authorizer with
//! the request's own resource, and results as JSON.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use skiff_cel::{
    Action, Activation, Authorization, Authorizer, Decision, DeclaredType, Environment, EvalError, Field,
    Fields, Kubernetes, Map, Program, Subject, Type, Value, limits,
};

/// `variables.ports`, computed from the object when it is first asked for.
struct Variables<'a> {
    program: &'a Program,
    activation: &'a Activation<'a>,
    ports: OnceLock<Result<Value<'a>, EvalError>>,
    computed: AtomicUsize,
}

impl Fields for Variables<'_> {
    fn get(&self, name: &str) -> Option<Result<Value<'_>, EvalError>> {
        let ports = self.ports.get_or_init(|| {
            self.computed.fetch_add(1, Ordering::Relaxed);
            self.program.evaluate(self.activation, limits::PER_CALL).result
        });
        (name == "ports").then(|| ports.clone())
    }

    fn names(&self) -> Vec<&str> {
        vec!["ports"]
    }
}

#[test]
fn variables_are_computed_once_and_only_when_they_are_used() {
    let any = DeclaredType::any();
    let plain = Environment::builder().variable("object", any.clone()).build();
    let ports = plain.compile("object.spec.ports.map(p, int(p.port))").unwrap();
    assert_eq!(*ports.output_type(), Type::list(Type::Int));
    let fields = [("ports".to_owned(), Field::optional(DeclaredType::typed(ports.output_type().clone())))];
    let variables = DeclaredType::named_object("kubernetes.variables", fields);
    let environment = plain.extend().variable("variables", variables).build();

    let object = json!({"spec": {"ports": [{"port": 80}, {"port": "443"}]}});
    let inner = Activation::new().with("object", Value::read(&object, &any));
    let lazy = Variables {
        program: &ports,
        activation: &inner,
        ports: OnceLock::new(),
        computed: AtomicUsize::new(0),
    };
    let activation = Activation::new()
        .with("object", Value::read(&object, &any))
        .with("variables", Value::Map(Map::lazy(&lazy)));
    let check = |text: &str, value: bool, computed: usize| {
        let program = environment.compile(text).unwrap();
        let result = program.evaluate(&activation, limits::PER_CALL).result;
        assert!(matches!(result, Ok(Value::Bool(found)) if found == value), "{text}: {result:?}");
        assert_eq!(lazy.computed.load(Ordering::Relaxed), computed, "{text}");
    };
    check("object.spec.ports.size() == 2 || variables.ports == []", true, 0);
    check("variables.ports.all(p, p < 1000) && 443 in variables.ports", true, 1);
    check("variables.ports.exists(p, p == 81)", false, 1);
    let refused = environment.compile("variables.other").unwrap_err().to_string();
    let expected = "ERROR: <input>:1:10: undefined field 'other'\n | variables.other\n | .........^";
    assert_eq!(refused, expected);
}

struct OnlyLogs;

impl Authorizer for OnlyLogs {
    fn authorize(&self, subject: &Subject, action: &Action<'_>) -> Decision {
        let allowed = matches!(subject, Subject::Requester)
            && matches!(
                action,
                Action::Resource {
                    resource: "pods",
                    subresource: "log",
                    namespace: "ns",
                    name: "p",
                    verb: "get",
                    ..
                }
            );
        Decision { allowed, ..Decision::default() }
    }
}

#[test]
fn the_requests_own_resource_can_be_asked_about() {
    let environment = Environment::builder()
        .variable("authorizer", DeclaredType::kubernetes(Kubernetes::Authorizer))
        .variable("authorizer.requestResource", DeclaredType::kubernetes(Kubernetes::ResourceCheck))
        .build();
    let authorization = Authorization::new(&OnlyLogs);
    let resource = authorization.resource("", "pods", "log", "ns", "p");
    let activation = Activation::new()
        .with("authorizer", Value::Authorizer(authorization))
        .with("authorizer.requestResource", resource);
    let check = |text: &str, allowed: bool| {
        let program = environment.compile(text).unwrap();
        let result = program.evaluate(&activation, limits::PER_CALL).result;
        assert!(matches!(result, Ok(Value::Bool(found)) if found == allowed), "{text}: {result:?}");
    };
    check("authorizer.requestResource.check('get').allowed()", true);
    check("authorizer.requestResource.check('delete').allowed()", false);
    check("authorizer.requestResource.subresource('exec').check('get').allowed()", false);
    check("authorizer.serviceAccount('ns', 'sa').group('').resource('pods').check('get').allowed()", false);
    assert!(environment.compile("authorizer.requestResource").unwrap().uses("authorizer.requestResource"));
}

#[test]
fn what_mutations_make_is_given_as_json() {
    let any = DeclaredType::any();
    let environment = Environment::builder().variable("object", any.clone()).mutation().build();
    let object = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 2}});
    let activation = Activation::new().with("object", Value::read(&object, &any));
    let check = |text: &str, expected: serde_json::Value| {
        let program = environment.compile(text).unwrap();
        let value = program.evaluate(&activation, limits::PER_CALL).result.unwrap();
        assert_eq!(value.to_json(), Ok(expected), "{text}");
    };
    check(
        "Object{spec: Object.spec{replicas: object.spec.replicas + 1, ?paused: optional.none(), a__dash__b: b'a'}}",
        json!({"spec": {"replicas": 3, "a-b": "YQ=="}}),
    );
    check(
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: object.metadata.labels}]",
        json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": {"a": "b"}}]),
    );
    check(
        "{'x': dyn(duration('90s')), 'y': dyn([dyn(1.5), dyn(null)])}",
        json!({"x": "90s", "y": [1.5, null]}),
    );
    let program = environment.compile("type(1)").unwrap();
    let value = program.evaluate(&activation, limits::PER_CALL).result.unwrap();
    assert_eq!(value.to_json().unwrap_err().to_string(), "no conversion of 'type' to JSON");
    // Without mutation there are no such types.
    let plain = Environment::builder().build();
    let refused = plain.compile("Object{}").unwrap_err().to_string();
    assert!(refused.contains("undeclared reference to 'Object' (in container '')"), "{refused}");
}

#[test]
fn a_variable_without_value_is_an_error_of_what_uses_it() {
    let environment = Environment::builder().variable("params", DeclaredType::any()).build();
    let program = environment.compile("params.x == 1").unwrap();
    let none = Activation::new();
    let result = program.evaluate(&none, limits::PER_CALL).result;
    assert_eq!(result.unwrap_err().to_string(), "no such attribute(s): params");
    let broken = Activation::new().with("params", Err(EvalError::CostExceeded));
    assert!(matches!(program.evaluate(&broken, limits::PER_CALL).result, Err(EvalError::CostExceeded)));
}
