//! What the API says about Services, their endpoints, this node and its pods, kept current by watches.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ipnet::Ipv4Net;
use k8s_openapi::api::{
    core::v1::{Node as ApiNode, Pod as ApiPod, Service as ApiService},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, runtime::watcher};
use parking_lot::Mutex;
use skiff_informer::{Cache, ObjectKey};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    ProxyConfig,
    checks::Check,
    model::{Owner, PodName, ServiceName},
    objects::{HostPorts, Service, Slice},
    select::{Location, local_addresses},
    table::{NodeView, ServiceTable, host_port_table, service_table},
};

pub(crate) const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// All Services and EndpointSlices, the node's pods with ports of the node, and the changes that nobody has looked at yet.
pub(crate) struct View {
    services: Cache<Service>,
    slices: Cache<Slice>,
    slices_of: Arc<SlicesOf>,
    pods: Cache<HostPorts>,
    node: watch::Receiver<OwnNode>,
    changes: Arc<Dirty>,
    config: ProxyConfig,
}

type SlicesOf = Mutex<HashMap<ServiceName, Vec<(ObjectKey, Arc<Slice>)>>>;

/// What concerns us of the Node object of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OwnNode {
    zone: Option<Box<str>>,
    pod_cidr: Option<Ipv4Net>,
}

/// Whom to look at again.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) owners: BTreeSet<Owner>,
    /// The node itself changed, which may concern all of them.
    pub(crate) all: bool,
}

impl Changes {
    pub(crate) fn add(&mut self, more: Self) {
        self.owners.extend(more.owners);
        self.all |= more.all;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty() && !self.all
    }
}

/// Collects changes until they are taken; no more than there are Services and pods, however often each changes.
#[derive(Default)]
struct Dirty {
    pending: Mutex<Changes>,
    changed: Notify,
}

impl Dirty {
    fn add(&self, owner: Owner) {
        self.pending.lock().owners.insert(owner);
        self.changed.notify_one();
    }

    fn add_all(&self) {
        self.pending.lock().all = true;
        self.changed.notify_one();
    }
}

impl View {
    /// Starts the watches, until `shutdown`.
    pub(crate) fn watch(client: &Client, config: &ProxyConfig, shutdown: &CancellationToken) -> Self {
        let changes = Arc::new(Dirty::default());
        let view = Self {
            services: Cache::new(),
            slices: Cache::new(),
            slices_of: Arc::default(),
            pods: Cache::new(),
            node: watch_node(client, config, &changes, shutdown),
            changes: changes.clone(),
            config: config.clone(),
        };
        let changed = changes.clone();
        view.services.subscribe(move |change| changed.add(Owner::Service(name_of(change.key))));
        let changed = changes.clone();
        view.pods.subscribe(move |change| changed.add(Owner::Pod(pod_name_of(change.key))));
        let slices_of = view.slices_of.clone();
        view.slices.subscribe(move |change| {
            if let Some(old) = change.old {
                forget_slice(&slices_of, change.key, old);
                changes.add(Owner::Service(old.service.clone()));
            }
            if let Some(new) = change.new {
                slices_of
                    .lock()
                    .entry(new.service.clone())
                    .or_default()
                    .push((change.key.clone(), new.clone()));
                changes.add(Owner::Service(new.service.clone()));
            }
        });
        let (services, slices) = (Api::all(client.clone()), Api::all(client.clone()));
        view.services.watch::<ApiService>(services, watcher::Config::default(), shutdown, |service| {
            Service::from_api(&service)
        });
        let node: Arc<str> = config.node_name.as_str().into();
        let project = move |slice| Slice::from_api(&slice, &node);
        view.slices.watch::<EndpointSlice>(slices, watcher::Config::default(), shutdown, project);
        let here = watcher::Config::default().fields(&format!("spec.nodeName={}", config.node_name));
        view.pods.watch::<ApiPod>(Api::all(client.clone()), here, shutdown, |pod| HostPorts::from_api(&pod));
        view
    }

    /// Waits until Services, EndpointSlices and the node's pods were listed once.
    pub(crate) async fn synced(&self) {
        tokio::join!(self.services.synced(), self.slices.synced(), self.pods.synced());
    }

    /// The range of this node's pods; waits until the node has one.
    pub(crate) async fn pod_cidr(&self) -> Ipv4Net {
        let mut node = self.node.clone();
        loop {
            let pod_cidr = node.borrow_and_update().pod_cidr;
            match pod_cidr {
                Some(pod_cidr) => return pod_cidr,
                None if node.changed().await.is_ok() => {}
                None => std::future::pending().await, // the watches have ended, and so will we
            }
        }
    }

    /// Waits until there are changes to take.
    pub(crate) async fn changed(&self) {
        self.changes.changed.notified().await;
    }

    pub(crate) fn take_changes(&self) -> Changes {
        std::mem::take(&mut self.changes.pending.lock())
    }

    /// What a Service or pod asks of the kernel now; none if it is gone or not for us.
    pub(crate) fn table(&self, owner: &Owner, node: &NodeView) -> Option<ServiceTable> {
        match owner {
            Owner::Service(name) => self.service_table(name, node),
            Owner::Pod(name) => {
                let ports = self.pods.get(&ObjectKey::new(&name.namespace, &name.name))?;
                Some(host_port_table(&ports, node))
            }
        }
    }

    /// What load balancers are to be told of a Service; none if they are told nothing.
    pub(crate) fn check(&self, name: &ServiceName) -> Option<Check> {
        let port = self.services.get(&ObjectKey::new(&name.namespace, &name.name))?.health_port?;
        let slices_of = self.slices_of.lock();
        let slices = slices_of.get(name).into_iter().flatten().map(|(_, slice)| &**slice);
        Some(Check { port, local: local_addresses(slices) })
    }

    fn service_table(&self, name: &ServiceName, node: &NodeView) -> Option<ServiceTable> {
        let service = self.services.get(&ObjectKey::new(&name.namespace, &name.name))?;
        let slices_of = self.slices_of.lock();
        let slices: Vec<&Slice> =
            slices_of.get(name).into_iter().flatten().map(|(_, slice)| &**slice).collect();
        Some(service_table(name, &service, &slices, node))
    }

    pub(crate) fn node(&self) -> NodeView {
        let zone = self.node.borrow().zone.clone();
        let location = Location { node: self.config.node_name.as_str().into(), zone };
        NodeView { location, node_ips: self.config.node_ips.clone() }
    }
}

/// Follows our own Node; when it changes in what concerns us, every Service may have to change.
fn watch_node(
    client: &Client,
    config: &ProxyConfig,
    changes: &Arc<Dirty>,
    shutdown: &CancellationToken,
) -> watch::Receiver<OwnNode> {
    let (sender, receiver) = watch::channel(OwnNode::default());
    let (nodes, changes) = (Cache::<OwnNode>::new(), changes.clone());
    nodes.subscribe(move |change| {
        // A node that was deleted keeps serving as it was until it is back.
        let Some(new) = change.new else { return };
        let differs = |known: &mut OwnNode| std::mem::replace(known, OwnNode::clone(new)) != **new;
        if sender.send_if_modified(differs) {
            changes.add_all();
        }
    });
    let own = watcher::Config::default().fields(&format!("metadata.name={}", config.node_name));
    nodes.watch::<ApiNode>(Api::all(client.clone()), own, shutdown, |node| {
        let zone = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL));
        let pod_cidr = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_ref());
        Some(OwnNode {
            zone: zone.map(|zone| zone.as_str().into()),
            pod_cidr: pod_cidr.and_then(|range| range.parse().ok()),
        })
    });
    receiver
}

fn forget_slice(slices_of: &SlicesOf, key: &ObjectKey, slice: &Slice) {
    let mut slices_of = slices_of.lock();
    if let Some(slices) = slices_of.get_mut(&slice.service) {
        slices.retain(|(known, _)| known != key);
        if slices.is_empty() {
            slices_of.remove(&slice.service);
        }
    }
}

fn pod_name_of(key: &ObjectKey) -> PodName {
    PodName { namespace: key.namespace().into(), name: key.name().into() }
}

fn name_of(key: &ObjectKey) -> ServiceName {
    ServiceName { namespace: key.namespace().into(), name: key.name().into() }
}
