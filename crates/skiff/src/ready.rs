//! Waiting until pods can run: the node is Ready, the cluster's DNS answers, and pods reach each other, the DNS and the API.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::core::v1::{Node, Pod, ReplicationController};
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use skiff_apiserver::pki::kubeconfig::{self, ContextEntry};
use skiff_podnet::NodeNetwork;
use skiff_proxy::Health;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connections::{self, Cut, Prober, Way};
use crate::layout::Layout;
use crate::progress::Progress;
use crate::timeline::Timeline;
use crate::{addons, dns_pod};

/// How long a cluster may take to be ready; the first start on a slow disk is the longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the proxy may take to put a Service that is refused into the kernel.
const CHANGE: Duration = Duration::from_millis(500);
/// How often a connection may be refused before the kernel is asked who does it.
const REFUSALS: usize = 4;

/// A starting cluster.
pub(crate) struct Starting<'a> {
    /// With an administrator's rights.
    pub(crate) client: &'a Client,
    pub(crate) layout: &'a Layout,
    pub(crate) node_name: &'a str,
    /// ClusterIPs of the API server and the DNS.
    pub(crate) api: Ipv4Addr,
    pub(crate) dns: Ipv4Addr,
    /// Tells when the kernel's table of Services has changed.
    pub(crate) proxy: watch::Receiver<Health>,
    pub(crate) progress: &'a Progress,
    pub(crate) timeline: &'a Timeline,
}

impl Starting<'_> {
    /// Waits until pods can run, or says why they cannot.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        self.progress.step("waiting for the node to be Ready");
        let node = self.node_ready().await?;
        self.timeline.pass("nodeReady");
        self.progress.step("waiting for the cluster's DNS");
        let prober = self.prober(node_network(&node)?).await?;
        tokio::select! {
            // What cuts the DNS pod off also keeps it from ever being ready.
            cut = self.api_is_cut(&prober) => return Err(cut),
            ready = self.dns_ready() => ready?,
        }
        self.timeline.pass("dnsReady");
        self.open(&prober, async || self.dns_ways().await).await?;
        self.timeline.pass("dnsAnswers");
        Ok(())
    }

    /// After a restart the Node may still tell of an earlier run, while this one makes its network.
    async fn prober(&self, network: NodeNetwork) -> anyhow::Result<Prober> {
        let (mut proxy, end) = (self.proxy.clone(), Instant::now() + PATIENCE);
        loop {
            match Prober::new(network.clone(), self.layout.run()).await {
                Err(error) if Instant::now() < end => {
                    tracing::debug!("the pod network is not there yet: {error:#}");
                    drop(timeout(CHANGE, proxy.changed()).await);
                }
                made => return made,
            }
        }
    }

    async fn node_ready(&self) -> anyhow::Result<Node> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let ready = timeout(PATIENCE, await_condition(nodes.clone(), self.node_name, node_is_ready())).await;
        let Ok(ready) = ready else {
            let node = nodes.get_opt(self.node_name).await?;
            let why = node.as_ref().and_then(not_ready).unwrap_or_else(|| "it has not registered".to_owned());
            bail!("the node is not Ready after {} s: {why}", PATIENCE.as_secs());
        };
        let node = ready?.context("the node was deleted")?;
        // A node may not give itself a role; whoever runs the control plane may.
        let role = serde_json::json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(role));
        nodes.patch(self.node_name, &params, &patch).await.context("label the node")?;
        Ok(node)
    }

    async fn dns_ready(&self) -> anyhow::Result<()> {
        let controllers: Api<ReplicationController> = Api::namespaced(self.client.clone(), addons::NAMESPACE);
        match timeout(PATIENCE, await_condition(controllers, addons::DNS, has_ready_pod())).await {
            Ok(result) => Ok(result.map(drop)?),
            Err(_late) => Err(self.dns_is_late().await),
        }
    }

    /// Tells all that is known about the DNS pod.
    async fn dns_is_late(&self) -> anyhow::Error {
        for line in dns_pod::explain(self.client, self.layout.data()).await {
            self.progress.remark(&line);
        }
        anyhow!("the DNS pod is not ready after {} s", PATIENCE.as_secs())
    }

    /// Returns when something keeps pods from the API server, and never otherwise.
    async fn api_is_cut(&self, prober: &Prober) -> anyhow::Error {
        let mut proxy = self.proxy.clone();
        let ways = async || Ok(connections::to_api(self.api));
        if proxy.wait_for(|health| health.synced).await.is_ok()
            && let Err(error) = self.open(prober, ways).await
        {
            return error;
        }
        std::future::pending().await // the proxy's end, and the patience of others, end the wait
    }

    /// Ways to the DNS pod; none while it does not run. After a restart its controller may still tell of an earlier one.
    async fn dns_ways(&self) -> anyhow::Result<Vec<Way>> {
        let pod = dns_pod_ip(self.client).await?;
        Ok(pod.map(|pod| connections::to_dns(self.dns, pod)).unwrap_or_default())
    }

    /// Waits until all ways are open. The kernel refuses until the proxy has put what is behind an address into it, so a
    /// refused connection is tried again when that has changed something.
    async fn open(
        &self,
        prober: &Prober,
        ways: impl AsyncFn() -> anyhow::Result<Vec<Way>>,
    ) -> anyhow::Result<()> {
        let (mut proxy, end) = (self.proxy.clone(), Instant::now() + PATIENCE);
        let mut refusals = 0;
        loop {
            proxy.mark_unchanged();
            let ways = ways().await?;
            let failing = prober.failing(&ways).await;
            if failing.is_empty() && !ways.is_empty() {
                return Ok(());
            }
            let late = Instant::now() >= end;
            if late && ways.is_empty() {
                return Err(self.dns_is_late().await);
            }
            let is_refused = |(_, error): &(Way, io::Error)| error.kind() == io::ErrorKind::ConnectionRefused;
            if !late && failing.iter().all(is_refused) {
                // Whether it changed or the time is up, the next attempt tells.
                drop(timeout(CHANGE, proxy.changed()).await);
                refusals += 1;
                if refusals < REFUSALS || failing.is_empty() {
                    continue;
                }
            }
            let cut = prober.look_into(failing.into_iter().map(|(way, _)| way)).await?;
            if late || cut.iter().any(Cut::has_remedy) {
                return Err(cut_off(&cut));
            }
        }
    }
}

fn cut_off(cut: &[Cut]) -> anyhow::Error {
    let lines = connections::lines(cut).join("\n  ");
    anyhow!("connections that a cluster needs do not work\n  {lines}")
}

/// The network of a node, as its object and the cluster's fixed ranges tell it.
pub(crate) fn node_network(node: &Node) -> anyhow::Result<NodeNetwork> {
    let spec = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref());
    let pod_cidr = spec.context("the node has no pod CIDR yet")?.parse().context("the node's pod CIDR")?;
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let internal = addresses.iter().find(|address| address.type_ == "InternalIP");
    let node_ip: Ipv4Addr = internal.context("the node has no address yet")?.address.parse()?;
    let cluster = skiff_apiserver::ClusterConfig::new(node_ip.into());
    Ok(NodeNetwork {
        pod_cidr,
        cluster_cidr: cluster.pod_cidr.to_string().parse()?,
        service_cidr: cluster.service_cidr.to_string().parse()?,
        node_ip,
    })
}

/// The address of a DNS pod that runs; none when there is none.
pub(crate) async fn dns_pod_ip(client: &Client) -> anyhow::Result<Option<Ipv4Addr>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), addons::NAMESPACE);
    let ours = ListParams::default().labels(&format!("k8s-app={}", addons::DNS));
    let pods = pods.list(&ours).await.context("list the DNS pods")?;
    let address = |pod: &Pod| {
        let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Running"))?;
        pod.metadata.deletion_timestamp.is_none().then(|| status.pod_ip.as_ref()?.parse().ok())?
    };
    Ok(pods.iter().find_map(address))
}

fn node_is_ready() -> impl Condition<Node> {
    |node: Option<&Node>| node.is_some_and(|node| not_ready(node).is_none())
}

/// Why a node is not Ready; nothing when it is.
pub(crate) fn not_ready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let Some(ready) = conditions.iter().find(|condition| condition.type_ == "Ready") else {
        return Some("it has not reported".to_owned());
    };
    let words = [&ready.reason, &ready.message].map(|word| word.clone().unwrap_or_default());
    (ready.status != "True").then(|| words.join(": "))
}

fn has_ready_pod() -> impl Condition<ReplicationController> {
    |controller: Option<&ReplicationController>| {
        controller.and_then(|c| c.status.as_ref()?.ready_replicas).is_some_and(|ready| ready > 0)
    }
}

/// A client with a context's credentials.
pub(crate) async fn client_of(entry: &ContextEntry) -> anyhow::Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&kubeconfig::render(entry))?;
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
