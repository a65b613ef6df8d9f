//! Versions that another part of the program serves.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use skiff_apiserver::{Asked, Extension as Part, UserInfo};
use skiff_machinery::GroupVersion;

use super::common::{Api, read};
use super::extension::Extension;
use super::{SERVICES, ask_until, lead_to, until};

const NAME: &str = "v1beta1.metrics.k8s.io";
const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Whether aggregated discovery has the resource of [`Told`].
fn has(document: &Value) -> bool {
    let mut groups = document["items"].as_array().into_iter().flatten();
    let group = groups.find(|group| group["metadata"]["name"] == "metrics.k8s.io");
    group.is_some_and(|group| group["versions"][0]["resources"][0]["responseKind"]["kind"] == "NodeMetrics")
}

/// Tells what it was asked.
struct Told;

impl Part for Told {
    fn version(&self) -> GroupVersion {
        GroupVersion::fixed("metrics.k8s.io", "v1beta1")
    }

    fn answer<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, (StatusCode, Value)> {
        let resources = json!({"resources": [
            {"name": "nodes", "singularName": "", "namespaced": false, "kind": "NodeMetrics", "verbs": ["get", "list"]}]});
        let told = json!({"kind": "Told", "path": asked.path, "query": asked.query, "accept": asked.accept});
        let is_list = asked.path.ends_with("/v1beta1");
        async move { (StatusCode::OK, if is_list { resources } else { told }) }.boxed()
    }
}

#[tokio::test]
async fn a_part_of_the_program_is_asked_behind_the_same_rights() {
    let api = Api::with_extension(Arc::new(Told)).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let told = api.get_as(&format!("{NODES}?labelSelector=a"), accept).await.expect(200);
    let expected = json!({"kind": "Told", "path": NODES, "query": "labelSelector=a", "accept": accept});
    assert_eq!(told.body, expected);
    let nobody = UserInfo::authenticated("nobody", []);
    let request = Request::builder().uri(NODES).body(Full::default()).unwrap();
    let refused = read(api.open(nobody, request).await).await.expect(403);
    assert!(
        refused.message().contains(r#"cannot list resource "nodes" in API group "metrics.k8s.io""#),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn it_is_told_of_like_any_version_and_can_be_taken_over() {
    let api = Api::with_extension(Arc::new(Told)).await;
    let first = api.get_as("/apis", AGGREGATED).await.expect(200).body;
    assert!(has(&first), "clients keep the first answer: {first}");
    let service = api.get(&format!("{SERVICES}/{NAME}")).await.expect(200).body;
    assert_eq!(service["spec"]["groupPriorityMinimum"], 100);
    let condition = &service["status"]["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("Local")));
    let of_version = api.get("/apis/metrics.k8s.io/v1beta1").await.expect(200).body;
    assert_eq!(of_version["resources"][0]["name"], "nodes");

    // A server of the user's own, which does not know the version.
    let extension = Extension::start(api.pki.front_proxy_ca_pem()).await;
    lead_to(&api, &extension).await;
    let theirs =
        json!({"spec": {"service": {"name": "ext", "namespace": "default"}, "caBundle": extension.ca}});
    api.merge(&format!("{SERVICES}/{NAME}"), theirs).await.expect(200);
    until(&api, NAME, "FailedDiscoveryCheck").await;
    let theirs = api.get(NODES).await;
    assert!(!theirs.status.is_success() && theirs.body.is_null(), "{}", theirs.text);
    api.merge(&format!("{SERVICES}/{NAME}"), json!({"spec": {"service": null, "caBundle": null}}))
        .await
        .expect(200);
    ask_until(&api, NODES, "application/json", |told| told["kind"] == "Told").await;
}
