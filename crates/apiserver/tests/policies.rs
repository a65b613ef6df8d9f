//! Admission policies in the pipeline: which writes they change and refuse, with bindings and parameters.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use base64::Engine as _;
use common::hook::Hook;
use common::{Answer, Api, config_map};
use serde_json::{Value, json};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Makes a policy named `p` for ConfigMaps, with this in its `spec`.
async fn policy(api: &Api, kind: &str, spec: Value) -> Answer {
    let rule =
        json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    let mut all = json!({"matchConstraints": {"resourceRules": [rule]}});
    merge(&mut all, spec);
    let object = json!({"metadata": {"name": "p"}, "spec": all});
    api.post(&format!("{GROUP}/{kind}policies"), object).await.expect(201)
}

/// Makes a binding of `p`, with this in its `spec`.
async fn bind(api: &Api, kind: &str, name: &str, spec: Value) -> Answer {
    let mut all = json!({"policyName": "p"});
    merge(&mut all, spec);
    let object = json!({"metadata": {"name": name}, "spec": all});
    api.post(&format!("{GROUP}/{kind}policybindings"), object).await.expect(201)
}

const VALIDATING: &str = "validatingadmission";
const MUTATING: &str = "mutatingadmission";

async fn validate(api: &Api, spec: Value, binding: Value) {
    policy(api, VALIDATING, spec).await;
    let mut all = json!({"validationActions": ["Deny"]});
    merge(&mut all, binding);
    bind(api, VALIDATING, "b", all).await;
}

async fn mutate(api: &Api, spec: Value) {
    let mut all = json!({"reinvocationPolicy": "Never"});
    merge(&mut all, spec);
    policy(api, MUTATING, all).await;
    bind(api, MUTATING, "b", json!({})).await;
}

fn merge(into: &mut Value, fields: Value) {
    let Value::Object(fields) = fields else { panic!("{fields} is no object") };
    fields.into_iter().for_each(|(field, value)| into[field] = value);
}

fn json_patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

/// A ConfigMap with this in its data.
fn with(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn a_policy_refuses_what_breaks_its_rules_once_it_is_bound() {
    let api = Api::start().await;
    let rules = json!([
        {"expression": "object.data.size() < 3"},
        {"expression": "!('bad' in object.data)", "message": "no bad", "reason": "Forbidden",
            "messageExpression": "object.metadata.name + ' is bad in ' + namespaceObject.metadata.name"}]);
    let made = policy(&api, VALIDATING, json!({"validations": rules})).await;
    assert!(made.warnings().is_empty(), "{:?}", made.warnings());
    api.post(MAPS, with("early", json!({"bad": "1"}))).await.expect(201);
    let bound = bind(&api, VALIDATING, "b", json!({"validationActions": ["Deny"]})).await;
    assert!(bound.warnings().is_empty(), "{:?}", bound.warnings());

    api.post(MAPS, config_map("good")).await.expect(201);
    let refused = api.post(MAPS, with("a", json!({"bad": "1"}))).await.expect(403);
    assert_eq!(
        refused.message(),
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: a is bad in default"
    );
    assert_eq!(refused.body["reason"], "Forbidden");
    let large = api.merge(&format!("{MAPS}/good"), json!({"data": {"b": "1", "c": "1"}})).await.expect(422);
    assert_eq!(
        large.message(),
        "configmaps \"good\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: object.data.size() < 3"
    );
    assert_eq!(large.body["reason"], "Invalid");

    api.delete(&format!("{GROUP}/{VALIDATING}policybindings/b"), Value::Null).await.expect(200);
    api.post(MAPS, with("late", json!({"bad": "1"}))).await.expect(201);
}

#[tokio::test]
async fn conditions_variables_and_who_asks_are_seen() {
    let api = Api::start().await;
    let spec = json!({
        "matchConditions": [{"name": "not-exempt", "expression": "object.metadata.name != 'exempt'"}],
        "variables": [{"name": "size", "expression": "object.data.size()"}, {"name": "most", "expression": "variables.size - 1"}],
        "validations": [
            {"expression": "variables.most < 1"},
            {"expression": "request.userInfo.username == 'system:apiserver' && request.operation == 'CREATE'"},
            {"expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"}],
    });
    validate(&api, spec, json!({})).await;
    api.post(MAPS, config_map("a")).await.expect(201);
    api.post(MAPS, with("exempt", json!({"a": "1", "b": "1"}))).await.expect(201);
    let refused = api.post(MAPS, with("b", json!({"a": "1", "b": "1"}))).await.expect(422);
    assert!(refused.message().ends_with("failed expression: variables.most < 1"), "{}", refused.message());
    let refused = api.merge(&format!("{MAPS}/a"), json!({"data": {"a": "2"}})).await.expect(422);
    assert!(refused.message().contains("request.operation"), "{}", refused.message());
}

#[tokio::test]
async fn bindings_warn_and_select_namespaces() {
    let api = Api::start().await;
    let rules = json!([{"expression": "!('bad' in object.data)", "message": "no bad"}]);
    let selector = json!({"namespaceSelector": {"matchLabels": {"watched": "yes"}}});
    let spec = json!({"validationActions": ["Warn", "Audit"], "matchResources": selector});
    validate(&api, json!({"validations": rules}), spec).await;
    let bad = || with("a", json!({"bad": "1"}));
    assert!(api.post(MAPS, bad()).await.expect(201).warnings().is_empty());
    let namespace = json!({"metadata": {"name": "watched", "labels": {"watched": "yes"}}});
    api.post("/api/v1/namespaces", namespace).await.expect(201);
    let warned = api.post("/api/v1/namespaces/watched/configmaps", bad()).await.expect(201);
    assert_eq!(
        warned.warnings(),
        ["299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no bad\""]
    );
}

#[tokio::test]
async fn parameters_are_read_from_objects() {
    let api = Api::start().await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "limits"}})).await.expect(201);
    let limits = "/api/v1/namespaces/limits/configmaps";
    let limit = |name: &str, most: &str| json!({"metadata": {"name": name, "labels": {"limit": "yes"}}, "data": {"most": most}});
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "elsewhere", "expression": "request.namespace != 'limits'"}],
        "validations": [{"expression": "object.data.size() <= int(params.data.most)",
            "messageExpression": "'at most ' + params.data.most + ' by ' + params.metadata.name"}]});
    let named = json!({"name": "one", "namespace": "limits", "parameterNotFoundAction": "Deny"});
    validate(&api, spec, json!({"paramRef": named})).await;
    let two = || with("a", json!({"a": "1", "b": "2"}));
    let missing = api.post(MAPS, two()).await.expect(422);
    assert!(
        missing.message().ends_with(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        ),
        "{}",
        missing.message()
    );
    api.delete(&format!("{GROUP}/{VALIDATING}policybindings/b"), Value::Null).await.expect(200);
    api.post(limits, limit("one", "1")).await.expect(201);
    api.post(limits, limit("two", "2")).await.expect(201);
    bind(&api, VALIDATING, "b", json!({"paramRef": named, "validationActions": ["Deny"]})).await;
    let refused = api.post(MAPS, two()).await.expect(422);
    assert!(refused.message().ends_with("denied request: at most 1 by one"), "{}", refused.message());

    // A selector finds all.
    api.delete(&format!("{GROUP}/{VALIDATING}policybindings/b"), Value::Null).await.expect(200);
    let selected = json!({"selector": {"matchLabels": {"limit": "yes"}}, "namespace": "limits", "parameterNotFoundAction": "Allow"});
    bind(&api, VALIDATING, "b", json!({"paramRef": selected, "validationActions": ["Deny"]})).await;
    let refused = api.post(MAPS, two()).await.expect(422);
    assert!(refused.message().ends_with("denied request: at most 1 by one"), "{}", refused.message());
    api.delete(&format!("{limits}/one"), Value::Null).await.expect(200);
    api.post(MAPS, two()).await.expect(201);
}

#[tokio::test]
async fn a_parameter_kind_that_is_not_there_fails_the_policy() {
    let api = Api::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}, "validations": [{"expression": "params.x == 1"}]});
    let reference = json!({"name": "a", "parameterNotFoundAction": "Allow"});
    validate(&api, spec, json!({"paramRef": reference})).await;
    let refused = api.post(MAPS, config_map("a")).await.expect(422);
    assert_eq!(
        refused.message(),
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'"
    );
}

#[tokio::test]
async fn no_policy_is_asked_about_policies() {
    let api = Api::start().await;
    let everything =
        json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    let spec =
        json!({"matchConstraints": {"resourceRules": everything}, "validations": [{"expression": "false"}]});
    validate(&api, spec, json!({})).await;
    api.post(MAPS, config_map("a")).await.expect(422);
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review).await.expect(201);
    bind(&api, VALIDATING, "second", json!({"validationActions": ["Deny"]})).await;
    api.delete(&format!("{GROUP}/{VALIDATING}policies/p"), Value::Null).await.expect(200);
    api.post(MAPS, config_map("a")).await.expect(201);
}

#[tokio::test]
async fn a_policy_changes_objects() {
    let api = Api::start().await;
    let patch = json_patch(
        "[JSONPatch{op: 'add', path: '/data/by', value: request.userInfo.username}, JSONPatch{op: 'add', path: '/metadata/uid', value: 'mine'}]",
    );
    let labels = json!({"patchType": "ApplyConfiguration", "applyConfiguration":
        {"expression": "Object{metadata: Object.metadata{labels: {'seen': 'yes'}}}"}});
    mutate(&api, json!({"mutations": [patch, labels]})).await;
    let made = api.post(MAPS, config_map("a")).await.expect(201).body;
    assert_eq!(made["data"], json!({"a": "1", "by": "system:apiserver"}));
    assert_eq!(made["metadata"]["labels"], json!({"seen": "yes"}));
    assert_ne!(made["metadata"]["uid"], "mine");
    // Of a deletion there is nothing to change.
    api.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
}

#[tokio::test]
async fn policies_come_before_webhooks_and_see_what_these_changed() {
    let api = Api::start().await;
    let hook = Hook::start(|review| {
        let patch = r#"[{"op": "add", "path": "/data/hook", "value": "1"}]"#;
        let patch = base64::engine::general_purpose::STANDARD.encode(patch);
        let response = json!({"uid": review["request"]["uid"], "allowed": true, "patch": patch, "patchType": "JSONPatch"});
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    })
    .await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let webhook = json!({"name": "hook.example.com", "clientConfig": hook.client(), "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": rules});
    let configuration = json!({"metadata": {"name": "hook"}, "webhooks": [webhook]});
    api.post(&format!("{GROUP}/mutatingwebhookconfigurations"), configuration).await.expect(201);
    let count = json_patch("[JSONPatch{op: 'add', path: '/data/seen', value: string(object.data.size())}]");
    mutate(&api, json!({"mutations": [count], "reinvocationPolicy": "IfNeeded"})).await;
    let made = api.post(MAPS, config_map("a")).await.expect(201).body;
    // First of one, which the webhook was shown; then of three.
    assert_eq!(made["data"], json!({"a": "1", "hook": "1", "seen": "3"}));
    let asked = hook.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["request"]["object"]["data"], json!({"a": "1", "seen": "1"}));
}

#[tokio::test]
async fn a_sidecar_of_a_policy_gets_what_other_plugins_give_containers() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let sidecar = json!({"patchType": "ApplyConfiguration", "applyConfiguration":
        {"expression": "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'sidecar', image: 'x'}]}}"}});
    let rule =
        json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    mutate(&api, json!({"mutations": [sidecar], "matchConstraints": {"resourceRules": [rule]}})).await;
    let made = api.post("/api/v1/namespaces/default/pods", common::pod("a")).await.expect(201).body;
    let containers = made["spec"]["containers"].as_array().unwrap();
    let sidecar = containers.iter().find(|container| container["name"] == "sidecar").unwrap();
    assert_eq!(containers.len(), 2);
    assert_eq!(sidecar["terminationMessagePolicy"], "File");
    assert_eq!(sidecar["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
}

#[tokio::test]
async fn a_refusal_tells_nothing_of_other_fields() {
    let api = Api::start().await;
    api.make_default_account("default").await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    api.merge("/api/v1/namespaces/default", labels).await.expect(200);
    let mut pod = common::pod("a");
    pod["spec"]["hostNetwork"] = true.into();
    pod["spec"]["resourceClaims"] = json!([{"name": "device", "resourceClaimName": "device"}]);
    let pods = "/api/v1/namespaces/default/pods";
    let refused = api.post(pods, pod.clone()).await.expect(403);
    assert!(refused.warnings().is_empty(), "{:?}", refused.warnings());
    pod["spec"].as_object_mut().unwrap().remove("hostNetwork");
    let warned = api.post(pods, pod).await.expect(201);
    assert!(warned.warnings()[0].contains("has no effect yet"), "{:?}", warned.warnings());
}
