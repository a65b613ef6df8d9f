//! A custom resource: its definition, and objects of it.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Config};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::connection::Connection;
use super::creates::Created;

const DEFINITION: &str = include_str!("widgets.yaml");
const NAME: &str = "widgets.bench.example.com";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Where they are created.
pub(super) const WIDGETS: &str = "/apis/bench.example.com/v1/namespaces/default/widgets";

/// Makes the definition and waits until objects of it can be created.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut connection = Connection::new(&Config::infer().await?).await?;
    let request = Request::post(DEFINITIONS).header(CONTENT_TYPE, "application/yaml");
    let answer = connection.begin(request, Bytes::from_static(DEFINITION.as_bytes()), StatusCode::CREATED);
    answer.await?.into_body().collect().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(super::client().await?);
    await_condition(definitions, NAME, conditions::is_crd_established()).await?;
    // kube-apiserver serves it a little later than it says so.
    let connection = Mutex::new(connection);
    let serves = || async {
        Created::Widget.create(&mut *connection.lock().await, "first").await?;
        Ok(true)
    };
    super::until("a custom resource is created", serves).await?;
    super::print(&json!({}));
    Ok(())
}

/// An object that uses most of the schema, of about 1.5 KB.
pub(super) fn widget(name: &str) -> Value {
    let probe = json!({"path": "/ready", "port": 8080});
    let container = |name: &str| {
        json!({
            "name": name, "command": ["/bin/server", "--config=/etc/server.yaml"],
            "ports": [{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}],
            "env": [{"name": "LEVEL", "value": "info"}, {"name": "REGION", "value": "eu-central-1"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "livenessProbe": probe, "readinessProbe": probe,
        })
    };
    json!({
        "apiVersion": "bench.example.com/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": {
            "image": "registry.example.com/team/server:v1.2.3", "replicas": 3,
            "containers": [container("server"), container("sidecar")],
            "storage": {"className": "fast", "accessModes": ["ReadWriteOnce"]},
            "backup": {"schedule": "0 3 * * *", "target": {"bucket": "backups", "region": "eu-central-1"}},
            "service": {"annotations": {"example.com/team": "bench"}}, "tls": {"secretName": "server-tls"},
            "tolerations": [{"key": "dedicated", "value": "servers", "effect": "NoSchedule"}],
            "parameters": {"max_connections": "200", "shared_buffers": "128MB", "work_mem": "4MB"},
        },
    })
}
