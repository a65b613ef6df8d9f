//! Cluster DNS: records from Services and EndpointSlices, and the server that answers with them.
//!
//! Three facts shaped it: answers come from an index in memory and never wait for anything; what is kept of an object
//! is a few words, so that the whole server stays within a few MiB; names of other zones go to the node's resolvers,
//! whose addresses come from a file, for nothing here may call the C library's resolver.
//!
//! What a client can make it do is bounded, each bound stated where it holds: connections, their idle time, the length of
//! a question, questions that wait for upstream servers, the time that one takes, and what is remembered.

mod answer;
#[cfg(test)]
mod answer_tests;
#[cfg(debug_assertions)]
pub mod fuzzing;
mod health;
mod listen;
mod records;
mod server;
mod upstream;
mod wire;
mod zone;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher;
use kube::{Api, Client};
use parking_lot::RwLock;
use skiff_informer::Cache;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use answer::{Answer, Found, answer, soa};
pub use records::{EndpointRecord, PortRecord, ServiceRecord, SliceRecord};
use server::Responder;
use upstream::Upstream;
pub use zone::Zone;

/// Reads `bytes` as a question of a client and as an answer of an upstream server, and returns the reply that the client
/// would get to the former. For fuzzing: whatever the bytes, nothing panics.
pub fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let _is_answer: bool = upstream::decode(bytes);
    match wire::Question::read(bytes) {
        Ok(question) => Some(question.reply(wire::Reply::default(), wire::Transport::Udp)),
        Err(wire::Rejected::With(reply)) => Some(reply),
        Err(wire::Rejected::Silently) => None,
    }
}

/// Objects taken in at a time while listing; bounds the memory a list needs.
const PAGE: u32 = 100;

/// How the server is set up.
#[derive(Clone)]
pub struct DnsConfig {
    /// Reads Services, EndpointSlices and Namespaces.
    pub client: Client,
    /// The cluster's domain, such as `cluster.local`.
    pub zone: String,
    /// Where questions come in, UDP and TCP, usually `0.0.0.0:53`.
    pub listen: SocketAddr,
    /// A resolv.conf whose name servers get every other question.
    pub upstream: PathBuf,
    /// Where `/health` is answered, usually `0.0.0.0:8080`.
    pub health: SocketAddr,
    /// Where `/ready` is answered once the first lists are in, usually `0.0.0.0:8181`.
    pub ready: SocketAddr,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The cluster's domain is no domain name.
    #[error("{zone:?} is not a domain name")]
    Zone {
        /// The domain as configured.
        zone: String,
        /// What is wrong with it.
        source: hickory_proto::ProtoError,
    },
}

/// Serves DNS until `shutdown`. A single-threaded runtime is enough, and takes the least memory.
pub fn run(config: DnsConfig, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), DnsError>> {
    Box::pin(serve(config, shutdown))
}

async fn serve(config: DnsConfig, shutdown: CancellationToken) -> Result<(), DnsError> {
    let domain = Name::from_ascii(&config.zone);
    let domain = domain.map_err(|source| DnsError::Zone { zone: config.zone.clone(), source })?;
    let zone = Arc::new(RwLock::new(Zone::new(domain)));
    let listen = |address, source| DnsError::Listen { address, source };
    let udp = UdpSocket::bind(config.listen).await.map_err(|source| listen(config.listen, source))?;
    let tcp = TcpListener::bind(config.listen).await.map_err(|source| listen(config.listen, source))?;
    let health = TcpListener::bind(config.health).await.map_err(|source| listen(config.health, source))?;
    let ready = TcpListener::bind(config.ready).await.map_err(|source| listen(config.ready, source))?;
    let upstream = Upstream::new(upstream_servers(&config).await, config.listen);
    let responder = Arc::new(Responder::new(zone.clone(), upstream));
    info!(zone = %config.zone, listen = %config.listen, "serving DNS");

    let (_alive, alive) = watch::channel(true);
    let (complete, ready_when) = watch::channel(false);
    let serving = async {
        tokio::join!(
            server::serve_udp(udp, responder.clone()),
            server::serve_tcp(tcp, responder.clone()),
            health::serve(health, "/health", alive),
            health::serve(ready, "/ready", ready_when),
            follow(&config.client, zone, complete, &shutdown),
            responder.upstream.probe_for_loop(),
        )
    };
    shutdown.run_until_cancelled(serving).await;
    Ok(())
}

/// The servers of the resolv.conf; without one, only names of the cluster resolve.
async fn upstream_servers(config: &DnsConfig) -> Vec<SocketAddr> {
    match tokio::fs::read_to_string(&config.upstream).await {
        Ok(text) => upstream::parse_resolv_conf(&text),
        Err(error) => {
            warn!(path = %config.upstream.display(), %error, "no upstream name servers");
            Vec::new()
        }
    }
}

/// Keeps `zone` in step with the cluster; tells `complete` when the first lists are in.
async fn follow(
    client: &Client,
    zone: Arc<RwLock<Zone>>,
    complete: watch::Sender<bool>,
    shutdown: &CancellationToken,
) {
    let (namespaces, services, slices) = (Cache::<()>::new(), Cache::new(), Cache::new());
    let target = zone.clone();
    namespaces.subscribe(move |change| target.write().set_namespace(change.key.name(), change.new.is_some()));
    let target = zone.clone();
    services.subscribe(move |change| target.write().set_service(change.key, change.new.cloned()));
    let target = zone.clone();
    slices.subscribe(move |change| target.write().set_slice(change.key, change.new.cloned()));
    let paged = || watcher::Config::default().page_size(PAGE);
    namespaces.watch::<Namespace>(Api::all(client.clone()), paged(), shutdown, |_| Some(()));
    services.watch::<Service>(Api::all(client.clone()), paged(), shutdown, |service| {
        records::of_service(&service)
    });
    slices.watch::<EndpointSlice>(Api::all(client.clone()), paged(), shutdown, |slice| {
        records::of_slice(&slice)
    });
    tokio::join!(namespaces.synced(), services.synced(), slices.synced());
    zone.write().set_synced();
    complete.send_replace(true);
    info!("all names are known");
}
