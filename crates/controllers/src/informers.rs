//! The caches that controllers share: one watch per kind, however many controllers read it.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttributesClass};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use skiff_informer::{Cache, Index, ObjectKey, Vitals};
use tokio_util::sync::CancellationToken;

use crate::bootstraptokens::NAMESPACE;
use crate::persistentvolume::{self, Offer, Sought};
use crate::pods::KnownPod;
use crate::pods::members::{Members, Selectors};
use crate::workload::ByOwner;

/// The label that ties an EndpointSlice to its Service.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Where node agents keep their leases.
pub(crate) const NODE_LEASES: &str = "kube-node-lease";
/// The ConfigMap with the cluster's CA, one in each namespace.
pub(crate) const ROOT_CA_MAP: &str = "kube-root-ca.crt";
/// Where everybody can read.
pub(crate) const PUBLIC: &str = "kube-public";
/// The ConfigMap there that says how to reach the cluster.
pub(crate) const CLUSTER_INFO: &str = "cluster-info";

/// One cache per kind. Subscribe first, then [`Informers::follow`].
#[derive(Clone)]
pub(crate) struct Informers {
    pub(crate) pods: Cache<KnownPod>,
    pub(crate) pods_by_node: Index<String, KnownPod>,
    pub(crate) pods_by_owner: ByOwner<KnownPod>,
    /// Pods by the claims that are volumes of theirs.
    pub(crate) pods_by_claim: Index<ObjectKey, KnownPod>,
    pub(crate) replication_controllers: Cache<ReplicationController>,
    pub(crate) replica_sets: Cache<ReplicaSet>,
    pub(crate) replica_sets_by_owner: ByOwner<ReplicaSet>,
    pub(crate) deployments: Cache<Deployment>,
    pub(crate) stateful_sets: Cache<StatefulSet>,
    pub(crate) daemon_sets: Cache<DaemonSet>,
    pub(crate) controller_revisions: Cache<ControllerRevision>,
    pub(crate) controller_revisions_by_owner: ByOwner<ControllerRevision>,
    pub(crate) claims: Cache<PersistentVolumeClaim>,
    pub(crate) claims_by_sought: Index<Sought, PersistentVolumeClaim>,
    pub(crate) jobs: Cache<Job>,
    pub(crate) jobs_by_owner: ByOwner<Job>,
    pub(crate) cron_jobs: Cache<CronJob>,
    pub(crate) budgets: Cache<PodDisruptionBudget>,
    /// Budgets by what they select.
    pub(crate) budget_selectors: Selectors<PodDisruptionBudget>,
    /// Pods by the budgets that select them.
    pub(crate) budget_members: Members<PodDisruptionBudget>,
    pub(crate) autoscalers: Cache<HorizontalPodAutoscaler>,
    pub(crate) services: Cache<Service>,
    /// Services by what they select.
    pub(crate) selectors: Selectors<Service>,
    /// Pods by the Services that select them.
    pub(crate) members: Members<Service>,
    pub(crate) endpoints: Cache<Endpoints>,
    pub(crate) slices: Cache<EndpointSlice>,
    /// EndpointSlices by the Service that their label names.
    pub(crate) slices_by_service: Index<ObjectKey, EndpointSlice>,
    pub(crate) nodes: Cache<Node>,
    /// Leases of node agents only.
    pub(crate) leases: Cache<Lease>,
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) service_accounts: Cache<ServiceAccount>,
    /// Only Secrets with tokens of ServiceAccounts.
    pub(crate) token_secrets: Cache<Secret>,
    /// Only Secrets with tokens for joining nodes; nothing where there are none.
    pub(crate) bootstrap_tokens: Cache<Secret>,
    /// Only the map [`CLUSTER_INFO`]; nothing where there are no tokens for joining nodes.
    pub(crate) cluster_info: Cache<ConfigMap>,
    /// Only the maps named [`ROOT_CA_MAP`].
    pub(crate) root_ca_maps: Cache<ConfigMap>,
    pub(crate) service_cidrs: Cache<ServiceCIDR>,
    pub(crate) ip_addresses: Cache<IPAddress>,
    pub(crate) quotas: Cache<ResourceQuota>,
    pub(crate) policies: Cache<ValidatingAdmissionPolicy>,
    pub(crate) cluster_roles: Cache<ClusterRole>,
    /// Without their schemas.
    pub(crate) definitions: Cache<CustomResourceDefinition>,
    pub(crate) signing_requests: Cache<CertificateSigningRequest>,
    pub(crate) volumes: Cache<PersistentVolume>,
    pub(crate) volumes_by_offer: Index<Offer, PersistentVolume>,
    pub(crate) storage_classes: Cache<StorageClass>,
    pub(crate) attribute_classes: Cache<VolumeAttributesClass>,
}

impl Informers {
    pub(crate) fn new() -> Self {
        let (pods, slices, services) = (Cache::new(), Cache::new(), Cache::new());
        let (replica_sets, controller_revisions) = (Cache::new(), Cache::new());
        let (jobs, claims, volumes) = (Cache::new(), Cache::new(), Cache::new());
        let budgets = Cache::new();
        let (selectors, budget_selectors) = (Selectors::new(&services), Selectors::new(&budgets));
        Self {
            jobs_by_owner: ByOwner::new(&jobs),
            jobs,
            cron_jobs: Cache::new(),
            budget_members: Members::new(&budgets, &pods, &budget_selectors),
            budget_selectors,
            budgets,
            autoscalers: Cache::new(),
            pods_by_owner: ByOwner::new(&pods),
            pods_by_node: Index::new(&pods, |_, pod: &KnownPod| pod.node().map(String::from)),
            pods_by_claim: Index::new(&pods, |_, pod: &KnownPod| pod.claimed().collect::<Vec<_>>()),
            slices_by_service: Index::new(&slices, |_, slice| service_of(slice)),
            members: Members::new(&services, &pods, &selectors),
            selectors,
            pods,
            slices,
            replication_controllers: Cache::new(),
            replica_sets_by_owner: ByOwner::new(&replica_sets),
            replica_sets,
            deployments: Cache::new(),
            stateful_sets: Cache::new(),
            daemon_sets: Cache::new(),
            controller_revisions_by_owner: ByOwner::new(&controller_revisions),
            controller_revisions,
            claims_by_sought: Index::new(&claims, |_, claim| persistentvolume::sought(claim)),
            claims,
            services,
            endpoints: Cache::new(),
            nodes: Cache::new(),
            leases: Cache::new(),
            namespaces: Cache::new(),
            service_accounts: Cache::new(),
            token_secrets: Cache::new(),
            bootstrap_tokens: Cache::new(),
            cluster_info: Cache::new(),
            root_ca_maps: Cache::new(),
            service_cidrs: Cache::new(),
            ip_addresses: Cache::new(),
            quotas: Cache::new(),
            policies: Cache::new(),
            cluster_roles: Cache::new(),
            definitions: Cache::new(),
            signing_requests: Cache::new(),
            volumes_by_offer: Index::new(&volumes, |_, volume| persistentvolume::offer(volume)),
            volumes,
            storage_classes: Cache::new(),
            attribute_classes: Cache::new(),
        }
    }

    /// Starts the watches; they end with `shutdown`.
    pub(crate) fn follow(&self, client: &Client, bootstrap_tokens: bool, shutdown: &CancellationToken) {
        let everything = watcher::Config::default;
        let client = || client.clone();
        self.pods.watch::<Pod>(Api::all(client()), everything(), shutdown, |pod| Some(KnownPod::of(&pod)));
        self.replication_controllers.watch::<ReplicationController>(
            Api::all(client()),
            everything(),
            shutdown,
            Some,
        );
        self.replica_sets.watch::<ReplicaSet>(Api::all(client()), everything(), shutdown, Some);
        self.deployments.watch::<Deployment>(Api::all(client()), everything(), shutdown, Some);
        self.stateful_sets.watch::<StatefulSet>(Api::all(client()), everything(), shutdown, Some);
        self.daemon_sets.watch::<DaemonSet>(Api::all(client()), everything(), shutdown, Some);
        self.controller_revisions.watch::<ControllerRevision>(
            Api::all(client()),
            everything(),
            shutdown,
            Some,
        );
        self.claims.watch::<PersistentVolumeClaim>(Api::all(client()), everything(), shutdown, Some);
        self.jobs.watch::<Job>(Api::all(client()), everything(), shutdown, Some);
        self.cron_jobs.watch::<CronJob>(Api::all(client()), everything(), shutdown, Some);
        self.budgets.watch::<PodDisruptionBudget>(Api::all(client()), everything(), shutdown, Some);
        self.autoscalers.watch::<HorizontalPodAutoscaler>(Api::all(client()), everything(), shutdown, Some);
        self.services.watch::<Service>(Api::all(client()), everything(), shutdown, Some);
        self.endpoints.watch::<Endpoints>(Api::all(client()), everything(), shutdown, Some);
        self.slices.watch::<EndpointSlice>(Api::all(client()), everything(), shutdown, Some);
        self.nodes.watch::<Node>(Api::all(client()), everything(), shutdown, |node| Some(trim_node(node)));
        self.leases.watch::<Lease>(Api::namespaced(client(), NODE_LEASES), everything(), shutdown, Some);
        self.namespaces.watch::<Namespace>(Api::all(client()), everything(), shutdown, Some);
        self.service_accounts.watch::<ServiceAccount>(
            Api::all(client()),
            everything(),
            shutdown,
            |account| Some(only_secrets_matter(account)),
        );
        let of_type = |name: &str| everything().fields(&format!("type={name}"));
        let tokens = of_type("kubernetes.io/service-account-token");
        self.token_secrets.watch::<Secret>(Api::all(client()), tokens, shutdown, Some);
        if bootstrap_tokens {
            let (secrets, maps) = (Api::namespaced(client(), NAMESPACE), Api::namespaced(client(), PUBLIC));
            let tokens = of_type("bootstrap.kubernetes.io/token");
            self.bootstrap_tokens.watch::<Secret>(secrets, tokens, shutdown, Some);
            let info = everything().fields(&format!("metadata.name={CLUSTER_INFO}"));
            self.cluster_info.watch::<ConfigMap>(maps, info, shutdown, Some);
        }
        let root_ca = everything().fields(&format!("metadata.name={ROOT_CA_MAP}"));
        self.root_ca_maps.watch::<ConfigMap>(Api::all(client()), root_ca, shutdown, Some);
        self.service_cidrs.watch::<ServiceCIDR>(Api::all(client()), everything(), shutdown, Some);
        self.ip_addresses.watch::<IPAddress>(Api::all(client()), everything(), shutdown, Some);
        self.quotas.watch::<ResourceQuota>(Api::all(client()), everything(), shutdown, Some);
        self.policies.watch::<ValidatingAdmissionPolicy>(Api::all(client()), everything(), shutdown, Some);
        self.cluster_roles.watch::<ClusterRole>(Api::all(client()), everything(), shutdown, Some);
        self.definitions.watch::<CustomResourceDefinition>(
            Api::all(client()),
            everything(),
            shutdown,
            |definition| Some(without_schemas(definition)),
        );
        self.signing_requests.watch::<CertificateSigningRequest>(
            Api::all(client()),
            everything(),
            shutdown,
            Some,
        );
        self.volumes.watch::<PersistentVolume>(Api::all(client()), everything(), shutdown, Some);
        self.storage_classes.watch::<StorageClass>(Api::all(client()), everything(), shutdown, Some);
        self.attribute_classes.watch::<VolumeAttributesClass>(
            Api::all(client()),
            everything(),
            shutdown,
            Some,
        );
    }

    /// Lets `vitals` tell which of them are yet to be filled.
    pub(crate) fn watch_over(&self, bootstrap_tokens: bool, vitals: &Vitals) {
        vitals.cache("secrets", &self.token_secrets);
        if bootstrap_tokens {
            vitals.cache("bootstraptokens", &self.bootstrap_tokens);
            vitals.cache("clusterinfo", &self.cluster_info);
        }
        vitals.cache("pods", &self.pods);
        vitals.cache("replicationcontrollers", &self.replication_controllers);
        vitals.cache("replicasets", &self.replica_sets);
        vitals.cache("deployments", &self.deployments);
        vitals.cache("statefulsets", &self.stateful_sets);
        vitals.cache("daemonsets", &self.daemon_sets);
        vitals.cache("controllerrevisions", &self.controller_revisions);
        vitals.cache("persistentvolumeclaims", &self.claims);
        vitals.cache("jobs", &self.jobs);
        vitals.cache("cronjobs", &self.cron_jobs);
        vitals.cache("poddisruptionbudgets", &self.budgets);
        vitals.cache("horizontalpodautoscalers", &self.autoscalers);
        vitals.cache("services", &self.services);
        vitals.cache("endpoints", &self.endpoints);
        vitals.cache("endpointslices", &self.slices);
        vitals.cache("nodes", &self.nodes);
        vitals.cache("leases", &self.leases);
        vitals.cache("namespaces", &self.namespaces);
        vitals.cache("serviceaccounts", &self.service_accounts);
        vitals.cache("configmaps", &self.root_ca_maps);
        vitals.cache("servicecidrs", &self.service_cidrs);
        vitals.cache("ipaddresses", &self.ip_addresses);
        vitals.cache("resourcequotas", &self.quotas);
        vitals.cache("validatingadmissionpolicies", &self.policies);
        vitals.cache("clusterroles", &self.cluster_roles);
        vitals.cache("customresourcedefinitions", &self.definitions);
        vitals.cache("certificatesigningrequests", &self.signing_requests);
        vitals.cache("persistentvolumes", &self.volumes);
        vitals.cache("storageclasses", &self.storage_classes);
        vitals.cache("volumeattributesclasses", &self.attribute_classes);
    }
}

/// The Service that a slice's label names.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.labels().get(SERVICE_NAME_LABEL)?;
    Some(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or(""), name))
}

/// Drops what can be large, and only the API server reads.
fn without_schemas(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        version.schema = None;
        version.additional_printer_columns = None;
    }
    definition
}

/// Drops what the node agent reports and no controller reads; the list of images alone is large.
fn trim_node(mut node: Node) -> Node {
    if let Some(status) = &mut node.status {
        status.images = None;
        status.volumes_attached = None;
        status.volumes_in_use = None;
    }
    node
}

fn only_secrets_matter(account: ServiceAccount) -> ServiceAccount {
    ServiceAccount { metadata: account.metadata, secrets: account.secrets, ..ServiceAccount::default() }
}

/// An API for objects in the namespace of `key`.
pub(crate) fn api<K>(client: &Client, key: &ObjectKey) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), key.namespace())
}
