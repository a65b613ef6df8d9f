//! APIServices of what this server serves itself, and those that take it over.

use serde_json::{Value, json};

use super::common::Api;
use super::extension::Extension;
use super::{FLUNDERS, GROUP, NAME, SERVICES, ask_until, lead_to, registration, until};

/// A definition of flunders, as a controller has accepted it.
async fn define(api: &Api) {
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let names =
        json!({"plural": "flunders", "singular": "flunder", "kind": "Flunder", "listKind": "FlunderList"});
    let definition = json!({
        "metadata": {"name": format!("flunders.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": names,
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema}],
        },
    });
    api.post(definitions, definition).await.expect(201);
    let conditions: Vec<Value> = ["NamesAccepted", "Established"]
        .iter()
        .map(|name| json!({"type": name, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
        .collect();
    let status = json!({"status": {"acceptedNames": names, "conditions": conditions}});
    api.merge(&format!("{definitions}/flunders.{GROUP}/status"), status).await.expect(200);
}

#[tokio::test]
async fn built_in_versions_are_registered() {
    let api = Api::start().await;
    let list = api.get(SERVICES).await.expect(200);
    let names = list.names();
    assert!(names.contains(&"v1.") && names.contains(&"v1.rbac.authorization.k8s.io"), "{names:?}");
    assert!(!names.contains(&"v1.apiregistration.k8s.io"), "{names:?}");
    let core = api.get(&format!("{SERVICES}/v1.")).await.expect(200).body;
    assert_eq!(core["metadata"]["labels"], json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"}));
    assert_eq!(core["spec"], json!({"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}));
    let condition = &core["status"]["conditions"][0];
    assert_eq!(condition["message"], "Local APIServices are always available");
    let table = api.get_as(&format!("{SERVICES}/v1."), "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table.body["rows"][0]["cells"].as_array().unwrap()[..3], ["v1.", "Local", "True"]);
}

#[tokio::test]
async fn custom_versions_are_registered_as_long_as_they_are_defined() {
    let api = Api::start().await;
    define(&api).await;
    let message = until(&api, NAME, "Local").await;
    assert_eq!(message, "Local APIServices are always available");
    let service = api.get(&format!("{SERVICES}/{NAME}")).await.expect(200).body;
    assert_eq!(service["metadata"]["labels"], json!({"kube-aggregator.kubernetes.io/automanaged": "true"}));
    assert_eq!(
        (&service["spec"]["groupPriorityMinimum"], &service["spec"]["versionPriority"]),
        (&json!(1000), &json!(100))
    );
    assert_eq!(service["metadata"]["managedFields"][0]["manager"], "kube-apiserver");
    // It is put right whatever users do.
    api.merge(&format!("{SERVICES}/{NAME}"), json!({"spec": {"versionPriority": 7}})).await.expect(200);
    let is_right = |service: &Value| service["spec"]["versionPriority"] == 100;
    ask_until(&api, &format!("{SERVICES}/{NAME}"), "application/json", is_right).await;
    api.delete(&format!("{SERVICES}/{NAME}"), json!(null)).await.expect(200);
    until(&api, NAME, "Local").await;
    api.delete(
        &format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/flunders.{GROUP}"),
        json!(null),
    )
    .await
    .expect(200);
    let finalizers = json!({"metadata": {"finalizers": null}});
    api.merge(
        &format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/flunders.{GROUP}"),
        finalizers,
    )
    .await;
    let is_gone = |service: &Value| service["reason"] == "NotFound";
    ask_until(&api, &format!("{SERVICES}/{NAME}"), "application/json", is_gone).await;
}

#[tokio::test]
async fn whoever_registers_a_version_first_serves_it() {
    let api = Api::start().await;
    let extension = Extension::start(api.pki.front_proxy_ca_pem()).await;
    lead_to(&api, &extension).await;
    api.post(SERVICES, registration("v1alpha1", &extension)).await.expect(201);
    until(&api, NAME, "Passed").await;
    define(&api).await;
    // The definition's kind is known, and does not come into it.
    let mut other = registration("v1beta1", &extension);
    other["spec"]["service"] = json!(null);
    other["spec"]["caBundle"] = json!(null);
    api.post(SERVICES, other).await.expect(201);
    until(&api, "v1beta1.wardle.example.com", "Local").await;
    assert_eq!(api.get(FLUNDERS).await.expect(200).body, json!({"kind": "FlunderList"}));
    let document =
        api.get_as("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").await;
    let groups = document.body["items"].as_array().unwrap().clone();
    let group = groups.iter().find(|group| group["metadata"]["name"] == GROUP).unwrap();
    assert_eq!(group["versions"].as_array().unwrap().len(), 1, "{group}");
    // Without the APIService the definition counts.
    api.delete(&format!("{SERVICES}/{NAME}"), json!(null)).await.expect(200);
    let is_custom = |list: &Value| list["items"].is_array();
    ask_until(&api, FLUNDERS, "application/json", is_custom).await;
    until(&api, NAME, "Local").await;
}

#[tokio::test]
async fn nobody_takes_over_the_group_of_api_services() {
    let api = Api::start().await;
    let extension = Extension::start(api.pki.front_proxy_ca_pem()).await;
    let mut service = registration("v1", &extension);
    service["metadata"]["name"] = json!("v1.apiregistration.k8s.io");
    service["spec"]["group"] = json!("apiregistration.k8s.io");
    api.post(SERVICES, service).await.expect(201);
    define(&api).await;
    until(&api, NAME, "Local").await;
    api.get(SERVICES).await.expect(200);
}
