//! Policies that refuse, and checks of their types.

use super::*;
use skiff_audit::Level;

fn validated(spec: Value, bound: Value, attributes: Attributes) -> (Result<(), Refusal>, Attributes) {
    let plugin = ValidatingPolicies::new(surroundings(), Arc::new(Stored));
    let policy = Arc::new(ValidatingPolicy::compile(&policy("p", spec)));
    plugin.set(vec![policy], vec![binding("p", bound)]);
    admitted(Arc::new(plugin), attributes)
}

const DENIED: &str =
    "pods \"web\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";

#[test]
fn validations_deny_with_their_messages() {
    let check = |validation: Value, expected: &str| {
        let (result, _) = validated(json!({"validations": [validation]}), json!({}), request());
        let expected = if expected.is_empty() { String::new() } else { format!("{DENIED}{expected}") };
        assert_eq!(message(result), expected, "{validation}");
    };
    check(json!({"expression": "object.metadata.name == 'web'"}), "");
    check(json!({"expression": " 1 == 2 "}), "failed expression: 1 == 2");
    check(json!({"expression": "false", "message": " no "}), "no");
    check(
        json!({"expression": "false", "message": "no", "messageExpression": "'not ' + object.metadata.name"}),
        "not web",
    );
    check(json!({"expression": "false", "message": "no", "messageExpression": "object.nothing"}), "no");
    check(json!({"expression": "false", "message": "no", "messageExpression": "'a\\nb'"}), "no");
    check(json!({"expression": "false", "message": "no", "messageExpression": "' '"}), "no");
    check(
        json!({"expression": "object.spec.x == 1"}),
        "expression 'object.spec.x == 1' resulted in error: no such key: x",
    );
    check(
        json!({"expression": "nothing"}),
        "compilation error: compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')\n | nothing\n | ^",
    );
    check(json!({"expression": "oldObject == null && namespaceObject.metadata.labels.env == 'dev'"}), "");
    check(
        json!({"expression": "authorizer.requestResource.check('create').allowed()"}),
        "failed expression: authorizer.requestResource.check('create').allowed()",
    );
    check(json!({"expression": "request.userInfo.username == 'alice' && request.kind.kind == 'Pod'"}), "");
}

#[test]
fn the_status_says_what_the_policy_wants() {
    let check = |reason: Value, code: i32, expected: &str| {
        let validation = json!({"expression": "false", "message": "no", "reason": reason});
        let (result, _) = validated(json!({"validations": [validation]}), json!({}), request());
        let refusal = result.unwrap_err();
        assert_eq!((refusal.code, refusal.reason.as_str()), (code, expected));
        let details = refusal.to_json()["details"].clone();
        let cause = json!({"message": format!("{DENIED}no").split_once(": ").unwrap().1});
        assert_eq!(details, json!({"name": "web", "kind": "pods", "causes": [cause]}));
    };
    check(Value::Null, 422, "Invalid");
    check(json!("Forbidden"), 403, "Forbidden");
    check(json!("RequestEntityTooLarge"), 413, "RequestEntityTooLarge");
}

#[test]
fn bindings_say_what_happens() {
    let spec = || json!({"validations": [{"expression": "true"}, {"expression": "false", "message": "no"}]});
    let check = |actions: Value, denied: bool, warnings: &[&str], note: Option<&str>| {
        let (result, attributes) = validated(spec(), json!({"validationActions": actions}), request());
        assert_eq!(result.is_err(), denied, "{actions}");
        assert_eq!(attributes.warnings(), warnings);
        let annotations = attributes.annotations(Level::Metadata);
        let key = "validation.policy.admission.k8s.io/validation_failure";
        assert_eq!(annotations.get(key).map(String::as_str), note);
    };
    check(json!(["Deny"]), true, &[], None);
    let warning = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no";
    let note = r#"[{"message":"no","policy":"p","binding":"b","expressionIndex":1,"validationActions":["Warn","Audit"]}]"#;
    check(json!(["Warn", "Audit"]), false, &[warning], Some(note));
    let other = json!({"matchResources": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}});
    assert_eq!(validated(spec(), other, request()).0, Ok(()));
}

#[test]
fn failures_are_the_failure_policys() {
    let broken = |policy: &str| json!({"failurePolicy": policy, "validations": [{"expression": "object.x"}]});
    assert!(validated(broken("Fail"), json!({}), request()).0.is_err());
    assert_eq!(validated(broken("Ignore"), json!({}), request()).0, Ok(()));
    let condition = |policy: &str, expression: &str| {
        json!({
            "failurePolicy": policy, "validations": [{"expression": "false", "message": "no"}],
            "matchConditions": [{"name": "c", "expression": expression}],
        })
    };
    let check = |spec: Value, expected: &str| {
        assert_eq!(message(validated(spec, json!({}), request()).0), expected);
    };
    check(condition("Fail", "request.name == 'web'"), &format!("{DENIED}no"));
    check(condition("Fail", "request.name != 'web'"), "");
    let error = "expression 'object.x == 1' resulted in error: no such key: x";
    check(condition("Fail", "object.x == 1"), &format!("{DENIED}{error}"));
    check(condition("Ignore", "object.x == 1"), "");
    // What is false makes up for an error.
    check(condition("Fail", "object.x == 1 && false"), "");
}

#[test]
fn variables_are_lazy_and_computed_once() {
    let check = |variables: Value, expression: &str, expected: &str| {
        let spec =
            json!({"variables": variables, "validations": [{"expression": expression, "message": "no"}]});
        let (result, _) = validated(spec, json!({}), request());
        let expected = if expected.is_empty() { String::new() } else { format!("{DENIED}{expected}") };
        assert_eq!(message(result), expected, "{expression}");
    };
    let variables = || {
        json!([
            {"name": "name", "expression": "object.metadata.name"},
            {"name": "names", "expression": "[variables.name + '', variables.name + '2']"},
            {"name": "broken", "expression": "object.nothing"},
            {"name": "wrong", "expression": "nothing"},
        ])
    };
    check(variables(), "variables.names == ['web', 'web2']", "");
    check(variables(), "variables.name == 'other'", "no");
    check(
        variables(),
        "variables.broken == 1",
        "expression 'variables.broken == 1' resulted in error: composited variable \"broken\" fails to evaluate: no such key: nothing",
    );
    check(
        variables(),
        "variables.wrong == 1",
        "expression 'variables.wrong == 1' resulted in error: composited variable \"wrong\" fails to compile: compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')\n | nothing\n | ^",
    );
    // Twenty times the cost of this variable would be too much.
    let asks = "authorizer.path('/').check('get').allowed()";
    let costly = json!([{"name": "all", "expression": format!("{asks} && {asks}")}]);
    check(costly, &vec!["variables.all"; 20].join(" && "), "");
    let itself = json!([{"name": "x", "expression": "1"}, {"name": "x", "expression": "variables.x"}]);
    let error = "expression 'variables.x == 1' resulted in error: composited variable \"x\" fails to evaluate: variable \"x\" is defined by itself";
    check(itself, "variables.x == 1", error);
}

#[test]
fn a_budget_is_for_all_validations() {
    let asks = "authorizer.path('/').check('get').allowed()";
    let costly = format!("{asks} && {asks}");
    let validations: Vec<Value> = (0..20).map(|_| json!({"expression": costly})).collect();
    let (result, _) = validated(json!({"validations": validations}), json!({}), request());
    let why = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!(message(result), format!("{DENIED}{why}"));
}

#[test]
fn parameters_are_found() {
    let spec = |kind: Value| {
        json!({
            "paramKind": kind,
            "validations": [{"expression": "params == null || params.data.most > 1", "messageExpression": "params.kind + ' ' + params.metadata.name"}],
        })
    };
    let maps = || json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let limits = || json!({"apiVersion": "x/v1", "kind": "Limit"});
    let check = |kind: Value, reference: Value, edit: fn(&mut Attributes), expected: &str| {
        let mut attributes = request();
        edit(&mut attributes);
        let (result, _) = validated(spec(kind), json!({"paramRef": reference}), attributes);
        let text = message(result);
        let text = text.split_once("denied request: ").map_or(text.as_str(), |(_, why)| why);
        assert_eq!(text, expected, "{reference}");
    };
    let same: fn(&mut Attributes) = |_| {};
    check(maps(), Value::Null, same, "");
    check(maps(), json!({"name": "two"}), same, "");
    check(maps(), json!({"name": "one"}), same, "ConfigMap one");
    check(maps(), json!({"selector": {}}), same, "ConfigMap one");
    check(maps(), json!({"selector": {"matchLabels": {"is": "two"}}}), same, "");
    check(maps(), json!({"name": "none", "parameterNotFoundAction": "Allow"}), same, "");
    let none =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    check(maps(), json!({"name": "none", "parameterNotFoundAction": "Deny"}), same, none);
    check(
        maps(),
        json!({"name": "one", "namespace": "other", "parameterNotFoundAction": "Deny"}),
        same,
        none,
    );
    let bare: fn(&mut Attributes) = |attributes| attributes.namespace.clear();
    check(
        maps(),
        json!({"name": "one"}),
        bare,
        "failed to configure binding: cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
    );
    check(
        limits(),
        json!({"name": "one", "namespace": "a"}),
        same,
        "failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
    );
    let strange = json!({"apiVersion": "x/v1", "kind": "Strange"});
    let why =
        "failed to configure policy: failed to find resource referenced by paramKind: 'x/v1, Kind=Strange'";
    check(strange, json!({"name": "one"}), same, why);
}

#[test]
fn audit_annotations_are_collected() {
    let check = |policy: &str, expression: &str, expected: Result<Option<&str>, &str>| {
        let spec = json!({
            "failurePolicy": policy, "auditAnnotations": [{"key": "k", "valueExpression": expression}],
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        });
        let (result, attributes) = validated(spec, json!({"paramRef": {"selector": {}}}), request());
        let notes = attributes.annotations(Level::Metadata);
        let found = result.map(|()| notes.get("p/k").map(String::as_str));
        let expected = expected.map_err(|why| format!("{DENIED}{why}"));
        assert_eq!(found.map_err(|refusal| refusal.message), expected, "{expression}");
    };
    check("Fail", "' ' + object.metadata.name", Ok(Some("web")));
    check("Fail", "'a ' + params.metadata.name", Ok(Some("a one, a two")));
    check("Fail", "null", Ok(None));
    check("Fail", "''", Ok(None));
    check("Ignore", "'a' + object.x", Ok(None));
    check("Fail", "'a' + object.x", Err("expression ''a' + object.x' resulted in error: no such key: x"));
}

#[test]
fn some_requests_are_none_of_their_business() {
    let spec = || {
        let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "false"}]})
    };
    let check = |group: &str, resource: &str, asked: bool| {
        let mut attributes = request();
        attributes.resource = GroupVersionResource::new(group, "v1", resource);
        assert_eq!(validated(spec(), json!({}), attributes).0.is_err(), asked, "{resource}");
    };
    check("", "pods", true);
    check("authorization.k8s.io", "subjectaccessreviews", false);
    check("authentication.k8s.io", "tokenreviews", false);
    check("admissionregistration.k8s.io", "validatingadmissionpolicies", false);
    check("admissionregistration.k8s.io", "validatingwebhookconfigurations", true);
}

#[test]
fn types_are_checked_ahead() {
    let check = |resources: Value, validation: Value, expected: Value| {
        let rule =
            json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources});
        let spec = json!({
            "matchConstraints": {"resourceRules": [rule]}, "validations": [validation],
            "variables": [{"name": "name", "expression": "object.metadata.name"}],
        });
        assert_eq!(Value::from(check_types(&policy("p", spec), &Served)), expected, "{validation}");
    };
    let warning = |field: &str, text: &str| json!([{"fieldRef": format!("spec.validations[0].{field}"), "warning": text}]);
    check(json!(["pods"]), json!({"expression": "object.spec.nodeName == variables.name"}), json!([]));
    check(json!(["*"]), json!({"expression": "object.spec.nothing == 1"}), json!([]));
    check(json!(["nothings"]), json!({"expression": "object.spec.nothing == 1"}), json!([]));
    check(
        json!(["pods"]),
        json!({"expression": "object.spec.nothing == 1"}),
        warning(
            "expression",
            "/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'nothing'\n | object.spec.nothing == 1\n | ...........^\n",
        ),
    );
    check(
        json!(["services", "pods"]),
        json!({"expression": "true", "messageExpression": "object.spec.nodeName"}),
        warning(
            "messageExpression",
            "/v1, Kind=Service: ERROR: <input>:1:12: undefined field 'nodeName'\n | object.spec.nodeName\n | ...........^\n",
        ),
    );
}
