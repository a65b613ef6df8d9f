//! `skiff status`: the health of each part on one screen.

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use k8s_openapi::api::core::v1::{Node, Pod, ReplicationController, Service};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use skiff_errors::error_text;

use crate::args::LayoutArgs;
use crate::layout::Layout;
use crate::{addons, daemon, keeper, preflight, server};

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    Good(String),
    Bad(String),
}

/// One line of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: &'static str,
    health: Health,
}

impl Part {
    fn of(name: &'static str, result: Result<String, String>) -> Self {
        Self { name, health: result.map_or_else(Health::Bad, Health::Good) }
    }

    fn is_good(&self) -> bool {
        matches!(self.health, Health::Good(_))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match &self.health {
            Health::Good(text) => ("ok", text),
            Health::Bad(text) => ("FAILED", text),
        };
        write!(f, "{:<12} {word:<7} {text}", self.name)
    }
}

pub(crate) fn run(args: &LayoutArgs) -> anyhow::Result<ExitCode> {
    preflight::root()?;
    server::use_ring();
    let layout = args.layout();
    let parts =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(examine(&layout));
    let colours = std::io::stdout().is_terminal();
    for part in &parts {
        match (colours, part.is_good()) {
            (false, _) => skiff_print::line(part)?,
            (true, true) => skiff_print::line(format_args!("\x1b[32m●\x1b[0m {part}"))?,
            (true, false) => skiff_print::line(format_args!("\x1b[31m●\x1b[0m {part}"))?,
        }
    }
    Ok(if parts.iter().all(Part::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(layout: &Layout) -> Vec<Part> {
    let record = match daemon::running::<daemon::Record>(&layout.server_record()) {
        Ok(Some(record)) => record,
        Ok(None) => return vec![Part::of("server", Err("not running; `skiff up` starts it".to_owned()))],
        Err(error) => return vec![Part::of("server", Err(error.to_string()))],
    };
    let server = Part::of("server", Ok(format!("process {}, {}", record.pid, record.server)));
    let mut parts = vec![server];
    parts.extend(keeper::status(layout, &record).map(|status| Part::of("keeper", status)));
    let client = match client(layout).await {
        Ok(client) => client,
        Err(error) => {
            parts.push(Part::of("api", Err(error_text(error.as_ref()))));
            return parts;
        }
    };
    parts.extend([
        Part::of("api", api(&client).await),
        Part::of("node", node(&client).await),
        Part::of("dns", dns(&client).await),
        Part::of("services", count::<Service>(&client, "Services").await),
        Part::of("pods", pods(&client).await),
    ]);
    parts
}

async fn client(layout: &Layout) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(layout.admin_kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn api(client: &Client) -> Result<String, String> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
    client.request_text(request).await.map_err(|error| error.to_string())?;
    let version = client.apiserver_version().await.map_err(|error| error.to_string())?;
    Ok(format!("ready, Kubernetes {}", version.git_version))
}

async fn node(client: &Client) -> Result<String, String> {
    let nodes = list::<Node>(client).await?;
    let (ready, not_ready): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| is_ready(node));
    if not_ready.is_empty() && !ready.is_empty() {
        return Ok(format!("{} Ready", names(&ready)));
    }
    Err(if nodes.is_empty() { "no node".to_owned() } else { format!("{} NotReady", names(&not_ready)) })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|list| list.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

fn names(nodes: &[&Node]) -> String {
    let names: Vec<&str> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
    names.join(", ")
}

async fn dns(client: &Client) -> Result<String, String> {
    let api: Api<ReplicationController> = Api::namespaced(client.clone(), addons::NAMESPACE);
    let controller = api.get(addons::DNS).await.map_err(|error| error.to_string())?;
    let wanted = controller.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = controller.status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let text = format!("{ready} of {wanted} pods ready");
    if ready > 0 { Ok(text) } else { Err(text) }
}

async fn pods(client: &Client) -> Result<String, String> {
    let pods = list::<Pod>(client).await?;
    let phase =
        |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    Ok(format!("{} running, {} in all", pods.iter().filter(phase).count(), pods.len()))
}

async fn count<K>(client: &Client, what: &str) -> Result<String, String>
where
    K: kube::Resource<DynamicType = ()> + Clone + fmt::Debug + serde::de::DeserializeOwned,
{
    Ok(format!("{} {what}", list::<K>(client).await?.len()))
}

async fn list<K>(client: &Client) -> Result<Vec<K>, String>
where
    K: kube::Resource<DynamicType = ()> + Clone + fmt::Debug + serde::de::DeserializeOwned,
{
    let list = Api::all(client.clone()).list(&ListParams::default()).await;
    list.map(|list| list.items).map_err(|error| error.to_string())
}
