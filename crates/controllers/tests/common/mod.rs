//! A control plane in process: the real API server over a real store, its authorisation included, with controllers.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::fmt::Debug;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
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
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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

/// Signs tokens as the server does.
struct Tokens(ApiServer);

impl Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl skiff_controllers::TokenSigner for Tokens {
    fn sign(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String> {
        self.0.secret_token(namespace, account, uid, secret).map_err(|error| error.to_string())
    }
}

pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
    scheduled: AtomicBool,
    _stop: DropGuard,
    _test: TestServer,
}

/// The program, and whom it asks.
pub(crate) struct Kubectl {
    config: PathBuf,
}

impl Kubectl {
    /// Runs it with these arguments, and returns what it says.
    pub(crate) async fn run(&self, arguments: &str) -> String {
        self.with_input(arguments, String::new()).await
    }

    /// Creates an object.
    pub(crate) async fn create(&self, object: &Value) {
        self.with_input("create -f -", object.to_string()).await;
    }

    async fn with_input(&self, arguments: &str, input: String) -> String {
        let program = std::env::var_os("SKIFF_TEST_KUBECTL_NEW").unwrap_or_else(|| "kubectl".into());
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(&self.config).args(arguments.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "kubectl {arguments}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }
}

/// Whether the pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Does for one pod what [`Cluster::agent`] says. That the pod is gone, or changed meanwhile, is no matter: what comes of that
/// is seen again.
async fn attend(client: Client, pod: Pod) {
    let (namespace, name) =
        (pod.metadata.namespace.as_deref().unwrap_or(""), pod.metadata.name.as_deref().unwrap_or(""));
    let pods = Api::<Pod>::namespaced(client, namespace);
    if pod.metadata.deletion_timestamp.is_some() {
        drop(pods.delete(name, &DeleteParams::default().grace_period(0)).await);
    } else if !is_ready(&pod) {
        let status = json!({"status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": jiff::Timestamp::now().to_string()}],
        }});
        drop(pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await);
    }
}

impl Cluster {
    /// The API server alone.
    pub(crate) async fn bare() -> Self {
        let test = TestServer::start([192, 0, 2, 1]).await;
        let shutdown = CancellationToken::new();
        let client = test.server.client(UserInfo::api_server(), "test");
        let stop = shutdown.clone().drop_guard();
        Self {
            server: test.server.clone(),
            client,
            shutdown,
            scheduled: AtomicBool::new(false),
            _stop: stop,
            _test: test,
        }
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
            tokens: Some(Arc::new(Tokens(cluster._test.server.clone()))),
            bootstrap_tokens: true,
        };
        let (server, shutdown) = (cluster.server.clone(), cluster.shutdown.clone());
        let kinds = server.kinds();
        let client_for = move |name: &str| {
            let identity = skiff_controllers::identity(name);
            server.client(UserInfo::authenticated(identity.user, identity.groups), identity.agent)
        };
        tokio::spawn(async move {
            skiff_controllers::run(client_for, config, kinds, Vitals::default(), shutdown).await.unwrap()
        });
        // Pods need their account.
        cluster.until::<k8s_openapi::api::core::v1::ServiceAccount>("default", |all| !all.is_empty()).await;
        cluster
    }

    pub(crate) fn scheduler(&self) {
        self.scheduled.store(true, Ordering::Relaxed);
        tokio::spawn(skiff_scheduler::run(
            self.server.client(UserInfo::scheduler(), "kube-scheduler"),
            skiff_scheduler::Configuration::default(),
            Vitals::default(),
            self.shutdown.clone(),
        ));
    }

    /// How many requests the API server has answered, by verb and resource; its subresources are counted with it.
    pub(crate) async fn requests(&self, verb: &str, resource: &str) -> u64 {
        let request = kube::core::Request::new("").get("metrics", &Default::default()).unwrap();
        let metrics = self.client.request_text(request).await.unwrap();
        let (verb, resource) = (format!("{{verb=\"{verb}\","), format!(",resource=\"{resource}\","));
        let counters = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total") && line.contains(&verb) && line.contains(&resource)
        });
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

    /// Lets every pod run and be ready as soon as it may, and end as soon as it is to: on its node, if there is a scheduler. As a
    /// node agent would, but for the work.
    pub(crate) fn agent(&self) {
        let pods: Api<Pod> = self.all();
        let client = self.client.clone();
        let needs_node = self.scheduled.load(Ordering::Relaxed);
        tokio::spawn(async move {
            let mut events = watcher(pods, watcher::Config::default()).applied_objects().boxed();
            while let Some(Ok(pod)) = events.next().await {
                let waits = needs_node && pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none());
                if !waits {
                    tokio::spawn(attend(client.clone(), pod));
                }
            }
        });
    }

    /// `kubectl` for the administrator of this cluster, which from now on listens on the loopback.
    pub(crate) async fn kubectl(&self) -> Kubectl {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(self.server.clone().serve(listener, self.shutdown.clone()));
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kubeconfig-{port}"));
        let config = self._test.pki.kubeconfig(&format!("https://127.0.0.1:{port}"), "test");
        std::fs::write(&file, config).unwrap();
        Kubectl { config: file }
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
