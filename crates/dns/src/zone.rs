//! The cluster's names, indexed for lookup.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;
use skiff_informer::ObjectKey;

use crate::records::{EndpointRecord, PortRecord, ServiceRecord, SliceRecord};

/// Everything the server knows of the cluster.
pub struct Zone {
    domain: Name,
    namespaces: HashSet<Box<str>>,
    services: HashMap<ObjectKey, Arc<ServiceRecord>>,
    slices: HashMap<ObjectKey, Arc<SliceRecord>>,
    slices_of: HashMap<ObjectKey, Vec<ObjectKey>>,
    service_at: HashMap<IpAddr, ObjectKey>,
    slices_at: HashMap<IpAddr, Vec<ObjectKey>>,
    serial: u32,
    synced: bool,
}

impl Zone {
    /// An empty zone for `domain`, such as `cluster.local.`; not synced yet.
    pub fn new(domain: Name) -> Self {
        let mut domain = domain.to_lowercase();
        domain.set_fqdn(true);
        Self {
            domain,
            namespaces: HashSet::new(),
            services: HashMap::new(),
            slices: HashMap::new(),
            slices_of: HashMap::new(),
            service_at: HashMap::new(),
            slices_at: HashMap::new(),
            serial: 1,
            synced: false,
        }
    }

    /// The zone's own name.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// Changes with every change of a record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether a missing name is known to be missing.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Declares the zone complete.
    pub fn set_synced(&mut self) {
        self.synced = true;
    }

    /// Adds or removes a namespace.
    pub fn set_namespace(&mut self, name: &str, exists: bool) {
        self.changed();
        if exists {
            self.namespaces.insert(name.into());
        } else {
            self.namespaces.remove(name);
        }
    }

    /// Adds, replaces or removes a Service.
    pub fn set_service(&mut self, key: &ObjectKey, record: Option<Arc<ServiceRecord>>) {
        self.changed();
        let addresses = |record: &Option<Arc<ServiceRecord>>| match record.as_deref() {
            Some(ServiceRecord::Cluster { addresses, .. }) => addresses.to_vec(),
            _ => Vec::new(),
        };
        for address in addresses(&self.services.remove(key).clone()) {
            if self.service_at.get(&address) == Some(key) {
                self.service_at.remove(&address);
            }
        }
        for address in addresses(&record) {
            self.service_at.insert(address, key.clone());
        }
        if let Some(record) = record {
            self.services.insert(key.clone(), record);
        }
    }

    /// Adds, replaces or removes a slice.
    pub fn set_slice(&mut self, key: &ObjectKey, record: Option<Arc<SliceRecord>>) {
        self.changed();
        if let Some(old) = self.slices.remove(key) {
            forget(&mut self.slices_of, &old.service, key);
            old.endpoints.iter().for_each(|endpoint| forget(&mut self.slices_at, &endpoint.address, key));
        }
        let Some(new) = record else { return };
        self.slices_of.entry(new.service.clone()).or_default().push(key.clone());
        for endpoint in &new.endpoints {
            let slices = self.slices_at.entry(endpoint.address).or_default();
            if !slices.contains(key) {
                slices.push(key.clone());
            }
        }
        self.slices.insert(key.clone(), new);
    }

    fn changed(&mut self) {
        self.serial = self.serial.wrapping_add(1).max(1);
    }

    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
    }

    pub(crate) fn service(&self, key: &ObjectKey) -> Option<&ServiceRecord> {
        self.services.get(key).map(Arc::as_ref)
    }

    /// The ready endpoints of a Service with the ports of their slice.
    pub(crate) fn endpoints(
        &self,
        service: &ObjectKey,
    ) -> impl Iterator<Item = (&EndpointRecord, &[PortRecord])> {
        let slices = self.slices_of.get(service).into_iter().flatten();
        let slices = slices.filter_map(|key| self.slices.get(key));
        slices.flat_map(|slice| slice.endpoints.iter().map(|endpoint| (endpoint, &*slice.ports)))
    }

    /// The Service whose cluster IP is `address`.
    pub(crate) fn service_at(&self, address: IpAddr) -> Option<&ObjectKey> {
        self.service_at.get(&address)
    }

    /// The Services that have a ready endpoint at `address`, with that endpoint.
    pub(crate) fn endpoints_at(
        &self,
        address: IpAddr,
    ) -> impl Iterator<Item = (&ObjectKey, &EndpointRecord)> {
        let slices = self.slices_at.get(&address).into_iter().flatten();
        let slices = slices.filter_map(|key| self.slices.get(key));
        slices.flat_map(move |slice| {
            let here = slice.endpoints.iter().filter(move |endpoint| endpoint.address == address);
            here.map(|endpoint| (&slice.service, endpoint))
        })
    }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<ObjectKey>>, at: &K, key: &ObjectKey) {
    if let Some(keys) = index.get_mut(at) {
        keys.retain(|other| other != key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}
