//! What files say, and what is told of those that are wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

fn read(resources: &Value) -> Result<Configuration, String> {
    Configuration::read(&json!({"resources": resources}))
}

fn of(resources: &Value, providers: &Value) -> String {
    read(&json!([{"resources": resources, "providers": providers}])).map_or_else(|why| why, |_| "ok".into())
}

#[test]
fn what_is_wrong_is_told_as_kubernetes_tells_it() {
    let check = |found: String, expected: &str| assert_eq!(found, expected);
    let identity = json!([{"identity": {}}]);
    check(read(&json!([])).unwrap_err(), "resources: Required value: at least one resources is required");
    check(
        of(&json!([]), &json!([])),
        "[resources[0].resources: Required value: at least one resources[0].resources is required, resources[0].providers: Required value: at least one resources[0].providers is required]",
    );
    for fine in [json!(["secrets"]), json!(["*.*"]), json!(["*."]), json!(["*.apps", "events"])] {
        check(of(&fine, &identity), "ok");
    }
    let of_name = |name: &str, why: &str| {
        let expected = format!("resources[0].resources[0]: Invalid value: {name:?}: {why}");
        check(of(&json!([name]), &identity), &expected);
    };
    of_name("Secrets", "resource name should not contain capital letters");
    of_name("*", "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
    of_name("pods.extensions", "'extensions' group has been removed and cannot be used for encryption");
    of_name("pods.*", "encrypting the same resource across groups is not supported");
    of_name("serviceipallocations", "resources which do not have REST API/s cannot be encrypted");
    check(
        of(&json!(["secrets", "secrets"]), &identity),
        "resources[0].resources: Invalid value: [\"secrets\",\"secrets\"]: the same resource cannot be specified multiple times",
    );
    assert!(of(&json!(["secrets", "*."]), &identity).contains("using overlapping resources"));
    assert!(of(&json!(["secrets", "*.*"]), &identity).contains("using overlapping resources"));
}

#[test]
fn keys_are_checked_and_never_told() {
    let check = |keys: Value, expected: &str| {
        let found = of(&json!(["secrets"]), &json!([{"secretbox": {"keys": keys}}]));
        assert_eq!(found, expected.replace("AT", "resources[0].providers[0].secretbox.keys"));
    };
    check(json!([]), "AT: Required value: at least one keys is required");
    check(json!([{"name": "a"}]), "AT[0].secret: Required value: secret is a mandatory field for a key");
    check(
        json!([{"name": "a", "secret": "not base64"}]),
        "AT[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded",
    );
    check(
        json!([{"name": "a", "secret": "YWJj"}]),
        "AT[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 3, expected one of [32]",
    );
    check(
        json!([{"secret": STANDARD.encode([7; 32])}]),
        "AT[0].name: Required value: name is a mandatory field for a key",
    );
    check(json!([{"name": "a", "secret": STANDARD.encode([7; 32])}]), "ok");
    let two = of(
        &json!(["secrets"]),
        &json!([{"identity": {}, "kms": {"name": "a", "apiVersion": "v2", "endpoint": "unix:///a"}}]),
    );
    assert!(two.contains("more than one provider specified in a single element"), "{two}");
    assert!(of(&json!(["secrets"]), &json!([{}])).contains("does not contain any of the expected"));
}

#[test]
fn key_management_services_are_of_the_second_version() {
    let check = |kms: Value, expected: &str| {
        let found = of(&json!(["secrets"]), &json!([{"kms": kms}]));
        assert!(found.contains(expected), "{found}");
    };
    check(
        json!({"apiVersion": "v2", "name": "a", "endpoint": "unix:///run/kms.sock", "timeout": "2s"}),
        "ok",
    );
    check(
        json!({"name": "a", "endpoint": "unix:///a"}),
        "KMSv1 is deprecated and will only receive security",
    );
    check(json!({"apiVersion": "v2", "name": "a:b", "endpoint": "unix:///a"}), "must not contain ':'");
    check(json!({"apiVersion": "v2", "name": "a"}), "endpoint is a mandatory field for a kms");
    check(json!({"apiVersion": "v2", "name": "a", "endpoint": "tcp://a"}), "unsupported scheme \"tcp\"");
    check(
        json!({"apiVersion": "v2", "name": "a", "endpoint": "unix:///a", "timeout": "0s"}),
        "timeout should be a positive value",
    );
    check(
        json!({"apiVersion": "v2", "name": "a", "endpoint": "unix:///a", "cachesize": 5}),
        "cachesize is not supported in v2",
    );
    check(json!({"apiVersion": "v3", "name": "a", "endpoint": "unix:///a"}), "only v1 and v2 are supported");
}

#[test]
fn what_comes_too_late_is_refused() {
    let identity = json!([{"identity": {}}]);
    let check = |first: &str, second: &str, expected: Option<&str>| {
        let groups = [first, second].map(|name| json!({"resources": [name], "providers": identity}));
        assert_eq!(read(&json!(groups)).err().as_deref(), expected);
    };
    check("secrets", "*.", None);
    check("secrets", "*.*", None);
    check("*.apps", "secrets", None);
    check(
        "*.apps",
        "deployments.apps",
        Some(r#"resource "deployments.apps" is masked by earlier rule "*.apps""#),
    );
    check("*.*", "secrets", Some(r#"resource "secrets" is masked by earlier rule "*.*""#));
    check("*.", "secrets", Some(r#"resource "secrets" is masked by earlier rule "*.""#));
}

#[test]
fn the_schema_reads() {
    let schema = std::sync::Arc::new(skiff_schema::Schema::of_table(SCHEMA));
    assert!(schema.root(DEFINITION).is_some());
}
