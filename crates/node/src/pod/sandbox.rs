//! Sets up and takes down what a pod's containers share: the sandbox, its network and the managed files.

use super::admission::claims;
use super::handler;
use super::local::LocalPod;
use super::steps::retry_until_done;
use crate::container::limits::{pod_resources, qos};
use crate::directory;
use crate::files::hosts::hosts;
use crate::files::resolv::{ClusterDns, resolv_conf};
use crate::paths::{HOSTNAME, HOSTS, RESOLV_CONF};
use crate::shared::Shared;
use skiff_errors::error_text;
use skiff_informer::EventType::Warning;
use skiff_ordered::Ordered as _;
use skiff_podnet::NetworkError;
use skiff_runtime::{PodHandle, PodSandbox};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Starts the sandbox and connects it; returns the pod's addresses, primary first.
pub(crate) async fn start(shared: &Shared, pod: &LocalPod) -> Result<(PodHandle, Vec<IpAddr>), String> {
    handler::check(&shared.client, pod).await?;
    let sysctls = pod.spec.security_context.as_ref().and_then(|context| context.sysctls.as_ref());
    let users = shared.users.of(pod)?;
    let sandbox = PodSandbox {
        uid: pod.uid.clone(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        hostname: shared.hostname_in(pod),
        host_network: pod.host_network(),
        host_pid: pod.spec.host_pid == Some(true),
        host_ipc: pod.spec.host_ipc == Some(true),
        users,
        sysctls: sysctls.into_iter().flatten().map(|s| (s.name.replace('/', "."), s.value.clone())).to_map(),
        share_pids: pod.spec.share_process_namespace == Some(true),
        class: qos(pod),
        resources: Some(pod_resources(pod)),
        log_dir: shared.paths(&pod.uid).logs(),
    };
    let handle = shared.runtime.start_pod(sandbox).await.map_err(|error| error.to_string())?;
    match connect(shared, pod, &handle).await {
        Ok(addresses) => Ok((handle, addresses)),
        Err(message) => {
            // The next try starts from nothing.
            if let Err(error) = stop(shared, pod, Some(handle)).await {
                tracing::warn!(pod = %pod.full_name(), %error, "cleaning up a failed sandbox");
            }
            Err(message)
        }
    }
}

/// How long a container start that an agent before this one asked for may still take.
const SETTLE: Duration = Duration::from_secs(5);

/// Takes over the sandbox that an agent before this one started; `None` when it had to be cleared away. Without
/// containers it may be half made, and is completed; with containers it was complete, and is left alone.
pub(crate) async fn take_over(shared: &Shared, pod: &LocalPod) -> Option<(PodHandle, Vec<IpAddr>)> {
    let handle = match shared.runtime.adopt(&pod.uid).await {
        Ok(handle) => handle,
        Err(error) => {
            let error = error_text(&error);
            tracing::warn!(pod = %pod.full_name(), error, "it cannot be taken over, clearing it away");
            clear_away(shared, pod).await;
            return None;
        }
    };
    if tokio::time::timeout(SETTLE, handle.settled()).await.is_err() {
        tracing::warn!(pod = %pod.full_name(), "a container is still being started");
    }
    if !handle.state().await.containers.is_empty() {
        let adopted = shared.network.adopt(pod.uid.as_str(), handle.netns_path());
        if let Err(error) = adopted.and(open_ports(shared, pod).await) {
            let error = error_text(&error);
            tracing::warn!(pod = %pod.full_name(), error, "its network is not guarded");
        }
        let known = || shared.network.existing().get(pod.uid.as_str()).copied().into_iter().collect();
        let addresses = if pod.host_network() { shared.host_ips.clone() } else { known() };
        return Some((handle, addresses));
    }
    match connect(shared, pod, &handle).await {
        Ok(addresses) => Some((handle, addresses)),
        Err(reason) => {
            tracing::warn!(pod = %pod.full_name(), reason, "a sandbox cannot be taken over, clearing it away");
            if let Err(error) = stop(shared, pod, Some(handle)).await {
                tracing::warn!(pod = %pod.full_name(), %error, "clearing a sandbox away");
            }
            None
        }
    }
}

/// Ends what an agent before this one left of a pod that cannot be taken over.
pub(crate) async fn clear_away(shared: &Shared, pod: &LocalPod) {
    retry_until_done(|| stop(shared, pod, None)).await;
}

async fn connect(shared: &Shared, pod: &LocalPod, handle: &PodHandle) -> Result<Vec<IpAddr>, String> {
    let addresses = if pod.host_network() {
        shared.host_ips.clone()
    } else {
        let attached = shared.network.attach(pod.uid.as_str(), handle.netns_path()).await;
        let failed = |error| format!("failed to set up network: {}", error_text(&error));
        let address = attached.map_err(failed)?;
        open_ports(shared, pod).await.map_err(failed)?;
        vec![address.ip]
    };
    write_files(shared, pod, &addresses).map_err(|error| format!("failed to write pod files: {error}"))?;
    Ok(addresses)
}

/// Lets clients at loopback addresses of the node reach the pod, if it has ports of the node there.
async fn open_ports(shared: &Shared, pod: &LocalPod) -> Result<(), NetworkError> {
    match !pod.host_network() && claims(pod).at_loopback() {
        true => shared.network.serve_loopback(pod.uid.as_str()).await,
        false => Ok(()),
    }
}

/// Writes `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of the pod.
fn write_files(shared: &Shared, pod: &LocalPod, addresses: &[IpAddr]) -> std::io::Result<()> {
    let own = directory::make(&shared.paths(&pod.uid))?;
    let node_hosts = if pod.host_network() { read_or_empty(Path::new("/etc/hosts"))? } else { String::new() };
    directory::write_managed(
        &own,
        HOSTS,
        &hosts(pod, addresses, &shared.config.cluster_domain, &node_hosts),
    )?;
    directory::write_managed(&own, HOSTNAME, &format!("{}\n", shared.hostname_in(pod)))?;
    let node_resolver = read_or_empty(&shared.config.resolv_conf)?;
    let cluster = ClusterDns { address: shared.config.cluster_dns, domain: &shared.config.cluster_domain };
    let resolver = resolv_conf(pod, cluster, &node_resolver);
    for warning in resolver.warnings {
        shared.pod_event(pod, Warning, "DNSConfigForming", warning);
    }
    directory::write_managed(&own, RESOLV_CONF, &resolver.text)
}

#[allow(clippy::disallowed_methods, reason = "the node's own files")]
fn read_or_empty(path: &Path) -> std::io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

/// Stops the sandbox with everything in it and frees the pod's address. Safe to repeat.
pub(crate) async fn stop(shared: &Shared, pod: &LocalPod, handle: Option<PodHandle>) -> Result<(), String> {
    let stopped = match handle {
        Some(handle) => handle.stop().await,
        None => shared.runtime.remove_pod(&pod.uid).await,
    };
    let detached = shared.network.detach(pod.uid.as_str()).await;
    match (stopped, detached) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(error), Ok(())) => Err(error_text(&error)),
        (Ok(()), Err(error)) => Err(error_text(&error)),
        (Err(first), Err(second)) => Err(format!("{}; {}", error_text(&first), error_text(&second))),
    }
}
