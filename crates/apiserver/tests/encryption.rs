//! What clients are told when what is stored is encrypted, and when the key is missing.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use common::Api;
use serde_json::{Value, json};
use skiff_encryption::kms::Service;
use skiff_encryption::{Configuration, Keyring, KmsConfig};
use skiff_store::Embedded;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const SECRET: &str = "/api/v1/namespaces/default/secrets/a";

/// Secrets under these keys, each of which is its letter.
fn configuration(names: &[&str]) -> Configuration {
    // 32 times the letter A, or B.
    let secret = |name: &str| match name {
        "a" => "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
        _ => "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=",
    };
    let keys: Vec<Value> = names.iter().map(|name| json!({"name": name, "secret": secret(name)})).collect();
    let providers = json!([{"aesgcm": {"keys": keys}}]);
    Configuration::read(&json!({"resources": [{"resources": ["secrets"], "providers": providers}]})).unwrap()
}

fn keyring(names: &[&str]) -> Arc<Keyring> {
    let no_services =
        |_: &KmsConfig| -> Box<dyn Service> { panic!("no key management service is configured") };
    Arc::new(Keyring::new(&configuration(names), no_services, Instant::now()))
}

fn open(path: &Path, keyring: Arc<Keyring>) -> Arc<Embedded> {
    let terms = skiff_apiserver::terms(&skiff_kinds::builtin());
    Arc::new(Embedded::open_sealed(path, terms, keyring).unwrap())
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_told_with_the_object() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let store = open(&path, keyring(&["a"]));
    let api = Api::with_store(store.clone()).await;
    let secret = json!({"metadata": {"name": "a"}, "stringData": {"password": "nobody reads this"}});
    api.post(SECRETS, secret).await.expect(201);
    store.close();
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(8).any(|part| part == b"bm9ib2R5"), "it is there as it is");

    let keys = keyring(&["b"]);
    let store = open(&path, keys.clone());
    let api = Api::with_store(store.clone()).await;
    let why = "Internal error occurred: unable to transform key \"/registry/core/secrets/default/a\": no matching key was found for the provided AES transformer";
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    for answer in [
        api.get(SECRET).await,
        api.get(SECRETS).await,
        api.get("/api/v1/secrets").await,
        api.get("/api/v1/secrets?watch=1").await,
        api.merge(SECRET, patch).await,
        api.delete(SECRET, Value::Null).await,
    ] {
        let answer = answer.expect(500);
        assert_eq!((answer.message(), &answer.body["reason"]), (why, &json!("InternalError")));
    }
    api.get("/api/v1/namespaces/default/configmaps").await.expect(200);
    api.post(SECRETS, json!({"metadata": {"name": "b"}})).await.expect(201);

    // The key comes back: nothing was lost.
    keys.replace(&configuration(&["b", "a"]), Instant::now()).unwrap();
    assert_eq!(store.renew().await.unwrap(), 1);
    let found = api.get(SECRET).await.expect(200).body;
    assert_eq!(found["data"]["password"], "bm9ib2R5IHJlYWRzIHRoaXM=");
    assert_eq!(api.get(SECRETS).await.expect(200).names(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_an_object_by_itself_writes_it_with_the_new_key() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keyring(&["a"]);
    let api = Api::with_store(open(&dir.path().join("state.redb"), keys.clone())).await;
    let made = api.post(SECRETS, json!({"metadata": {"name": "a"}})).await.expect(201).body;
    let same = api.put(SECRET, made.clone()).await.expect(200).body;
    assert_eq!(version(&same), version(&made), "nothing to write");
    keys.replace(&configuration(&["b", "a"]), Instant::now()).unwrap();
    let written = api.put(SECRET, made.clone()).await.expect(200).body;
    assert_ne!(version(&written), version(&made));
    let same = api.put(SECRET, written.clone()).await.expect(200).body;
    assert_eq!(version(&same), version(&written));
}
