//! Repairs the reservations of cluster IPs: an IPAddress for each Service's address, none without a Service.
//!
//! Reservations are written together with the Service, so this finds something only after objects were edited by hand.

use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, IPAddressSpec, ParentReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use skiff_informer::{
    EventType, Happening, Index, Next, ObjectKey, SeriesRecorder, is_already_exists, is_conflict,
    is_not_found,
};

use crate::environment::{Controller, Environment};
use crate::identity::APISERVER;
use crate::informers::Informers;
use crate::meta::Strings;
use crate::services::Family;

/// How long a mismatch must last before it is repaired.
const GRACE: Duration = Duration::from_secs(10);

/// A reservation that could not be repaired.
#[derive(Debug, thiserror::Error)]
#[error("cannot repair IPAddress {address}")]
struct Error {
    address: ObjectKey,
    source: kube::Error,
}

struct Repair {
    client: Client,
    informers: Informers,
    by_address: Index<String, Service>,
    recorder: SeriesRecorder,
}

/// What one address needs.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    /// The Service has no reservation, or another object holds it.
    Reserve(ParentReference),
    /// The reservation belongs to no Service.
    Free,
}

/// Subscribes to Services and IPAddresses and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("ipaddresses");
    let by_address = Index::new(&informers.services, |_, service| cluster_ips(service));
    let wake = queue.clone();
    informers.services.subscribe(move |change| {
        let addresses = change.both().flat_map(|service| cluster_ips(service));
        addresses.for_each(|address| wake.add_after(ObjectKey::cluster(&address), GRACE));
    });
    let wake = queue.clone();
    informers.ip_addresses.subscribe(move |change| wake.add_after(change.key.clone(), GRACE));
    let client = environment.client(APISERVER);
    let recorder = SeriesRecorder::start(client.clone(), "ipallocator-repair-controller");
    let repair = Repair { client, informers: informers.clone(), by_address, recorder };
    environment.reconciler(
        queue,
        &[&informers.services, &informers.ip_addresses],
        2,
        repair,
        |repair, address| repair.reconcile(address).boxed(),
    )
}

/// The addresses of a Service in canonical form.
fn cluster_ips(service: &Service) -> Vec<String> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let parsed = listed.filter_map(|address| address.parse::<std::net::IpAddr>().ok());
    let mut addresses: Vec<_> = parsed.map(|address| address.to_string()).collect();
    addresses.dedup();
    addresses
}

fn step(claimant: Option<&Service>, reservation: Option<&IPAddress>) -> Step {
    let wanted = claimant.map(|service| ParentReference {
        group: Some(String::new()),
        resource: "services".into(),
        namespace: service.namespace(),
        name: service.name_any(),
    });
    let held = reservation.map(|address| {
        let parent = address.spec.parent_ref.clone();
        ParentReference { group: Some(parent.group.unwrap_or_default()), ..parent }
    });
    match (wanted, held) {
        (Some(wanted), held) if held.as_ref() != Some(&wanted) => Step::Reserve(wanted),
        (None, Some(_)) => Step::Free,
        _ => Step::Nothing,
    }
}

impl Repair {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let claimant = self.by_address.get(&key.name().to_owned()).into_iter().next();
        let reservation = self.informers.ip_addresses.get(&key);
        let result = match step(claimant.as_deref(), reservation.as_deref()) {
            Step::Nothing => Ok(()),
            Step::Free => self.free(&key, reservation.as_deref()).await,
            Step::Reserve(parent) => {
                if let Some(service) = &claimant {
                    let message = format!("Cluster IP [{}]: {key} is not allocated; repairing", key.name());
                    self.recorder.event(Happening {
                        regarding: service.object_ref(&()),
                        related: None,
                        kind: EventType::Warning,
                        reason: "ClusterIPNotAllocated",
                        action: "ClusterIPAllocation",
                        note: message,
                    });
                }
                self.reserve(&key, parent, reservation.as_deref()).await
            }
        };
        match result {
            Err(error) if is_not_found(&error) || is_already_exists(&error) || is_conflict(&error) => {}
            Err(source) => return Err(Error { address: key, source }),
            Ok(()) => {}
        }
        Ok(Next::Done)
    }

    /// Deletes the reservation, unless a fresh read shows that its Service exists after all.
    async fn free(&self, key: &ObjectKey, reservation: Option<&IPAddress>) -> kube::Result<()> {
        let Some(reservation) = reservation else { return Ok(()) };
        let parent = &reservation.spec.parent_ref;
        if parent.resource == "services" {
            let namespace = parent.namespace.as_deref().unwrap_or("");
            let services = Api::<Service>::namespaced(self.client.clone(), namespace);
            let live = services.get_opt(&parent.name).await?;
            if live.is_some_and(|service| cluster_ips(&service).iter().any(|address| address == key.name())) {
                return Ok(());
            }
        }
        self.delete(key, reservation).await
    }

    async fn delete(&self, key: &ObjectKey, reservation: &IPAddress) -> kube::Result<()> {
        let exactly_this = Preconditions { uid: reservation.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(exactly_this), ..DeleteParams::default() };
        Api::<IPAddress>::all(self.client.clone()).delete(key.name(), &params).await.map(drop)
    }

    async fn reserve(
        &self,
        key: &ObjectKey,
        parent_ref: ParentReference,
        wrong: Option<&IPAddress>,
    ) -> kube::Result<()> {
        // The parent is immutable: a wrong reservation is replaced.
        if let Some(wrong) = wrong {
            self.delete(key, wrong).await?;
        }
        let family = Family::of(key.name()).unwrap_or(Family::V4).as_str();
        let labels = Strings::from([
            ("ipaddress.kubernetes.io/ip-family".into(), family.into()),
            ("ipaddress.kubernetes.io/managed-by".into(), "ipallocator.k8s.io".into()),
        ]);
        let metadata =
            ObjectMeta { name: Some(key.name().into()), labels: Some(labels), ..ObjectMeta::default() };
        let address = IPAddress { metadata, spec: IPAddressSpec { parent_ref } };
        Api::all(self.client.clone()).create(&PostParams::default(), &address).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mismatches_are_found() {
        let service = |name: &str| -> Service {
            serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": name}})).unwrap()
        };
        let address = |name: &str| -> IPAddress {
            let parent = json!({"resource": "services", "namespace": "ns", "name": name});
            serde_json::from_value(json!({"spec": {"parentRef": parent}})).unwrap()
        };
        assert_eq!(step(Some(&service("a")), Some(&address("a"))), Step::Nothing);
        assert_eq!(step(None, None), Step::Nothing);
        assert_eq!(step(None, Some(&address("a"))), Step::Free);
        let Step::Reserve(parent) = step(Some(&service("a")), Some(&address("b"))) else {
            panic!("wrong parent")
        };
        assert_eq!(parent.name, "a");
        assert!(matches!(step(Some(&service("a")), None), Step::Reserve(_)));
    }
}
