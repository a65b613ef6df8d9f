//! `skiff status`: the health of each part on one screen, as the parts and the kernel tell it.
//!
//! The API says what should be; whether it is so is asked of the kernel, and of real connections. Nothing is changed, but for
//! a moment there is a pod more on the network.

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::core::v1::{Node, Pod, ReplicationController};
use kube::api::ListParams;
use kube::client::Body;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use skiff_errors::error_text;
use skiff_pki::kubeconfig::read_config;
use skiff_podnet::{NodeNetwork, PodNetwork};
use skiff_proxy::ProxyConfig;
use skiff_proxy::kernel::State;
use tokio::time::timeout;

use crate::args::LayoutArgs;
use crate::cluster::{API_SERVICE, DNS_SERVICE};
use crate::connections::{self, Prober};
use crate::layout::Layout;
use crate::{addons, daemon, dns_pod, keeper, preflight, ready, server};

/// Exit code when some part is not as it should be.
const NOT_WELL: u8 = 1;
/// Exit code when there is no server, as service managers have it for programs that do not run.
const NOT_RUNNING: u8 = 3;

/// How long the API server may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What is found missing is looked for again after this time: it may have been about to come.
const SECOND_LOOK: Duration = Duration::from_millis(1200);
/// Lines shown of what is missing.
const SHOWN: usize = 4;

/// One part, and what there is to say about it: in a word or two when it is well, else a line for each thing that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: &'static str,
    health: Result<String, Vec<String>>,
}

impl Part {
    fn of(name: &'static str, result: anyhow::Result<String>) -> Self {
        Self { name, health: result.map_err(|error| vec![error_text(error.as_ref())]) }
    }

    /// Of a list of what is wrong.
    fn unless(name: &'static str, wrong: anyhow::Result<Vec<String>>, well: String) -> Self {
        match wrong {
            Ok(wrong) if wrong.is_empty() => Self { name, health: Ok(well) },
            Ok(wrong) => Self { name, health: Err(wrong) },
            Err(error) => Self::of(name, Err(error)),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.health {
            Ok(text) => write!(f, "{:<12} {:<7} {text}", self.name, "ok"),
            Err(lines) => {
                write!(f, "{:<12} {:<7} {}", self.name, "FAILED", lines.join(&format!("\n{:21}", "")))
            }
        }
    }
}

/// Prints the state of each part. Exits with 0 when all is well, 1 when something is not, 3 when no server runs.
pub(crate) fn run(args: &LayoutArgs) -> anyhow::Result<ExitCode> {
    preflight::root()?;
    server::use_ring();
    let layout = args.layout();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = daemon::running::<daemon::Record>(&layout.server_record())?;
    let runs = server.is_some();
    let parts = match server {
        Some(record) => tokio.block_on(examine(&layout, &record)),
        None => vec![Part::of("server", Err(anyhow!("not running; `skiff up` starts it")))],
    };
    skiff_print::text(screen(&parts, std::io::stdout().is_terminal()))?;
    Ok(match parts.iter().all(|part| part.health.is_ok()) {
        true => ExitCode::SUCCESS,
        false if runs => ExitCode::from(NOT_WELL),
        false => ExitCode::from(NOT_RUNNING),
    })
}

/// All lines at once, so that a reader who stops at the first gets it in any case.
fn screen(parts: &[Part], colours: bool) -> String {
    let line = |part: &Part| match (colours, part.health.is_ok()) {
        (false, _) => format!("{part}\n"),
        (true, true) => format!("\x1b[32m●\x1b[0m {part}\n"),
        (true, false) => format!("\x1b[31m●\x1b[0m {part}\n"),
    };
    parts.iter().map(line).collect()
}

async fn examine(layout: &Layout, record: &daemon::Record) -> Vec<Part> {
    let mut parts = vec![Part::of("server", Ok(format!("process {}, {}", record.pid, record.server)))];
    if let Some(kept) = keeper::status(layout, record) {
        parts.push(Part::of("keeper", kept.map_err(|text| anyhow!(text))));
    }
    let client = match client(layout).await {
        Ok(client) => client,
        Err(error) => {
            parts.push(Part::of("api", Err(error)));
            return parts;
        }
    };
    parts.push(api(&client).await);
    let node = match answered(own_node(&client)).await {
        Ok(node) => node,
        Err(error) => {
            // Without the node's ranges nothing can be asked of the kernel.
            parts.push(Part::of("node", Err(error)));
            return parts;
        }
    };
    let lacks = if has_users(&node) { Ok(Vec::new()) } else { preflight::lacks(layout) };
    parts.push(match lacks {
        Ok(lacks) => node_health(&node, &lacks),
        Err(error) => Part::of("node", Err(error)),
    });
    match ready::node_network(&node) {
        Ok(network) => {
            let name = node.metadata.name.clone().unwrap_or_default();
            parts.push(network_health(&network, layout).await);
            parts.push(services(&client, &network, name).await);
            parts.push(connections(&client, network, layout).await);
        }
        Err(error) => parts.push(Part::of("network", Err(error))),
    }
    parts.push(dns(&client, layout).await);
    parts.push(Part::of("pods", answered(pods(&client)).await));
    parts
}

pub(crate) async fn client(layout: &Layout) -> anyhow::Result<Client> {
    let kubeconfig = read_config(layout.admin_kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn answered<T>(question: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    match timeout(ANSWER, question).await {
        Ok(answer) => answer,
        Err(_late) => bail!("the API server does not answer within {} s", ANSWER.as_secs()),
    }
}

/// What the API server says of its own parts.
async fn api(client: &Client) -> Part {
    let asked = answered(async {
        let (_, verbose) = get(client, "/readyz?verbose").await?;
        let mut failing = Vec::new();
        for check in failing_checks(&verbose) {
            let (_, why) = get(client, &format!("/readyz/{check}")).await?;
            failing.push(format!("{check}: {}", why.trim().trim_start_matches("internal server error: ")));
        }
        let version = client.apiserver_version().await?.git_version;
        Ok((failing, version))
    });
    match asked.await {
        Ok((failing, version)) => Part::unless("api", Ok(failing), format!("ready, Kubernetes {version}")),
        Err(error) => Part::of("api", Err(error)),
    }
}

/// The status and text of a path, whatever the status.
pub(crate) async fn get(client: &Client, path: &str) -> anyhow::Result<(http::StatusCode, String)> {
    let response = client.send(http::Request::get(path).body(Body::empty())?).await?;
    let status = response.status();
    let body = response.into_body().collect_bytes().await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The names of the checks that fail, in a verbose answer: lines such as `[-]etcd failed: …`.
fn failing_checks(verbose: &str) -> Vec<&str> {
    verbose.lines().filter_map(|line| line.strip_prefix("[-]")?.split(' ').next()).collect()
}

/// This machine's Node: the only one there is.
async fn own_node(client: &Client) -> anyhow::Result<Node> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items;
    nodes
        .into_iter()
        .next()
        .context("there is no node; a server that was started without one needs `skiff agent`")
}

/// Whether pods can have user namespaces, as the Node says.
fn has_users(node: &Node) -> bool {
    let handlers = node.status.as_ref().and_then(|status| status.runtime_handlers.as_deref());
    let features = handlers.into_iter().flatten().filter_map(|handler| handler.features.as_ref());
    features.map(|features| features.user_namespaces).all(|has| has != Some(false))
}

/// A node is well though it lacks something that few pods need; what that is, is told.
fn node_health(node: &Node, lacks: &[String]) -> Part {
    let name = node.metadata.name.clone().unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let pressure = conditions.iter().filter(|c| c.type_.ends_with("Pressure") && c.status == "True");
    let pressure =
        pressure.map(|c| format!("{name} has {}: {}", c.type_, c.message.clone().unwrap_or_default()));
    let not_ready = ready::not_ready(node).map(|why| format!("{name} is not Ready: {why}"));
    let well: Vec<String> = [format!("{name} Ready")].into_iter().chain(lacks.iter().cloned()).collect();
    Part::unless("node", Ok(not_ready.into_iter().chain(pressure).collect()), well.join("; "))
}

/// Interfaces, routes and forwarding, in the kernel.
async fn network_health(config: &NodeNetwork, layout: &Layout) -> Part {
    let missing = async || -> anyhow::Result<Vec<String>> {
        let missing = PodNetwork::examine(config, layout.run()).await?;
        Ok(missing.iter().map(|what| format!("missing in the kernel: {what}")).collect())
    };
    Part::unless("network", twice(missing).await, format!("pods in {}", config.pod_cidr))
}

/// The table of Services, in the kernel.
async fn services(client: &Client, network: &NodeNetwork, node_name: String) -> Part {
    let config = ProxyConfig {
        node_name,
        node_ips: vec![network.node_ip],
        cluster_cidr: network.cluster_cidr,
        service_cidr: network.service_cidr,
    };
    let differing = async || -> anyhow::Result<Vec<String>> {
        let structure = match skiff_proxy::examine()?.0 {
            State::Complete => None,
            State::Absent => Some("the kernel has no table of Services".to_owned()),
            State::Deviating(deviation) => Some(format!("the table was changed: {deviation}")),
        };
        let steps = answered(async { Ok(skiff_proxy::differences(client, &config).await?) }).await?;
        let elements = steps.iter().map(|step| format!("the kernel's table differs: {step}"));
        Ok(structure.into_iter().chain(elements).collect())
    };
    Part::unless("services", twice(differing).await, "the kernel has all of them".to_owned())
}

/// What is wrong, if it is still wrong at a second look: skiff may have been about to put it right.
async fn twice(look: impl AsyncFn() -> anyhow::Result<Vec<String>>) -> anyhow::Result<Vec<String>> {
    if look().await?.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(SECOND_LOOK).await;
    let mut wrong = look().await?;
    let more = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    if more > 0 {
        wrong.push(format!("… and {more} more"));
    }
    Ok(wrong)
}

/// Connections as pods make them.
async fn connections(client: &Client, network: NodeNetwork, layout: &Layout) -> Part {
    let cut = async {
        let mut ways = connections::to_api(API_SERVICE);
        if let Some(pod) = answered(dns_pod::address(client)).await? {
            ways.extend(connections::to_dns(DNS_SERVICE, pod));
        }
        let prober = Prober::new(network, layout.run()).await?;
        let cut = prober.cut(&ways).await;
        prober.close().await?;
        Ok(connections::lines(&cut?))
    };
    Part::unless("connections", cut.await, "pods reach each other, the API and the DNS".to_owned())
}

async fn dns(client: &Client, layout: &Layout) -> Part {
    let ready = answered(async {
        let api: Api<ReplicationController> = Api::namespaced(client.clone(), addons::NAMESPACE);
        let controller = api.get(addons::DNS).await?;
        let wanted = controller.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        Ok((controller.status.and_then(|status| status.ready_replicas).unwrap_or(0), wanted))
    });
    let (ready, wanted) = match ready.await {
        Ok(counts) => counts,
        Err(error) => return Part::of("dns", Err(error)),
    };
    let text = format!("{ready} of {wanted} pods ready");
    if ready > 0 {
        return Part::of("dns", Ok(text));
    }
    let explained = answered(async { Ok(dns_pod::explain(client, layout.data()).await) }).await;
    let lines = explained.unwrap_or_else(|error| vec![error_text(error.as_ref())]);
    Part { name: "dns", health: Err([vec![text], lines].concat()) }
}

async fn pods(client: &Client) -> anyhow::Result<String> {
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?.items;
    let phase =
        |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    Ok(format!("{} running, {} in all", pods.iter().filter(phase).count(), pods.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_checks_are_found_by_name() {
        let verbose = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log excluded: ok\n[-]post/start failed: x\nreadyz check failed\n";
        assert_eq!(failing_checks(verbose), ["etcd", "post/start"]);
        assert_eq!(failing_checks("ok"), Vec::<&str>::new());
    }

    #[test]
    fn a_node_is_well_though_it_lacks_what_few_pods_need() {
        let node = |user_namespaces: bool| -> Node {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}, "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "runtimeHandlers": [{"name": "", "features": {"userNamespaces": user_namespaces}}],
            }}))
            .unwrap()
        };
        assert!(has_users(&node(true)) && has_users(&Node::default()) && !has_users(&node(false)));
        let health = |lacks: &[String]| node_health(&node(false), lacks).health;
        assert_eq!(health(&[]), Ok("n Ready".to_owned()));
        assert_eq!(health(&["no such pods".to_owned()]), Ok("n Ready; no such pods".to_owned()));
    }

    #[test]
    fn each_thing_that_is_wrong_has_a_line() {
        let parts = [
            Part::of("server", Ok("process 7".to_owned())),
            Part { name: "network", health: Err(vec!["no route".to_owned(), "no address".to_owned()]) },
        ];
        let expected = "server       ok      process 7\nnetwork      FAILED  no route\n                     no address\n";
        assert_eq!(screen(&parts, false), expected);
    }
}
