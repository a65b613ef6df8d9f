//! Waiting until pods can run: the node is Ready and the cluster's DNS answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::{Node, ReplicationController};
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use skiff_apiserver::pki::kubeconfig::{self, ContextEntry};
use skiff_proxy::Health;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::addons;
use crate::progress::Progress;
use crate::timeline::Timeline;

/// How long a cluster may take to be ready; the first start on a slow disk is the longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one question to the DNS may take.
const ANSWER: Duration = Duration::from_millis(500);
const QUESTIONS: usize = 20;

/// `kubernetes.default.svc.cluster.local. IN A`, number 0x5346, recursion desired.
const QUESTION: &[u8] = b"\x53\x46\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";

/// Waits for the node and the DNS.
pub(crate) async fn wait(
    client: &Client,
    node: &str,
    dns: SocketAddr,
    proxy: watch::Receiver<Health>,
    progress: &Progress,
    timeline: &Timeline,
) -> anyhow::Result<()> {
    progress.step("waiting for the node to be Ready");
    let nodes: Api<Node> = Api::all(client.clone());
    bounded("the node is not Ready", await_condition(nodes.clone(), node, node_is_ready()))
        .await?
        .context("the node was deleted")?;
    timeline.pass("nodeReady");
    // A node may not give itself a role; whoever runs the control plane may.
    let role = serde_json::json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    nodes.patch(node, &PatchParams::default(), &Patch::Merge(role)).await.context("label the node")?;
    progress.step("waiting for the cluster's DNS");
    let controllers: Api<ReplicationController> = Api::namespaced(client.clone(), addons::NAMESPACE);
    bounded("the DNS pod is not ready", await_condition(controllers, addons::DNS, has_ready_pod())).await?;
    timeline.pass("dnsReady");
    ask(dns, proxy).await?;
    timeline.pass("dnsAnswers");
    Ok(())
}

async fn bounded<T, E>(what: &str, event: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match timeout(PATIENCE, event).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(anyhow!(
            "{what} after {} s; `skiff status` and the server's log say more",
            PATIENCE.as_secs()
        )),
    }
}

fn node_is_ready() -> impl Condition<Node> {
    |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|list| list.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    }
}

fn has_ready_pod() -> impl Condition<ReplicationController> {
    |controller: Option<&ReplicationController>| {
        controller.and_then(|c| c.status.as_ref()?.ready_replicas).is_some_and(|ready| ready > 0)
    }
}

/// Asks the DNS through its Service address. The kernel refuses until the proxy has put the pod behind the address,
/// so a question that fails is asked again when the proxy has changed the kernel's table.
async fn ask(dns: SocketAddr, mut proxy: watch::Receiver<Health>) -> anyhow::Result<()> {
    for _ in 0..QUESTIONS {
        proxy.mark_unchanged();
        match timeout(ANSWER, exchange(dns)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the DNS address does not answer yet");
                // Whether it changed or the time is up, the next question tells.
                drop(timeout(ANSWER, proxy.changed()).await);
            }
            Err(_) => tracing::debug!("no answer from the DNS yet"),
        }
    }
    Err(anyhow!("the cluster's DNS does not answer at {dns}"))
}

async fn exchange(dns: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(dns).await?;
    socket.send(QUESTION).await?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await?;
    if length > 12 && answer[..2] == QUESTION[..2] {
        return Ok(());
    }
    Err(std::io::Error::other("the answer is to another question"))
}

/// A client with a context's credentials.
pub(crate) async fn client_of(entry: &ContextEntry) -> anyhow::Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&kubeconfig::render(entry))?;
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
