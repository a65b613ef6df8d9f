//! Who calls webhooks: the users of the kubeconfigs of their plugins.

use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};
use skiff_apiserver::{PluginConfiguration, PluginNames, Plugins};

use super::common::Api;
use super::common::hook::{Caller, Hook};
use super::{MAPS, answer, mutate, validate};

/// An AdmissionConfiguration that gives both plugins of webhooks a kubeconfig, each its own users.
fn with_kubeconfigs(dir: &Path, mutating: &Value, validating: &Value) -> Plugins {
    let mut plugins = Vec::new();
    for (name, users) in [("MutatingAdmissionWebhook", mutating), ("ValidatingAdmissionWebhook", validating)]
    {
        let file = dir.join(format!("{name}.yaml"));
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "users": users});
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let configuration = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": file,
        });
        plugins.push(json!({"name": name, "configuration": configuration}));
    }
    let whole = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins,
    });
    let file = dir.join("admission.yaml");
    std::fs::write(&file, whole.to_string()).unwrap();
    let none = PluginNames::default();
    Plugins::new(&none, &none, PluginConfiguration::read(&file).unwrap()).unwrap()
}

#[tokio::test]
async fn webhooks_are_shown_the_users_of_their_plugins() {
    let hook = Hook::start(|review| answer(review, json!({"allowed": true}))).await;
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = &hook.client_identity;
    std::fs::write(dir.path().join("token"), "first\n").unwrap();
    std::fs::write(dir.path().join("client.pem"), certificate).unwrap();
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    // Files are beside the kubeconfig that names them.
    let by_files = json!({"client-certificate": "client.pem", "client-key": "key.pem", "tokenFile": "token"});
    let mutating = json!([
        {"name": hook.address.to_string(), "user": by_files}, {"name": "*", "user": {"token": "other"}},
    ]);
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let by_data = json!({
        "client-certificate-data": encode(certificate), "client-key-data": encode(key), "username": "u", "password": "p",
    });
    let validating = json!([{"name": "*", "user": by_data}]);
    let api = Api::with(with_kubeconfigs(dir.path(), &mutating, &validating)).await;
    mutate(&api, &hook.client(), json!({})).await;
    validate(&api, &hook.client(), json!({})).await;
    let make = async |name: &str| {
        let object = json!({"metadata": {"name": name}});
        api.post(MAPS, object).await.expect(201);
        hook.callers()
    };
    let caller = |said: &str| Caller { authorization: Some(said.to_owned()), has_certificate: true };
    let basic = format!("Basic {}", encode("u:p"));
    assert_eq!(make("a").await, [caller("Bearer first"), caller(&basic)]);
    // A token that is replaced counts from the next call on.
    std::fs::write(dir.path().join("token"), "second").unwrap();
    assert_eq!(make("b").await, [caller("Bearer second"), caller(&basic)]);
    std::fs::remove_file(dir.path().join("token")).unwrap();
    let refused = api.post(MAPS, json!({"metadata": {"name": "c"}})).await;
    assert!(
        refused.expect(500).message().contains("token: No such file"),
        "nobody is called as somebody else"
    );
}

#[tokio::test]
async fn without_a_kubeconfig_webhooks_are_shown_nothing() {
    let hook = Hook::start(|review| answer(review, json!({"allowed": true}))).await;
    let api = Api::start().await;
    validate(&api, &hook.client(), json!({})).await;
    api.post(MAPS, json!({"metadata": {"name": "a"}})).await.expect(201);
    assert_eq!(hook.callers(), [Caller { authorization: None, has_certificate: false }]);
}
