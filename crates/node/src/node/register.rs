//! Makes the Node object and keeps its status and lease current.

use super::disk::DiskPressure;
use super::machine::Machine;
use super::object::{self, Readiness};
use crate::config::AgentConfig;
use crate::error::AgentError;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeCondition, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use skiff_runtime::Runtime;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The lease is renewed this often, and expires after four times as long.
const LEASE_PERIOD: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 40;
/// The status is written at least this often.
const STATUS_PERIOD: Duration = Duration::from_secs(300);
/// The namespace of node leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The Node object of this machine.
pub(crate) struct Registration {
    pub(crate) config: AgentConfig,
    pub(crate) machine: Machine,
    client: Client,
    runtime: Arc<Runtime>,
    pub(crate) node_ip: Option<IpAddr>,
    conditions: Vec<NodeCondition>,
    disk: DiskPressure,
    uid: String,
}

impl Registration {
    /// Makes the Node object, or takes over the one that is there. Tries again until the API answers.
    pub(crate) async fn register(
        config: AgentConfig,
        machine: Machine,
        client: Client,
        runtime: Arc<Runtime>,
        node_ip: Option<Ipv4Addr>,
    ) -> Result<(Self, Node), AgentError> {
        let node_ip = node_ip.map(IpAddr::V4);
        let mut this = Self {
            config,
            machine,
            client,
            runtime,
            node_ip,
            conditions: Vec::new(),
            disk: DiskPressure::default(),
            uid: String::new(),
        };
        let mut pause = Duration::from_millis(50);
        loop {
            match this.try_register().await {
                Ok(node) => {
                    this.uid = node.metadata.uid.clone().unwrap_or_default();
                    return Ok((this, node));
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 422) => {
                    let source = Box::new(kube::Error::Api(status));
                    return Err(AgentError::Register { node: this.config.node_name.clone(), source });
                }
                Err(error) => {
                    tracing::warn!(%error, node = this.config.node_name, "registering the node, will try again")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn try_register(&mut self) -> Result<Node, kube::Error> {
        let status =
            self.status(&Readiness::NotReady("the pod network is not set up".into()), Timestamp::now()).await;
        let node = object::node(&self.config, &self.machine, status);
        let created = match self.api().create(&PostParams::default(), &node).await {
            Ok(created) => created,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let labels = json!({ "metadata": { "labels": object::labels(&self.config, &self.machine) } });
                self.api()
                    .patch(&self.config.node_name, &PatchParams::default(), &Patch::Merge(labels))
                    .await?
            }
            Err(error) => return Err(error),
        };
        if let Some(conditions) = created.status.as_ref().and_then(|status| status.conditions.clone()) {
            self.conditions = conditions;
        }
        Ok(created)
    }

    async fn status(
        &mut self,
        readiness: &Readiness,
        now: Timestamp,
    ) -> k8s_openapi::api::core::v1::NodeStatus {
        let images = self.runtime.images().list().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "listing images");
            Vec::new()
        });
        self.disk = self.disk.look(&self.config.data_dir, self.config.eviction_hard);
        let health = (readiness, self.disk);
        object::status(&self.config, &self.machine, self.node_ip, health, &images, &self.conditions, now)
    }

    /// Writes the status.
    pub(crate) async fn report(&mut self, readiness: &Readiness) -> Result<(), kube::Error> {
        let status = self.status(readiness, Timestamp::now()).await;
        let patch = json!({ "status": status });
        self.api()
            .patch_status(&self.config.node_name, &PatchParams::default(), &Patch::Strategic(patch))
            .await?;
        self.conditions = status.conditions.unwrap_or_default();
        Ok(())
    }

    /// Writes the status if the disk has become full, or no longer is.
    async fn report_disk(&mut self) {
        let reported = self.conditions.iter().any(|c| c.type_ == "DiskPressure" && c.status == "True");
        let now = self.disk.look(&self.config.data_dir, self.config.eviction_hard) == DiskPressure::Full;
        if now != reported
            && let Err(error) = self.report(&Readiness::Ready).await
        {
            tracing::warn!(%error, "writing that the node's disk is full, or no longer is; will try again");
        }
    }

    /// The node as events refer to it: by name, as the kubelet does.
    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference {
            kind: Some("Node".into()),
            name: Some(self.config.node_name.clone()),
            uid: Some(self.config.node_name.clone()),
            ..ObjectReference::default()
        }
    }

    /// Keeps status and lease current until `shutdown`. The lease's renewal, with a look at
    /// the disk, is the only periodic work of an idle node.
    pub(crate) async fn keep(mut self, shutdown: CancellationToken) {
        let mut lease_ticks = tokio::time::interval(LEASE_PERIOD);
        let mut status_ticks =
            tokio::time::interval_at(tokio::time::Instant::now() + STATUS_PERIOD, STATUS_PERIOD);
        let mut lease = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = lease_ticks.tick() => {
                    match self.renew(lease.take()).await {
                        Ok(renewed) => lease = Some(renewed),
                        Err(error) => tracing::warn!(%error, "renewing the node's lease, will try again"),
                    }
                    self.report_disk().await;
                }
                _ = status_ticks.tick() => if let Err(error) = self.report(&Readiness::Ready).await {
                    tracing::warn!(%error, "writing the node's status, will try again");
                },
            }
        }
    }

    /// Renews the lease that was written last, or takes over or makes one.
    async fn renew(&self, held: Option<Lease>) -> Result<Lease, kube::Error> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), LEASE_NAMESPACE);
        let name = &self.config.node_name;
        let held = match held {
            Some(lease) => Some(lease),
            None => api.get_opt(name).await?,
        };
        match held {
            Some(mut lease) => {
                lease.spec = Some(self.lease_spec());
                api.replace(name, &PostParams::default(), &lease).await
            }
            None => api.create(&PostParams::default(), &self.new_lease()).await,
        }
    }

    fn new_lease(&self) -> Lease {
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.config.node_name.clone(),
            uid: self.uid.clone(),
            ..OwnerReference::default()
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(self.config.node_name.clone()),
                namespace: Some(LEASE_NAMESPACE.into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(self.lease_spec()),
        }
    }

    fn lease_spec(&self) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.config.node_name.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }
    }
}
