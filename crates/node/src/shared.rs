//! What all parts of the agent share.

use crate::config::AgentConfig;
use crate::container::services::ServiceFacts;
use crate::files::hosts::kernel_hostname;
use crate::node::machine::Machine;
use crate::node::view::NodeView;
use crate::paths::PodPaths;
use crate::pod::ledger::Ledger;
use crate::pod::local::{LocalContainer, LocalPod, Role};
use crate::probes::counts::ProbeCounts;
use crate::quantity::Amounts;
use crate::sources::SourceWatches;
use crate::users::UserRanges;
use crate::volumes::claims::{ClaimNews, NodeVolumes};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use skiff_informer::{Cache, EventType, Recorder};
use skiff_podnet::PodNetwork;
use skiff_runtime::{PodUid, Runtime};
use std::net::IpAddr;
use std::sync::Arc;

/// The node as its pod workers and its server see it; made once, after the network was set up.
pub(crate) struct Shared {
    pub(crate) config: AgentConfig,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) network: PodNetwork,
    pub(crate) events: Recorder,
    pub(crate) services: Cache<ServiceFacts>,
    pub(crate) sources: SourceWatches,
    /// The Node object as it was seen last.
    pub(crate) node: NodeView,
    /// What the pods taken so far claim of the node.
    pub(crate) ledger: Ledger,
    /// How the probes of its pods went.
    pub(crate) probes: ProbeCounts,
    /// Which IDs pods with a user namespace have.
    pub(crate) users: UserRanges,
    /// The persistent volumes of the node.
    pub(crate) volumes: Arc<NodeVolumes>,
    /// Tells pods that wait for a claim of changes of it.
    pub(crate) claims: Arc<ClaimNews>,
    /// What the machine has for pods in all.
    pub(crate) allocatable: Amounts,
    pub(crate) machine: Machine,
    /// The node's addresses, primary first.
    pub(crate) host_ips: Vec<IpAddr>,
}

impl Shared {
    /// The host name that programs of a pod see.
    pub(crate) fn hostname_in(&self, pod: &LocalPod) -> String {
        if pod.host_network() {
            self.machine.hostname.clone()
        } else {
            kernel_hostname(pod, &self.config.cluster_domain)
        }
    }

    /// Where the files of a pod are.
    pub(crate) fn paths(&self, uid: &PodUid) -> PodPaths {
        PodPaths::new(&self.config.data_dir, uid)
    }

    /// Records an event about a pod.
    pub(crate) fn pod_event(&self, pod: &LocalPod, kind: EventType, reason: &'static str, message: String) {
        self.events.event(reference(pod), kind, reason, message);
    }

    /// Records an event about a container.
    pub(crate) fn container_event(
        &self,
        pod: &LocalPod,
        container: &LocalContainer,
        kind: EventType,
        reason: &'static str,
        message: String,
    ) {
        let list = match container.role {
            Role::Init | Role::Sidecar => "initContainers",
            Role::Main => "containers",
            Role::Ephemeral => "ephemeralContainers",
        };
        let field_path = Some(format!("spec.{list}{{{}}}", container.name));
        self.events.event(ObjectReference { field_path, ..reference(pod) }, kind, reason, message);
    }
}

fn reference(pod: &LocalPod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.to_string()),
        resource_version: pod.meta.resource_version.clone(),
        field_path: None,
    }
}
