//! Whole requests through both plugins, with webhooks that answer what a case says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use futures::executor::block_on;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::attributes::{Attributes, GroupVersionKind, GroupVersionResource, Operation};
use crate::chain::{Chain, Plugin};
use crate::refusal::Refusal;
use crate::testing::{object, request, surroundings};
use skiff_audit::Level;

/// What webhooks answer, by the last part of their address.
struct Answers {
    answers: Value,
    /// Who was asked what, in order.
    asked: Mutex<Vec<(String, Value)>>,
}

#[async_trait]
impl Webhooks for Answers {
    async fn call(&self, client: &ClientConfig, body: Bytes, _: Duration) -> Result<Bytes, CallError> {
        let Target::Url(url) = &client.target else { panic!("{client:?}") };
        let name = url.rsplit('/').next().unwrap().to_owned();
        let review: Value = serde_json::from_slice(&body).unwrap();
        let mut answer = self.answers[&name].clone();
        let failure = answer.get("fails").and_then(Value::as_str).map(str::to_owned);
        let mut answered = json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"]});
        if let Some(response) = answer.as_object_mut() {
            response.insert("uid".to_owned(), review["request"]["uid"].clone());
        }
        answered["response"] = answer;
        self.asked.lock().push((name, review["request"].clone()));
        match failure {
            Some(why) => Err(CallError::Failed(why)),
            None => Ok(answered.to_string().into()),
        }
    }
}

/// A configuration with one webhook for pods at `https://hooks/NAME`, changed as the case wants.
fn configuration(name: &str, change: Value) -> Value {
    let mut hook = json!({
        "name": format!("{name}.example.com"),
        "clientConfig": {"url": format!("https://hooks/{name}")},
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    change.as_object().unwrap().iter().for_each(|(field, value)| hook[field] = value.clone());
    json!({"metadata": {"name": name}, "webhooks": [hook]})
}

fn compiled(configurations: &[Value], of: Type) -> Vec<Arc<Configuration>> {
    let compile = |configuration: &Value| {
        let mut configuration = object(configuration.clone());
        default_configuration(&mut configuration, of);
        Arc::new(Configuration::compile(&configuration))
    };
    configurations.iter().map(compile).collect()
}

/// What became of a request.
struct Outcome {
    attributes: Attributes,
    result: Result<(), Refusal>,
    asked: Vec<(String, Value)>,
}

impl Outcome {
    fn names(&self) -> Vec<&str> {
        self.asked.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn message(&self) -> &str {
        self.result.as_ref().map_or_else(|refusal| refusal.message.as_str(), |()| "")
    }
}

fn run(of: Type, configurations: &[Value], answers: Value, mut attributes: Attributes) -> Outcome {
    let answers = Arc::new(Answers { answers, asked: Mutex::default() });
    let configurations = compiled(configurations, of);
    let plugin: Arc<dyn Plugin> = match of {
        Type::Mutating => {
            let plugin = MutatingWebhooks::new(surroundings(), answers.clone());
            plugin.set(configurations);
            Arc::new(plugin)
        }
        Type::Validating => {
            let plugin = ValidatingWebhooks::new(surroundings(), answers.clone());
            plugin.set(configurations);
            Arc::new(plugin)
        }
    };
    let chain = Chain::new(vec![plugin]);
    let admitted = block_on(chain.admit(&mut attributes));
    let result = admitted.and_then(|()| block_on(chain.validate(&attributes)));
    let asked = answers.asked.lock().clone();
    Outcome { attributes, result, asked }
}

fn patch(operations: Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"})
}

fn add(path: &str, value: Value) -> Value {
    patch(json!([{"op": "add", "path": path, "value": value}]))
}

#[test]
fn a_webhook_lets_go_on_or_refuses() {
    for of in [Type::Mutating, Type::Validating] {
        let check = |change: Value, answer: Value, expected: &str, code: i32| {
            let outcome = run(of, &[configuration("a", change)], json!({"a": answer}), request());
            assert_eq!(outcome.message(), expected, "{answer}");
            assert_eq!(outcome.result.map_or_else(|refusal| refusal.code, |()| 200), code);
        };
        check(json!({}), json!({"allowed": true}), "", 200);
        check(
            json!({}),
            json!({"allowed": false, "status": {"message": "no", "code": 418, "reason": "Tea"}}),
            "admission webhook \"a.example.com\" denied the request: no",
            418,
        );
        let failed = "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: \
                      Post \"https://hooks/a?timeout=10s\": connection refused";
        check(json!({}), json!({"fails": "connection refused"}), failed, 500);
        check(json!({"failurePolicy": "Ignore"}), json!({"fails": "connection refused"}), "", 200);
        check(
            json!({}),
            Value::Null,
            "Internal error occurred: failed calling webhook \"a.example.com\": received invalid webhook response: \
             webhook response was absent",
            500,
        );
        check(json!({"failurePolicy": "Ignore"}), Value::Null, "", 200);
        check(
            json!({"admissionReviewVersions": ["v2"]}),
            json!({"allowed": true}),
            "Internal error occurred: failed calling webhook \"a.example.com\": could not create admission objects: \
             webhook does not accept known AdmissionReview versions (v1, v1beta1)",
            500,
        );
        check(json!({"admissionReviewVersions": ["v2", "v1beta1"]}), json!({"allowed": true}), "", 200);
        check(
            json!({"failurePolicy": "Ignore"}),
            json!({"allowed": false}),
            "admission webhook \"a.example.com\" denied the request without explanation",
            400,
        );
    }
}

#[test]
fn webhooks_are_asked_only_about_what_they_want() {
    let check = |change: Value, edit: fn(&mut Attributes), expected: &[&str], message: &str| {
        for of in [Type::Mutating, Type::Validating] {
            let mut attributes = request();
            edit(&mut attributes);
            let answers = json!({"a": {"allowed": true}});
            let outcome = run(of, &[configuration("a", change.clone())], answers, attributes);
            assert_eq!((outcome.names().as_slice(), outcome.message()), (expected, message), "{change}");
        }
    };
    let same: fn(&mut Attributes) = |_| {};
    check(json!({}), same, &["a"], "");
    check(json!({"objectSelector": {"matchLabels": {"a": "b"}}}), same, &[], "");
    check(json!({"namespaceSelector": {"matchLabels": {"env": "dev"}}}), same, &["a"], "");
    check(json!({"namespaceSelector": {"matchLabels": {"env": "prod"}}}), same, &[], "");
    let lost: fn(&mut Attributes) = |attributes| attributes.namespace = "lost".to_owned();
    let by_env = json!({"namespaceSelector": {"matchLabels": {"env": "dev"}}});
    check(by_env.clone(), lost, &[], "namespaces \"lost\" not found");
    // Whom the rules do not match the lost namespace does not concern.
    let mut services = by_env;
    services["rules"] =
        json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"]}]);
    check(services, lost, &[], "");
    let condition = |expression: &str| json!({"matchConditions": [{"name": "c", "expression": expression}]});
    check(condition("object.metadata.name == 'web' && request.operation == 'CREATE'"), same, &["a"], "");
    check(condition("request.name != 'web'"), same, &[], "");
    check(condition("authorizer.requestResource.check('get').allowed()"), same, &["a"], "");
    check(condition("authorizer.requestResource.check('create').allowed()"), same, &[], "");
    let why = "pods \"web\" is forbidden: expression 'object.spec.x == 1' resulted in error: no such key: x";
    check(condition("object.spec.x == 1"), same, &[], why);
    let mut ignored = condition("object.spec.x == 1");
    ignored["failurePolicy"] = "Ignore".into();
    check(ignored, same, &[], "");
    let own: fn(&mut Attributes) = |attributes| {
        attributes.kind =
            GroupVersionKind::new("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration");
    };
    check(json!({}), own, &[], "");
}

#[test]
fn in_dry_runs_only_harmless_webhooks_are_called() {
    let check = |effects: Value, policy: &str, expected: &str, asked: usize| {
        for of in [Type::Mutating, Type::Validating] {
            let mut attributes = request();
            attributes.dry_run = true;
            let change = json!({"sideEffects": effects, "failurePolicy": policy});
            let answers = json!({"a": {"allowed": true}});
            let outcome = run(of, &[configuration("a", change)], answers, attributes);
            assert_eq!((outcome.message(), outcome.asked.len()), (expected, asked), "{effects}");
        }
    };
    check(json!("None"), "Fail", "", 1);
    check(json!("NoneOnDryRun"), "Fail", "", 1);
    check(json!("Some"), "Ignore", "admission webhook \"a.example.com\" does not support dry run", 0);
    check(json!("Unknown"), "Fail", "admission webhook \"a.example.com\" does not support dry run", 0);
    let unsaid =
        "Internal error occurred: failed calling webhook \"a.example.com\": Webhook SideEffects is nil";
    check(Value::Null, "Fail", unsaid, 0);
    check(Value::Null, "Ignore", "", 0);
}

#[test]
fn patches_are_applied_in_the_order_of_names() {
    let configurations = [configuration("b", json!({})), configuration("a", json!({}))];
    let answers = json!({"a": add("/spec/a", json!(1)), "b": add("/spec/b", json!(2))});
    let outcome = run(Type::Mutating, &configurations, answers, request());
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.names(), ["a", "b"]);
    assert_eq!(outcome.asked[1].1["object"]["spec"], json!({"a": 1, "defaulted": true}));
    let expected = json!({"a": 1, "b": 2, "defaulted": true});
    assert_eq!(outcome.attributes.object.as_ref().unwrap().get(&["spec"]), Some(&expected));
    let annotations = outcome.attributes.annotations(Level::Request);
    let texts: Vec<(&str, &str)> = annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [
        (
            "mutation.webhook.admission.k8s.io/round_0_index_0",
            r#"{"configuration":"a","webhook":"a.example.com","mutated":true}"#,
        ),
        (
            "mutation.webhook.admission.k8s.io/round_0_index_1",
            r#"{"configuration":"b","webhook":"b.example.com","mutated":true}"#,
        ),
        (
            "patch.webhook.admission.k8s.io/round_0_index_0",
            r#"{"configuration":"a","webhook":"a.example.com","patch":[{"op":"add","path":"/spec/a","value":1}],"patchType":"JSONPatch"}"#,
        ),
        (
            "patch.webhook.admission.k8s.io/round_0_index_1",
            r#"{"configuration":"b","webhook":"b.example.com","patch":[{"op":"add","path":"/spec/b","value":2}],"patchType":"JSONPatch"}"#,
        ),
    ];
    assert_eq!(texts, expected);
    assert_eq!(outcome.attributes.annotations(Level::Metadata).len(), 2);
}

#[test]
fn patches_that_do_not_fit_are_told_of() {
    let check = |answer: Value, policy: &str, edit: fn(&mut Attributes), expected: &str| {
        let mut attributes = request();
        edit(&mut attributes);
        let change = json!({"failurePolicy": policy});
        let outcome = run(Type::Mutating, &[configuration("a", change)], json!({"a": answer}), attributes);
        assert_eq!(outcome.message(), expected, "{answer}");
    };
    let same: fn(&mut Attributes) = |_| {};
    check(patch(json!([])), "Fail", same, "");
    check(
        patch(json!([{"op": "remove", "path": "/spec/x"}])),
        "Ignore",
        same,
        "Internal error occurred: error in remove for path: '/spec/x': Unable to remove nonexistent key: x: missing value",
    );
    check(
        add("/spec", json!(1)),
        "Fail",
        same,
        "Internal error occurred: json: cannot unmarshal into Go struct field Pod.spec",
    );
    let other = json!({"allowed": true, "patch": "W3t9XQ==", "patchType": "Other"});
    check(
        other,
        "Fail",
        same,
        "Internal error occurred: failed calling webhook \"a.example.com\": unsupported patch type \"Other\"",
    );
    let delete: fn(&mut Attributes) = |attributes| {
        attributes.operation = Operation::Delete;
        attributes.old = attributes.object.take().map(Arc::new);
    };
    check(
        add("/spec/x", json!(1)),
        "Fail",
        delete,
        "Internal error occurred: admission webhook \"a.example.com\" attempted to modify the object, which is not supported for this operation",
    );
    check(json!({"allowed": true}), "Fail", delete, "");
}

#[test]
fn a_webhook_is_asked_again_when_another_changed_the_object() {
    let check = |first: &str, second: Value, expected: &[&str]| {
        let configurations =
            [configuration("a", json!({"reinvocationPolicy": first})), configuration("b", json!({}))];
        let outcome =
            run(Type::Mutating, &configurations, json!({"a": {"allowed": true}, "b": second}), request());
        assert_eq!((outcome.names().as_slice(), outcome.message()), (expected, ""));
    };
    check("IfNeeded", add("/spec/b", json!(2)), &["a", "b", "a"]);
    check("Never", add("/spec/b", json!(2)), &["a", "b"]);
    check("IfNeeded", json!({"allowed": true}), &["a", "b"]);
    // What was there before is no change.
    check("IfNeeded", patch(json!([{"op": "test", "path": "/spec", "value": {}}])), &["a", "b"]);
}

#[test]
fn equivalent_objects_are_converted_and_back() {
    let mut attributes = request();
    attributes.resource = GroupVersionResource::new("apps", "v1", "deployments");
    attributes.kind = GroupVersionKind::new("apps", "v1", "Deployment");
    attributes.object.as_mut().unwrap().set(&["apiVersion"], "apps/v1");
    let rules =
        json!([{"operations": ["*"], "apiGroups": ["extensions"], "apiVersions": ["*"], "resources": ["*"]}]);
    let configurations = [configuration("a", json!({"rules": rules}))];
    let outcome = run(Type::Mutating, &configurations, json!({"a": add("/spec/x", json!(1))}), attributes);
    assert_eq!(outcome.result, Ok(()));
    let asked = &outcome.asked[0].1;
    assert_eq!(asked["object"]["apiVersion"], "extensions/v1beta1");
    assert_eq!(asked["kind"], json!({"group": "extensions", "version": "v1beta1", "kind": "Deployment"}));
    assert_eq!(asked["requestKind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
    let object = outcome.attributes.object.unwrap();
    assert_eq!((object.api_version(), object.get(&["spec", "x"])), ("apps/v1", Some(&json!(1))));
}

#[test]
fn all_validating_webhooks_are_asked_and_the_first_refusal_counts() {
    let configurations = ["c", "b", "a"].map(|name| configuration(name, json!({"failurePolicy": "Ignore"})));
    let answers = json!({
        "a": {"fails": "x", "warnings": ["lost"]},
        "b": {"allowed": false, "status": {"message": "b"}, "warnings": ["one", "two"], "auditAnnotations": {"k": "v"}},
        "c": {"allowed": false, "status": {"message": "c"}, "warnings": ["two"]},
    });
    let outcome = run(Type::Validating, &configurations, answers, request());
    assert_eq!(outcome.message(), "admission webhook \"b.example.com\" denied the request: b");
    assert_eq!(outcome.names(), ["a", "b", "c"]);
    assert_eq!(outcome.attributes.warnings(), ["one", "two"]);
    let annotations = outcome.attributes.annotations(Level::Metadata);
    let expected = [
        ("b.example.com/k", "v"),
        ("failed-open.validating.webhook.admission.k8s.io/round_0_index_0", "a.example.com"),
    ];
    let found: Vec<(&str, &str)> = annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_request_without_time_is_given_up() {
    let over = || {
        let mut attributes = request();
        attributes.deadline = Some(Instant::now());
        attributes
    };
    let change = json!({"failurePolicy": "Ignore"});
    let why = "Timeout: request did not complete within requested timeout";
    let outcome =
        run(Type::Validating, &[configuration("a", change.clone())], json!({"a": {"allowed": true}}), over());
    assert_eq!((outcome.message(), outcome.asked.len()), (why, 0));
    let outcome = run(Type::Mutating, &[configuration("a", change)], json!({"a": {"fails": "late"}}), over());
    assert_eq!(outcome.message(), why);
    let open = outcome.attributes.annotations(Level::Metadata);
    let key = "failed-open.mutation.webhook.admission.k8s.io/round_0_index_0";
    assert_eq!(open.get(key).map(String::as_str), Some("a.example.com"));
}
