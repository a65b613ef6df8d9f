//! Gives every namespace its ServiceAccount `default`.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use skiff_informer::{Next, ObjectKey, is_already_exists, is_namespace_terminating, is_not_found};

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::namespaces;

const NAME: &str = "service-account-controller";
const DEFAULT: &str = "default";

/// A ServiceAccount that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create ServiceAccount {DEFAULT} in namespace {namespace}")]
struct Error {
    namespace: String,
    source: kube::Error,
}

/// Subscribes to namespaces and ServiceAccounts and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("serviceaccount");
    namespaces::wake_for_active(informers, &queue);
    let wake = queue.clone();
    informers.service_accounts.subscribe(move |change| {
        if change.new.is_none() && change.key.name() == DEFAULT {
            wake.add(ObjectKey::cluster(change.key.namespace()));
        }
    });
    let client = environment.client(NAME);
    environment.reconciler(
        queue,
        &[&informers.namespaces, &informers.service_accounts],
        4,
        (client, informers.clone()),
        |(client, informers), namespace| ensure(client, informers, namespace).boxed(),
    )
}

async fn ensure(client: &Client, informers: &Informers, namespace: ObjectKey) -> Result<Next, Error> {
    let namespace = namespace.name();
    let exists = informers.service_accounts.get(&ObjectKey::new(namespace, DEFAULT)).is_some();
    if exists || !namespaces::is_active(informers, namespace) {
        return Ok(Next::Done);
    }
    let metadata =
        ObjectMeta { name: Some(DEFAULT.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    match Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &account).await {
        Err(error)
            if is_already_exists(&error) || is_namespace_terminating(&error) || is_not_found(&error) => {}
        Err(source) => return Err(Error { namespace: namespace.into(), source }),
        Ok(_) => {}
    }
    Ok(Next::Done)
}
