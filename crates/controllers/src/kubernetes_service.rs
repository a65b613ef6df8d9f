//! Keeps the Service `kubernetes` in namespace `default`, and the endpoints that lead to the API server.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as CorePort, EndpointSubset, Endpoints, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use skiff_informer::{Next, ObjectKey, Queue, is_already_exists};
use skiff_ordered::Ordered as _;

use crate::ControllersConfig;
use crate::environment::{Controller, Environment};
use crate::identity::APISERVER;
use crate::informers::{Informers, SERVICE_NAME_LABEL};
use crate::meta::Strings;
use crate::services::Family;

const NAMESPACE: &str = "default";
const SERVICE: &str = "kubernetes";
const PORT_NAME: &str = "https";
/// Keeps the mirroring controller away from Endpoints.
pub(crate) const SKIP_MIRROR_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";

/// One of the three objects could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {kind} {NAMESPACE}/{SERVICE}")]
struct Error {
    kind: &'static str,
    source: kube::Error,
}

/// Subscribes to the three objects and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let (client, config) = (environment.client(APISERVER), environment.config.clone());
    let key = ObjectKey::new(NAMESPACE, SERVICE);
    let queue = environment.vitals.queue("kubernetes_service");
    queue.add(key.clone());
    let (wake, ours) = (queue.clone(), key.clone());
    informers.services.subscribe(move |change| wake_if(&wake, change.key, &ours));
    let (wake, ours) = (queue.clone(), key.clone());
    informers.endpoints.subscribe(move |change| wake_if(&wake, change.key, &ours));
    let wake = queue.clone();
    informers.slices.subscribe(move |change| wake_if(&wake, change.key, &key));
    environment.reconciler(
        queue,
        &[&informers.services, &informers.endpoints, &informers.slices],
        1,
        (client, informers.clone(), config),
        |(client, informers, config), key| reconcile(client, informers, config, key).boxed(),
    )
}

fn wake_if(queue: &Queue<ObjectKey>, changed: &ObjectKey, ours: &ObjectKey) {
    if changed == ours {
        queue.add(ours.clone());
    }
}

async fn reconcile(
    client: &Client,
    informers: &Informers,
    config: &ControllersConfig,
    key: ObjectKey,
) -> Result<Next, Error> {
    if informers.services.get(&key).is_none() {
        let services = Api::namespaced(client.clone(), NAMESPACE);
        created("Service", services.create(&PostParams::default(), &service(config)).await)?;
    }
    let current = informers.endpoints.get(&key);
    if let Some(endpoints) = endpoints(current, config.apiserver) {
        let api = Api::<Endpoints>::namespaced(client.clone(), NAMESPACE);
        let result = match endpoints.metadata.uid {
            None => api.create(&PostParams::default(), &endpoints).await,
            Some(_) => api.replace(SERVICE, &PostParams::default(), &endpoints).await,
        };
        created("Endpoints", result)?;
    }
    let current = informers.slices.get(&key);
    if let Some(slice) = slice(current, config.apiserver) {
        let api = Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE);
        let result = match slice.metadata.uid {
            None => api.create(&PostParams::default(), &slice).await,
            Some(_) => api.replace(SERVICE, &PostParams::default(), &slice).await,
        };
        created("EndpointSlice", result)?;
    }
    Ok(Next::Done)
}

fn created<T>(kind: &'static str, result: kube::Result<T>) -> Result<(), Error> {
    match result {
        Err(source) if !is_already_exists(&source) => Err(Error { kind, source }),
        _ => Ok(()),
    }
}

fn metadata(labels: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        name: Some(SERVICE.into()),
        namespace: Some(NAMESPACE.into()),
        labels: Some(labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).to_map()),
        ..ObjectMeta::default()
    }
}

/// The Service as first created; an existing one is left as it is.
fn service(config: &ControllersConfig) -> Service {
    let address = config.kubernetes_service_ip.to_string();
    let port = ServicePort {
        name: Some(PORT_NAME.into()),
        port: 443,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(config.apiserver.port().into())),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        cluster_ip: Some(address.clone()),
        cluster_ips: Some(vec![address]),
        ip_family_policy: Some("SingleStack".into()),
        ports: Some(vec![port]),
        session_affinity: Some("None".into()),
        type_: Some("ClusterIP".into()),
        ..ServiceSpec::default()
    };
    let metadata = metadata(&[("component", "apiserver"), ("provider", "kubernetes")]);
    Service { metadata, spec: Some(spec), status: None }
}

/// The Endpoints to write over `current`, or `None` if they are right.
fn endpoints(current: Option<Arc<Endpoints>>, apiserver: SocketAddr) -> Option<Endpoints> {
    let address = EndpointAddress { ip: apiserver.ip().to_string(), ..EndpointAddress::default() };
    let port = CorePort {
        name: Some(PORT_NAME.into()),
        port: apiserver.port().into(),
        protocol: Some("TCP".into()),
        app_protocol: None,
    };
    let subset =
        EndpointSubset { addresses: Some(vec![address]), not_ready_addresses: None, ports: Some(vec![port]) };
    let subsets = Some(vec![subset]);
    let Some(current) = current else {
        return Some(Endpoints { metadata: metadata(&[(SKIP_MIRROR_LABEL, "true")]), subsets });
    };
    if current.subsets == subsets
        && current.labels().get(SKIP_MIRROR_LABEL).is_some_and(|value| value == "true")
    {
        return None;
    }
    let mut metadata = current.metadata.clone();
    metadata.labels.get_or_insert_default().insert(SKIP_MIRROR_LABEL.into(), "true".into());
    Some(Endpoints { metadata, subsets })
}

/// The EndpointSlice to write over `current`, or `None` if it is right.
fn slice(current: Option<Arc<EndpointSlice>>, apiserver: SocketAddr) -> Option<EndpointSlice> {
    let conditions = EndpointConditions { ready: Some(true), ..EndpointConditions::default() };
    let endpoint = Endpoint {
        addresses: vec![apiserver.ip().to_string()],
        conditions: Some(conditions),
        ..Endpoint::default()
    };
    let port = EndpointPort {
        name: Some(PORT_NAME.into()),
        port: Some(apiserver.port().into()),
        protocol: Some("TCP".into()),
        app_protocol: None,
    };
    let family = if apiserver.is_ipv4() { Family::V4 } else { Family::V6 };
    let mut wanted = EndpointSlice {
        metadata: metadata(&[(SERVICE_NAME_LABEL, SERVICE)]),
        address_type: family.as_str().into(),
        endpoints: Some(vec![endpoint]),
        ports: Some(vec![port]),
    };
    let Some(current) = current else { return Some(wanted) };
    let labelled = current.labels().get(SERVICE_NAME_LABEL).is_some_and(|value| value == SERVICE);
    if labelled && current.endpoints == wanted.endpoints && current.ports == wanted.ports {
        return None;
    }
    let own = Strings::from([(SERVICE_NAME_LABEL.into(), SERVICE.into())]);
    wanted.metadata = current.metadata.clone();
    wanted.metadata.labels.get_or_insert_default().extend(own);
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APISERVER: &str = "192.0.2.1:6443";

    #[test]
    fn endpoints_and_slice_agree_and_are_written_once() {
        let apiserver: SocketAddr = APISERVER.parse().unwrap();
        let first = endpoints(None, apiserver).unwrap();
        let subset = &first.subsets.as_ref().unwrap()[0];
        let slice_first = slice(None, apiserver).unwrap();
        let endpoint = &slice_first.endpoints.as_ref().unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap()[0].ip, endpoint.addresses[0]);
        assert_eq!(first.labels()[SKIP_MIRROR_LABEL], "true");
        assert_eq!(slice_first.labels().len(), 1, "no managed-by label");
        assert!(endpoints(Some(Arc::new(first.clone())), apiserver).is_none());
        assert!(slice(Some(Arc::new(slice_first)), apiserver).is_none());
        let moved = "192.0.2.2:6443".parse().unwrap();
        assert!(endpoints(Some(Arc::new(first)), moved).is_some());
    }

    #[test]
    fn the_service_has_the_first_address() {
        let config = ControllersConfig {
            root_ca_pem: String::new(),
            pod_cidr: "10.244.0.0/16".parse().unwrap(),
            node_prefix: 24,
            apiserver: APISERVER.parse().unwrap(),
            kubernetes_service_ip: "10.96.0.1".parse().unwrap(),
            signer: None,
            tokens: None,
            bootstrap_tokens: false,
        };
        let spec = service(&config).spec.unwrap();
        assert_eq!(spec.cluster_ip.as_deref(), Some("10.96.0.1"));
        let port = &spec.ports.unwrap()[0];
        assert_eq!((port.port, port.target_port.clone()), (443, Some(IntOrString::Int(6443))));
        assert!(spec.selector.is_none());
    }
}
