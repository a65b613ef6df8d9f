//! Waiting until pods can run: the node is Ready, the cluster's DNS answers, pods reach each other, the DNS and the API, and the
//! namespace `default` has what every pod in it needs.

use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Node, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use skiff_informer::{Tolerant, watch_objects, watch_objects_of};
use skiff_podnet::NodeNetwork;
use skiff_proxy::Health;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connections::{self, Cut, Prober, Way};
use crate::dns_pod::{self, Outlook};
use crate::layout::Layout;
use crate::progress::Progress;
use crate::timeline::Timeline;

/// How long a cluster may take to be ready; the first start on a slow disk is the longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long pods may be in a state out of which they hardly come by themselves. What would get them out of it (the scheduler
/// after the Node's last change, a controller that replaces a pod) takes less.
const STUCK: Duration = Duration::from_secs(5);

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
    /// Tells when this run's network of pods is there, and its Node reported.
    pub(crate) agent: watch::Receiver<bool>,
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
        let prober = Prober::new(node_network(&node)?, self.layout.run()).await?;
        tokio::select! {
            // What cuts the DNS pod off also keeps it from ever being ready.
            cut = self.api_is_cut(&prober) => return Err(cut),
            ready = self.dns_ready() => drop(ready?),
        }
        self.timeline.pass("dnsReady");
        // The pod that is ready may be one of an earlier run, which is about to be replaced.
        let ways = async || Ok(connections::to_dns(self.dns, self.dns_ready().await?));
        self.open(&prober, ways).await?;
        self.timeline.pass("dnsAnswers");
        self.namespace_furnished().await
    }

    /// Waits for what controllers put into every namespace, in `default`: whoever hears that the cluster is up may create pods
    /// there. It mostly is there long before the DNS is.
    async fn namespace_furnished(&self) -> anyhow::Result<()> {
        let account = made::<ServiceAccount>(self.client, "default");
        let map = made::<ConfigMap>(self.client, "kube-root-ca.crt");
        match timeout(PATIENCE, async { tokio::try_join!(account, map) }).await {
            Ok(made) => made.map(drop),
            Err(_) => bail!(
                "namespace default has no ServiceAccount default or no ConfigMap kube-root-ca.crt after {} s",
                PATIENCE.as_secs()
            ),
        }
    }

    async fn node_ready(&self) -> anyhow::Result<Node> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut agent = self.agent.clone();
        let ready = timeout(PATIENCE, async {
            // Until then the Node may tell of an earlier run, as ready and with a network that is yet to be made.
            agent.wait_for(|ready| *ready).await.context("the node agent has ended")?;
            ready_node(nodes.clone(), self.node_name).await
        });
        let Ok(ready) = ready.await else {
            let node = nodes.get_opt(self.node_name).await?;
            let why = node.as_ref().and_then(not_ready).unwrap_or_else(|| "it has not registered".to_owned());
            bail!("the node is not Ready after {} s: {why}", PATIENCE.as_secs());
        };
        let node = ready?;
        // A node may not give itself a role; whoever runs the control plane may.
        let role = serde_json::json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(role));
        nodes.patch(self.node_name, &params, &patch).await.context("label the node")?;
        Ok(node)
    }

    /// The address of a DNS pod that is ready. Says why there is none as soon as that is known.
    async fn dns_ready(&self) -> anyhow::Result<Ipv4Addr> {
        let mut outlooks = pin!(dns_pod::outlooks(self.client));
        let began = Instant::now();
        let mut end = began + PATIENCE;
        loop {
            let outlook = timeout(end.saturating_duration_since(Instant::now()), outlooks.next());
            let Ok(outlook) = outlook.await else { return Err(self.dns_is_late(began.elapsed()).await) };
            match outlook.context("the watch of the DNS pods has ended")? {
                Outlook::Ready(address) => return Ok(address),
                Outlook::Waiting => end = began + PATIENCE,
                Outlook::Stuck => end = end.min(Instant::now() + STUCK),
            }
        }
    }

    /// Tells all that is known about the DNS pod.
    async fn dns_is_late(&self, after: Duration) -> anyhow::Error {
        for line in dns_pod::explain(self.client, self.layout.data()).await {
            self.progress.remark(&line);
        }
        anyhow!("the DNS pod is not ready after {} s", after.as_secs())
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
            if failing.is_empty() {
                return Ok(());
            }
            let late = Instant::now() >= end;
            let is_refused = |(_, error): &(Way, io::Error)| error.kind() == io::ErrorKind::ConnectionRefused;
            if !late && failing.iter().all(is_refused) {
                // Whether it changed or the time is up, the next attempt tells.
                drop(timeout(CHANGE, proxy.changed()).await);
                refusals += 1;
                if refusals < REFUSALS {
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
    Ok(NodeNetwork { pod_cidr, cluster_cidr: cluster.pod_cidr, service_cidr: cluster.service_cidr, node_ip })
}

/// Waits until the node is Ready.
async fn ready_node(nodes: Api<Node>, name: &str) -> anyhow::Result<Node> {
    let itself = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut seen = pin!(watch_objects::<Node>(nodes, itself).applied_objects());
    while let Some(node) = seen.next().await {
        match node.map(Tolerant::readable) {
            Ok(Some(node)) if not_ready(&node).is_none() => return Ok(node),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "waiting for the node, will try again"),
        }
    }
    bail!("the watch of the node has ended")
}

/// Waits until there is an object of this name in namespace `default`.
async fn made<K: Resource<DynamicType = ()>>(client: &Client, name: &str) -> anyhow::Result<()> {
    let kind = ApiResource::erase::<K>(&());
    let objects = Api::<PartialObjectMeta<DynamicObject>>::namespaced_with(client.clone(), "default", &kind);
    let itself = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut seen = pin!(watch_objects_of(objects, &kind, itself));
    while let Some(event) = seen.next().await {
        match event {
            Ok(watcher::Event::InitApply(_) | watcher::Event::Apply(_)) => return Ok(()),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, name, "waiting for an object, will try again"),
        }
    }
    bail!("the watch of {} has ended", kind.plural)
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
