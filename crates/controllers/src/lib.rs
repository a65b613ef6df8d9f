//! The controllers of a cluster: one file each, a pure decision and a thin executor, all through `kube::Client`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use kube::Client;
use skiff_admission::Kinds;
use skiff_informer::Vitals;
use tokio_util::sync::CancellationToken;

use environment::{Controller, Environment};
use informers::Informers;
use removals::Removals;

mod bootstraptokens;
mod certificates;
mod clusterroles;
mod cronjob;
mod daemonset;
mod definitions;
mod deployment;
mod discovery;
mod disruption;
mod endpoints;
mod endpointslice;
mod environment;
mod ephemeralvolume;
mod garbage;
mod identity;
mod informers;
mod ipaddresses;
mod job;
mod kubernetes_service;
mod legacytokens;
mod meta;
mod mirroring;
mod namespace;
mod namespaces;
mod nodeipam;
mod nodelifecycle;
mod notes;
mod persistentvolume;
mod podautoscaler;
mod podgc;
mod pods;
mod policytypes;
mod protection;
mod quota;
mod removals;
mod replicas;
mod rootca;
mod scales;
mod serviceaccount;
mod servicecidr;
mod services;
mod statefulset;
mod tainteviction;
mod tokens;
mod trigger_time;
mod ttlafterfinished;
mod volumeexpand;
mod workload;

pub use certificates::Signer;
pub use identity::{Identity, identity};
pub use tokens::TokenSigner;

/// What the controllers need to know about the cluster.
#[derive(Clone, Debug)]
pub struct ControllersConfig {
    /// The cluster's CA certificate(s) in PEM, published to every namespace.
    pub root_ca_pem: String,
    /// The range that nodes get their pod ranges from, such as `10.244.0.0/16`.
    pub pod_cidr: IpNet,
    /// Prefix length of each node's pod range, such as 24.
    pub node_prefix: u8,
    /// Where the API server is reached by pods: the endpoint of the Service `kubernetes`.
    pub apiserver: SocketAddr,
    /// The cluster IP of the Service `kubernetes`: the first address of the service range.
    pub kubernetes_service_ip: IpAddr,
    /// What signs certificates that are asked for; without it nobody does.
    pub signer: Option<Arc<dyn Signer>>,
    /// What signs the tokens that Secrets of ServiceAccounts hold; without it nobody does.
    pub tokens: Option<Arc<dyn TokenSigner>>,
    /// Whether there are tokens with which nodes join.
    pub bootstrap_tokens: bool,
}

/// A configuration that no controller can work with.
#[derive(Debug, thiserror::Error)]
pub enum ControllersError {
    /// The pod range cannot be divided.
    #[error("pod CIDR {cidr} cannot give each node a /{node_prefix}")]
    PodCidr {
        /// The range as configured.
        cidr: IpNet,
        /// The prefix length of a node's share.
        node_prefix: u8,
    },
}

/// Runs every controller until `shutdown`. `client_for` gives a client that acts as [`identity`]`(name)`; `kinds` knows the types of
/// what is served; `vitals` tells how they are.
pub async fn run(
    client_for: impl Fn(&str) -> Client + Send + Sync,
    config: ControllersConfig,
    kinds: Arc<dyn Kinds>,
    vitals: Vitals,
    shutdown: CancellationToken,
) -> Result<(), ControllersError> {
    run_some(assemble, &client_for, &config, kinds, &vitals, &shutdown).await
}

/// Runs only those that are part of the API server itself in Kubernetes, and the one that fills aggregated ClusterRoles, so that
/// what it answers can be looked at without what other controllers write meanwhile. The rest is as in [`run`].
pub async fn run_of_api_server(
    client_for: impl Fn(&str) -> Client + Send + Sync,
    config: ControllersConfig,
    kinds: Arc<dyn Kinds>,
    vitals: Vitals,
    shutdown: CancellationToken,
) -> Result<(), ControllersError> {
    run_some(assemble_of_api_server, &client_for, &config, kinds, &vitals, &shutdown).await
}

async fn run_some(
    assemble: fn(&Environment<'_>) -> Result<Vec<Controller>, ControllersError>,
    client_for: &(dyn Fn(&str) -> Client + Send + Sync),
    config: &ControllersConfig,
    kinds: Arc<dyn Kinds>,
    vitals: &Vitals,
    shutdown: &CancellationToken,
) -> Result<(), ControllersError> {
    let environment = Environment {
        informers: Informers::new(),
        removals: Removals::default(),
        kinds,
        vitals,
        config,
        shutdown: shutdown.clone(),
        client_for,
    };
    let controllers = assemble(&environment)?;
    environment.informers.watch_over(config.bootstrap_tokens, vitals);
    environment.informers.follow(&client_for(identity::SHARED), config.bootstrap_tokens, shutdown);
    let run_one = |controller| {
        let shutdown = shutdown.clone();
        tokio::spawn(async move { shutdown.run_until_cancelled(controller).await })
    };
    let running: Vec<_> = controllers.into_iter().map(run_one).collect();
    for task in running {
        if let Err(Ok(panic)) = task.await.map_err(tokio::task::JoinError::try_into_panic) {
            std::panic::resume_unwind(panic);
        }
    }
    Ok(())
}

fn assemble_of_api_server(environment: &Environment<'_>) -> Result<Vec<Controller>, ControllersError> {
    Ok(vec![
        kubernetes_service::controller(environment),
        definitions::controller(environment),
        clusterroles::controller(environment),
    ])
}

fn assemble(environment: &Environment<'_>) -> Result<Vec<Controller>, ControllersError> {
    let mut all = always(environment)?;
    if environment.config.bootstrap_tokens {
        all.push(bootstraptokens::signer::controller(environment));
        all.push(bootstraptokens::cleaner::controller(environment));
    }
    Ok(all)
}

fn always(environment: &Environment<'_>) -> Result<Vec<Controller>, ControllersError> {
    Ok(vec![
        replicas::controller::<ReplicationController>(environment),
        replicas::controller::<ReplicaSet>(environment),
        deployment::controller(environment),
        statefulset::controller(environment),
        daemonset::controller(environment),
        job::controller(environment),
        ttlafterfinished::controller(environment),
        cronjob::controller(environment),
        disruption::controller(environment),
        podautoscaler::controller(environment),
        endpoints::controller(environment),
        endpointslice::controller(environment),
        mirroring::controller(environment),
        serviceaccount::controller(environment),
        tokens::controller(environment),
        legacytokens::controller(environment),
        rootca::controller(environment),
        kubernetes_service::controller(environment),
        nodeipam::controller(environment)?,
        nodelifecycle::controller(environment),
        tainteviction::controller(environment),
        podgc::controller(environment),
        servicecidr::controller(environment),
        ipaddresses::controller(environment),
        namespace::controller(environment),
        definitions::controller(environment),
        quota::controller(environment),
        policytypes::controller(environment),
        clusterroles::controller(environment),
        garbage::controller(environment),
        certificates::controller(environment),
        persistentvolume::controller(environment),
        ephemeralvolume::controller(environment),
        volumeexpand::controller(environment),
        protection::claims::controller(environment),
        protection::volumes::controller(environment),
        protection::classes::controller(environment),
    ])
}
