//! A control plane in process: the real API server over a real store, its authorisation included, with controllers.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use skiff_apiserver::testing::TestServer;
use skiff_apiserver::{ApiServer, UserInfo};
use skiff_controllers::ControllersConfig;
use skiff_identity::CertificateRequest;
use skiff_informer::Vitals;
use skiff_pki::Pki;
use tokio_util::sync::{CancellationToken, DropGuard};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Signs with the test's authority.
struct Authority(Arc<Pki>);

impl Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl skiff_controllers::Signer for Authority {
    fn sign(
        &self,
        request: &CertificateRequest,
        usages: &[String],
        life: SignedDuration,
    ) -> Result<String, String> {
        self.0.sign_request(request, usages, life).map_err(|error| error.to_string())
    }
}

pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
    _stop: DropGuard,
    _test: TestServer,
}

impl Cluster {
    /// The API server alone.
    pub(crate) async fn bare() -> Self {
        let test = TestServer::start([192, 0, 2, 1]).await;
        let shutdown = CancellationToken::new();
        let client = test.server.client(UserInfo::api_server());
        let stop = shutdown.clone().drop_guard();
        Self { server: test.server.clone(), client, shutdown, _stop: stop, _test: test }
    }

    /// The API server with every controller.
    pub(crate) async fn start() -> Self {
        let cluster = Self::bare().await;
        let config = ControllersConfig {
            root_ca_pem: "the CA".into(),
            pod_cidr: "10.244.0.0/16".parse().unwrap(),
            node_prefix: 24,
            apiserver: "192.0.2.1:6443".parse().unwrap(),
            kubernetes_service_ip: IpAddr::from([10, 96, 0, 1]),
            signer: Some(Arc::new(Authority(cluster._test.pki.clone()))),
        };
        let (server, shutdown) = (cluster.server.clone(), cluster.shutdown.clone());
        let kinds = server.kinds();
        let client_for = move |name: &str| {
            let identity = skiff_controllers::identity(name);
            server.client(UserInfo::authenticated(identity.user, identity.groups))
        };
        tokio::spawn(async move {
            skiff_controllers::run(client_for, config, kinds, Vitals::default(), shutdown).await.unwrap()
        });
        // Pods need their account.
        cluster.until::<k8s_openapi::api::core::v1::ServiceAccount>("default", |all| !all.is_empty()).await;
        cluster
    }

    pub(crate) fn scheduler(&self) {
        tokio::spawn(skiff_scheduler::run(
            self.server.client(UserInfo::scheduler()),
            Vitals::default(),
            self.shutdown.clone(),
        ));
    }

    /// How many requests the API server has answered, by verb and resource; its subresources are counted with it.
    pub(crate) async fn requests(&self, verb: &str, resource: &str) -> u64 {
        let request = kube::core::Request::new("").get("metrics", &Default::default()).unwrap();
        let metrics = self.client.request_text(request).await.unwrap();
        let counter = format!("apiserver_request_total{{verb=\"{verb}\",resource=\"{resource}\",");
        let counters = metrics.lines().filter(|line| line.starts_with(&counter));
        counters.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    pub(crate) fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    pub(crate) fn in_default<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a namespaced object in `default`.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.in_default().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Waits until the objects of a kind in `namespace` satisfy `holds`, and returns them ordered by name.
    pub(crate) async fn until<K>(&self, namespace: &str, holds: impl Fn(&[K]) -> bool) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        until(Api::namespaced(self.client.clone(), namespace), holds).await
    }

    /// Creates a node that is ready and offers 4 CPUs.
    pub(crate) async fn add_node(&self, name: &str) {
        let node = json!({"metadata": {"name": name}});
        let nodes = self.all::<k8s_openapi::api::core::v1::Node>();
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok",
                            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        }});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// Lets a pod run at `address` on `node`, as a node agent would.
    pub(crate) async fn run_pod(&self, name: &str, address: &str, ready: bool) {
        let status = json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" },
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        self.in_default::<Pod>()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    }
}

/// Waits until the objects that `api` lists satisfy `holds`, and returns them ordered by name.
pub(crate) async fn until<K>(api: Api<K>, holds: impl Fn(&[K]) -> bool) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let seen = std::sync::Mutex::new(Vec::new());
    let watching = async {
        let mut objects = std::collections::BTreeMap::<String, K>::new();
        let mut events = watcher(api, watcher::Config::default()).boxed();
        let mut listed = false;
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                Event::Init => objects.clear(),
                Event::InitApply(object) | Event::Apply(object) => {
                    objects.insert(object.meta().name.clone().unwrap_or_default(), object);
                }
                Event::Delete(object) => drop(objects.remove(object.meta().name.as_deref().unwrap_or(""))),
                Event::InitDone => listed = true,
            }
            let all: Vec<K> = objects.values().cloned().collect();
            *seen.lock().unwrap() = all.clone();
            if listed && holds(&all) {
                return all;
            }
        }
        panic!("the watch ended");
    };
    match tokio::time::timeout(PATIENCE, watching).await {
        Ok(objects) => objects,
        Err(_) => panic!("waited too long; seen last: {:#?}", seen.lock().unwrap()),
    }
}

pub(crate) fn pod(name: &str, app: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": "luksa/kubia",
                                 "ports": [{"name": "web", "containerPort": 8080}]}]},
    })
}

pub(crate) fn replication_controller(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"app": name}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "luksa/kubia"}]},
        }},
    })
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "web"}]},
    })
}
