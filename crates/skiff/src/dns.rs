//! `skiff dns`: what the DNS pod runs.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use skiff_dns::DnsConfig;

use crate::args::DnsArgs;
use crate::{log, server};

/// Ports of the probes, as CoreDNS has them.
const HEALTH_PORT: u16 = 8080;
const READY_PORT: u16 = 8181;

pub(crate) fn run(args: &DnsArgs) -> anyhow::Result<()> {
    log::to_stderr();
    server::use_ring();
    // One thread serves thousands of questions a second, and each further thread costs memory in every cluster.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config =
            kube::Config::incluster().context("the DNS server runs in a pod with a ServiceAccount token")?;
        let client = kube::Client::try_from(config)?;
        let any = |port: u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let config = DnsConfig {
            client,
            zone: args.zone.clone(),
            listen: any(args.port),
            upstream: args.upstream.clone(),
            health: any(HEALTH_PORT),
            ready: any(READY_PORT),
        };
        skiff_dns::run(config, server::shutdown_on_signal()?).await?;
        Ok(())
    })
}
