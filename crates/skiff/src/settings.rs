//! What a cluster is started with: options, directories, and the names that come of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, bail};
use skiff_apiserver::ClusterConfig;
use skiff_pki::PkiSubject;

use crate::args::ServerArgs;
use crate::cluster::API_SERVICE;
use crate::layout::Layout;
use crate::{daemon, server};

/// The node's address on a machine that has none but loopback: the first of the first node's pod range, which
/// the pod network puts on its own interface.
const ISOLATED_NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// What a cluster is started with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) args: ServerArgs,
    pub(crate) layout: Layout,
    pub(crate) host_name: String,
    pub(crate) node_name: String,
}

impl Settings {
    pub(crate) fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let host_name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let layout = args.layout.layout();
        let node_name = match (&args.node_name, remembered(&layout.node_name())?) {
            (Some(name), Some(before)) if *name != before => bail!(
                "this cluster's node is named {before:?}, and its pods belong to that; \
                 start it as --node-name {before}, or `skiff down --purge` it first to name it {name:?}"
            ),
            (Some(name), _) => name.clone(),
            (None, before) => before.unwrap_or_else(|| host_name.clone()),
        };
        if let Some(error) = skiff_machinery::names::subdomain(&node_name) {
            bail!("{node_name:?} cannot be a node's name, choose one with --node-name: {}", error.body());
        }
        Ok(Self { args: args.clone(), layout, host_name, node_name })
    }

    /// Keeps the node's name for later starts: the host's may change (each container has another), while the pods
    /// belong to the node.
    pub(crate) fn remember_node(&self) -> anyhow::Result<()> {
        let path = self.layout.node_name();
        server::write_private(&path, &self.node_name).with_context(|| format!("write {}", path.display()))
    }

    pub(crate) async fn node_ip(&self) -> anyhow::Result<Ipv4Addr> {
        match self.args.node_ip {
            Some(IpAddr::V4(address)) => Ok(address),
            Some(IpAddr::V6(address)) => bail!("--node-ip {address}: only IPv4 addresses are supported yet"),
            None => Ok(skiff_podnet::primary_address().await?.unwrap_or(ISOLATED_NODE)),
        }
    }
}

/// The node's name at an earlier start, if there was one.
fn remembered(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

pub(crate) fn record(settings: &Settings, url: &str) -> daemon::Record {
    daemon::Record {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        server: url.to_owned(),
        context: settings.args.context.clone(),
        kept: settings.args.detached,
    }
}

pub(crate) fn pki_subject(settings: &Settings, node_ip: Ipv4Addr) -> PkiSubject {
    PkiSubject {
        advertise_address: node_ip.into(),
        service_address: API_SERVICE.into(),
        host_name: settings.host_name.clone(),
        domain: ClusterConfig::new(node_ip.into()).domain,
    }
}

/// What the build script found out.
pub(crate) fn build_info() -> skiff_apiserver::BuildInfo {
    let seconds = env!("SKIFF_COMMIT_TIME").parse().unwrap_or(0);
    skiff_apiserver::BuildInfo {
        commit: env!("SKIFF_COMMIT").to_owned(),
        tree_state: env!("SKIFF_TREE_STATE").to_owned(),
        commit_time: jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        compiler: env!("SKIFF_RUSTC").to_owned(),
        architecture: skiff_runtime::images::architecture(),
    }
}
