//! From an endpoint's acceptance by the API to the first connection through the kernel.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::report::percentile;

/// How long a change may take before the measurement gives up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(rounds: u32, target: SocketAddr) -> anyhow::Result<()> {
    let client = super::client().await?;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(client);
    let mut fresh = Vec::new();
    for number in 0..rounds {
        let name = format!("change-{number}");
        let service = service(&name)?;
        let address = services.create(&PostParams::default(), &service).await?;
        let address: IpAddr = address.spec.and_then(|s| s.cluster_ip).context("a ClusterIP")?.parse()?;
        slices.create(&PostParams::default(), &slice(&name, target)?).await?;
        fresh.push(until_connected(SocketAddr::new(address, 80))?.as_secs_f64() * 1000.0);
        services.delete(&name, &DeleteParams::default()).await?;
        slices.delete(&name, &DeleteParams::default()).await?;
    }
    super::print(&json!({"p50": percentile(&mut fresh, 50), "p99": percentile(&mut fresh, 99)}));
    Ok(())
}

/// Between two attempts to connect: short against the bound, long enough to leave the processor to the proxy.
const PAUSE: Duration = Duration::from_micros(100);

/// One attempt to connect. The kernel drops packets to an address that no Service has yet; a SYN lost so is sent again
/// only after a second.
const ATTEMPT: Duration = Duration::from_millis(2);

/// Connects again and again.
fn until_connected(address: SocketAddr) -> anyhow::Result<Duration> {
    let started = Instant::now();
    while TcpStream::connect_timeout(&address, ATTEMPT).is_err() {
        if started.elapsed() > PATIENCE {
            bail!("{address} took no connection for {PATIENCE:?}");
        }
        std::thread::sleep(PAUSE);
    }
    Ok(started.elapsed())
}

fn service(name: &str) -> anyhow::Result<Service> {
    let spec = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    Ok(serde_json::from_value(spec)?)
}

fn slice(name: &str, target: SocketAddr) -> anyhow::Result<EndpointSlice> {
    let spec = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": [{"addresses": [target.ip().to_string()]}],
        "ports": [{"name": "", "port": target.port(), "protocol": "TCP"}],
    });
    Ok(serde_json::from_value(spec)?)
}
