//! Mirrors Endpoints that users make for Services without a selector into EndpointSlices, which is what proxies read.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use skiff_informer::{EventType, Recorder};
use skiff_informer::{Next, ObjectKey, describe};

use crate::endpointslice::{
    CAPACITY, Frame, Group, MANAGED_BY_LABEL, Placeholder, Plan, PortSet, STALE_CACHE_BOUND, SliceWriter,
    WriteError, pack,
};
use crate::environment::{Controller, Environment};
use crate::informers::{Informers, SERVICE_NAME_LABEL};
use crate::kubernetes_service::SKIP_MIRROR_LABEL;
use crate::meta;
use crate::services::{Family, TRIGGER_TIME};

const NAME: &str = "endpointslicemirroring-controller";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Most addresses of one subset that are mirrored.
const MOST_OF_SUBSET: usize = 1000;
/// Annotations that say something about the Endpoints object itself.
const NOT_COPIED: [&str; 2] = [TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration"];
/// Endpoints that carry this are locks, not addresses.
const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

struct Mirroring {
    writer: SliceWriter,
    informers: Informers,
    recorder: Recorder,
}

/// Subscribes to Endpoints, Services and slices and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("mirroring");
    let wake = queue.clone();
    informers.endpoints.subscribe(move |change| wake.add(change.key.clone()));
    let wake = queue.clone();
    informers.services.subscribe(move |change| wake.add(change.key.clone()));
    SliceWriter::subscribe(informers, MANAGER, &queue);
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let writer = SliceWriter::new(client, informers.clone(), MANAGER);
    let mirroring = Mirroring { writer, informers: informers.clone(), recorder };
    environment.reconciler(
        queue,
        &[&informers.endpoints, &informers.services, &informers.slices],
        4,
        mirroring,
        |mirroring, key| mirroring.reconcile(key).boxed(),
    )
}

/// Whether the Endpoints of that Service are to be mirrored.
fn is_mirrored(service: Option<&Service>, endpoints: &Endpoints) -> bool {
    let no_selector = |service: &Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_none_or(|selector| selector.is_empty())
    };
    let skipped = endpoints.labels().get(SKIP_MIRROR_LABEL).is_some_and(|value| value == "true");
    service.is_some_and(no_selector) && !skipped && !endpoints.annotations().contains_key(LEADER_ANNOTATION)
}

/// The writes that make the slices say what `endpoints` says; without it, none are left.
fn plan(endpoints: Option<&Endpoints>, existing: &[Arc<EndpointSlice>]) -> Plan {
    let Some(endpoints) = endpoints else {
        return Plan { delete: existing.to_vec(), ..Plan::default() };
    };
    let meta = frame_meta(endpoints);
    let mut plan = Plan::default();
    for family in [Family::V4, Family::V6] {
        let of_family: Vec<_> =
            existing.iter().filter(|slice| slice.address_type == family.as_str()).cloned().collect();
        let placeholder = Placeholder::None;
        let frame = Frame { meta: &meta, address_type: family.as_str(), capacity: CAPACITY, placeholder };
        let part = pack(&frame, &of_family, desired(endpoints, family));
        plan.create.extend(part.create);
        plan.update.extend(part.update);
        plan.delete.extend(part.delete);
    }
    plan
}

fn desired(endpoints: &Endpoints, family: Family) -> BTreeMap<PortSet, Group> {
    let mut groups = BTreeMap::<PortSet, Group>::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let all = ready.chain(not_ready).take(MOST_OF_SUBSET);
        let mut of_family = all.filter(|(address, _)| Family::of(&address.ip) == Some(family)).peekable();
        if of_family.peek().is_none() {
            continue;
        }
        let ports = ports(subset);
        let group = groups.entry(PortSet::of(Some(&ports))).or_default();
        group.ports = ports;
        group.endpoints.extend(of_family.map(|(address, ready)| endpoint(address, ready)));
    }
    groups
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    };
    subset.ports.iter().flatten().map(port).collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn frame_meta(endpoints: &Endpoints) -> ObjectMeta {
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME_LABEL.into(), endpoints.name_any());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGER.into());
    let mut annotations = endpoints.annotations().clone();
    annotations.retain(|name, _| !NOT_COPIED.contains(&name.as_str()));
    ObjectMeta {
        generate_name: Some(format!("{}-", endpoints.name_any())),
        namespace: endpoints.namespace(),
        labels: Some(labels),
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        owner_references: Some(vec![meta::controller_reference(endpoints)]),
        ..ObjectMeta::default()
    }
}

impl Mirroring {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(existing) = self.writer.existing(&key) else { return Ok(Next::After(STALE_CACHE_BOUND)) };
        let service = self.informers.services.get(&key);
        let endpoints = self.informers.endpoints.get(&key);
        let endpoints = endpoints.filter(|endpoints| is_mirrored(service.as_deref(), endpoints));
        if endpoints.is_none() && existing.is_empty() {
            self.writer.forget(&key);
            return Ok(Next::Done);
        }
        let result = self.writer.execute(&key, plan(endpoints.as_deref(), &existing)).await;
        if let (Err(error), Some(endpoints)) = (&result, &endpoints) {
            let message =
                format!("Error updating EndpointSlices for Endpoints {key}: {}", describe(&error.source));
            let object = kube::Resource::object_ref(endpoints.as_ref(), &());
            self.recorder.event(object, EventType::Warning, "FailedToUpdateEndpointSlices", message);
        }
        result.map(|()| Next::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoints(change: Value) -> Endpoints {
        let mut endpoints = json!({
            "metadata": {"name": "custom", "namespace": "ns", "uid": "e", "labels": {"team": "a"}, "annotations": {
                "mine": "x", "endpoints.kubernetes.io/last-change-trigger-time": "t"}},
            "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
                         "ports": [{"port": 80}]}],
        });
        for (key, value) in change.as_object().unwrap() {
            endpoints[key] = value.clone();
        }
        serde_json::from_value(endpoints).unwrap()
    }

    #[test]
    fn slices_say_what_endpoints_say() {
        let plan = plan(Some(&endpoints(json!({}))), &[]);
        let slice = &plan.create[0];
        assert_eq!(plan.create.len(), 1);
        assert_eq!(slice.labels()[SERVICE_NAME_LABEL], "custom");
        assert_eq!(slice.labels()[MANAGED_BY_LABEL], MANAGER);
        assert_eq!(slice.labels()["team"], "a");
        assert_eq!(slice.annotations().keys().collect::<Vec<_>>(), ["mine"]);
        assert_eq!(slice.owner_references()[0].kind, "Endpoints");
        let found = slice.endpoints.iter().flatten();
        let found: Vec<_> =
            found.map(|e| (e.addresses[0].as_str(), e.conditions.as_ref().unwrap().ready.unwrap())).collect();
        assert_eq!(found, [("192.0.2.1", true), ("192.0.2.2", false)]);
        assert_eq!(slice.ports.as_ref().unwrap()[0].name.as_deref(), Some(""));
    }

    #[test]
    fn subsets_and_families_have_their_own_slices_and_emptied_ones_go() {
        let subsets = json!({"subsets": [
            {"addresses": [{"ip": "192.0.2.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]},
            {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 81}]},
        ]});
        let mut first = plan(Some(&endpoints(subsets)), &[]);
        assert_eq!(first.create.len(), 3);
        let named = |(number, slice): (usize, EndpointSlice)| {
            let metadata = ObjectMeta { name: Some(number.to_string()), ..slice.metadata };
            Arc::new(EndpointSlice { metadata, ..slice })
        };
        let existing: Vec<_> = first.create.drain(..).enumerate().map(named).collect();
        let emptied = plan(Some(&endpoints(json!({"subsets": []}))), &existing);
        assert_eq!((emptied.create.len(), emptied.update.len(), emptied.delete.len()), (0, 0, 3));
        assert_eq!(plan(None, &existing).delete.len(), 3);
    }

    #[test]
    fn only_users_endpoints_are_mirrored() {
        let service = |spec: Value| -> Service { serde_json::from_value(json!({"spec": spec})).unwrap() };
        let plain = service(json!({}));
        assert!(is_mirrored(Some(&plain), &endpoints(json!({}))));
        assert!(!is_mirrored(None, &endpoints(json!({}))));
        assert!(!is_mirrored(Some(&service(json!({"selector": {"a": "b"}}))), &endpoints(json!({}))));
        let skip = json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}});
        assert!(!is_mirrored(Some(&plain), &endpoints(skip)));
        let lock = json!({"metadata": {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}});
        assert!(!is_mirrored(Some(&plain), &endpoints(lock)));
    }
}
