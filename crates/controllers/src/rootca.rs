//! Publishes the cluster's CA certificate to every namespace, as ConfigMap `kube-root-ca.crt`.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use skiff_informer::{Next, ObjectKey, is_already_exists, is_namespace_terminating, is_not_found};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, ROOT_CA_MAP};
use crate::meta::Strings;
use crate::namespaces;

const NAME: &str = "root-ca-cert-publisher";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
    internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed \
    across distributions of Kubernetes clusters.";

/// A ConfigMap that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish the root CA to namespace {namespace}")]
struct Error {
    namespace: String,
    source: kube::Error,
}

/// Subscribes to namespaces and the published maps and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("rootca");
    namespaces::wake_for_active(informers, &queue);
    let wake = queue.clone();
    informers.root_ca_maps.subscribe(move |change| wake.add(ObjectKey::cluster(change.key.namespace())));
    let (client, pem) = (environment.client(NAME), environment.config.root_ca_pem.clone());
    environment.reconciler(
        queue,
        &[&informers.namespaces, &informers.root_ca_maps],
        4,
        (client, informers.clone(), pem),
        |(client, informers, pem), namespace| publish(client, informers, pem, namespace).boxed(),
    )
}

/// The map to write over `current`, or `None` if it is right already.
fn plan(namespace: &str, current: Option<&ConfigMap>, pem: &str) -> Option<ConfigMap> {
    let data = Strings::from([("ca.crt".into(), pem.into())]);
    let described =
        |map: &ConfigMap| map.annotations().get(DESCRIPTION).is_some_and(|text| text == DESCRIPTION_TEXT);
    if current.is_some_and(|current| current.data.as_ref() == Some(&data) && described(current)) {
        return None;
    }
    let mut metadata = current.map(|current| current.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        name: Some(ROOT_CA_MAP.into()),
        namespace: Some(namespace.into()),
        ..ObjectMeta::default()
    });
    metadata.annotations.get_or_insert_default().insert(DESCRIPTION.into(), DESCRIPTION_TEXT.into());
    Some(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
}

async fn publish(client: &Client, informers: &Informers, pem: &str, key: ObjectKey) -> Result<Next, Error> {
    let namespace = key.name();
    if !namespaces::is_active(informers, namespace) {
        return Ok(Next::Done);
    }
    let current = informers.root_ca_maps.get(&ObjectKey::new(namespace, ROOT_CA_MAP));
    let Some(map) = plan(namespace, current.as_deref(), pem) else { return Ok(Next::Done) };
    let api = Api::namespaced(client.clone(), namespace);
    let result = match current {
        None => api.create(&PostParams::default(), &map).await,
        Some(_) => api.replace(ROOT_CA_MAP, &PostParams::default(), &map).await,
    };
    match result {
        Err(error)
            if is_already_exists(&error) || is_namespace_terminating(&error) || is_not_found(&error) => {}
        Err(source) => return Err(Error { namespace: namespace.into(), source }),
        Ok(_) => {}
    }
    Ok(Next::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wrong_map_is_written() {
        let mut map = plan("ns", None, "pem").unwrap();
        assert_eq!(map.data.as_ref().unwrap()["ca.crt"], "pem");
        assert!(plan("ns", Some(&map), "pem").is_none());
        assert!(plan("ns", Some(&map), "renewed").is_some());
        map.labels_mut().insert("mine".into(), "x".into());
        map.data.as_mut().unwrap().insert("extra".into(), "x".into());
        let repaired = plan("ns", Some(&map), "pem").unwrap();
        assert_eq!(repaired.labels()["mine"], "x");
        assert_eq!(repaired.data.unwrap().len(), 1);
    }
}
