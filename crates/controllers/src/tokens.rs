//! Fills Secrets of the type `kubernetes.io/service-account-token` that somebody made for a ServiceAccount, and removes them with it.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};

use crate::environment::{Controller, Environment};
use crate::identity::SHARED;
use crate::informers::{Informers, api};
use crate::meta::uid;

/// The ServiceAccount of a Secret, by name.
pub(crate) const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";
const TOKEN: &str = "token";

/// Signs the tokens that Secrets hold.
pub trait TokenSigner: fmt::Debug + Send + Sync {
    /// The token of a Secret for a ServiceAccount.
    ///
    /// # Errors
    /// Why there is none.
    fn sign(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String>;
}

/// A Secret that could not be brought in order.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot sign the token of secret {key}: {why}")]
    Sign { key: ObjectKey, why: String },
    #[error("cannot {what} secret {key}")]
    Api { what: &'static str, key: ObjectKey, source: kube::Error },
}

/// Subscribes to Secrets and ServiceAccounts and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let Some(signer) = environment.config.tokens.clone() else { return Box::pin(async {}) };
    let informers = &environment.informers;
    let queue = environment.vitals.queue("serviceaccount_tokens_secret");
    let wake = queue.clone();
    informers.token_secrets.subscribe(move |change| wake.add(change.key.clone()));
    let (wake, secrets) = (queue.clone(), informers.token_secrets.clone());
    informers.service_accounts.subscribe(move |change| {
        let gone = change
            .new
            .is_none_or(|new| change.old.is_some_and(|old| uid(&old.metadata) != uid(&new.metadata)));
        for secret in secrets.in_namespace(change.key.namespace()).iter().filter(|_| gone) {
            if account_name(secret) == change.key.name() {
                wake.add(ObjectKey::of(&secret.metadata));
            }
        }
    });
    let filler = Filler {
        client: environment.client(SHARED),
        informers: informers.clone(),
        pem: environment.config.root_ca_pem.clone(),
        signer,
    };
    environment.reconciler(
        queue,
        &[&informers.token_secrets, &informers.service_accounts],
        5,
        filler,
        |filler, key| filler.reconcile(key).boxed(),
    )
}

/// What filling Secrets needs.
struct Filler {
    client: Client,
    informers: Informers,
    pem: String,
    signer: Arc<dyn TokenSigner>,
}

impl Filler {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Self { client, informers, pem, signer } = self;
        let Some(secret) = informers.token_secrets.get(&key) else {
            return forget(client, informers, &key).await;
        };
        let Some(account) = account(client, informers, &secret, &key).await? else {
            return remove(client, &secret, key).await;
        };
        let sign = || signer.sign(key.namespace(), &account.name_any(), uid(&account.metadata), key.name());
        let filled = fill(&secret, &account.metadata, pem, sign);
        match filled.map_err(|why| Error::Sign { key: key.clone(), why })? {
            Some(filled) => write(client, &filled, key).await,
            None => Ok(Next::Done),
        }
    }
}

fn account_name(secret: &Secret) -> &str {
    secret.annotations().get(ACCOUNT_NAME).map_or("", String::as_str)
}

/// Whether an account is the one that a Secret is for.
fn is_for(secret: &Secret, account: &ObjectMeta) -> bool {
    secret.annotations().get(ACCOUNT_UID).is_none_or(|wanted| wanted.is_empty() || wanted == uid(account))
}

/// The account of a Secret; one that the cache does not know may have been made just before.
async fn account(
    client: &Client,
    informers: &Informers,
    secret: &Secret,
    key: &ObjectKey,
) -> Result<Option<ServiceAccount>, Error> {
    let name = account_name(secret);
    if let Some(known) = informers.service_accounts.get(&ObjectKey::new(key.namespace(), name))
        && is_for(secret, &known.metadata)
    {
        return Ok(Some((*known).clone()));
    }
    let live = api::<ServiceAccount>(client, key).get_opt(name).await;
    let failed = |source| Error::Api { what: "read the ServiceAccount of", key: key.clone(), source };
    Ok(live.map_err(failed)?.filter(|live| is_for(secret, &live.metadata)))
}

/// The Secret with all that it should have; none if it has that.
fn fill(
    secret: &Secret,
    account: &ObjectMeta,
    pem: &str,
    sign: impl FnOnce() -> Result<String, String>,
) -> Result<Option<Secret>, String> {
    let held =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let is_empty = |key: &str| held(key).is_none_or(<[u8]>::is_empty);
    let wants_ca = !pem.is_empty() && held(CA) != Some(pem.as_bytes());
    let (wants_namespace, wants_token) = (is_empty(NAMESPACE), is_empty(TOKEN));
    if !wants_ca && !wants_namespace && !wants_token {
        return Ok(None);
    }
    let mut filled = secret.clone();
    let data = filled.data.get_or_insert_default();
    if wants_ca {
        data.insert(CA.into(), ByteString(pem.into()));
    }
    if wants_namespace {
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        data.insert(NAMESPACE.into(), ByteString(namespace.into_bytes()));
    }
    if wants_token {
        data.insert(TOKEN.into(), ByteString(sign()?.into_bytes()));
    }
    let annotations = filled.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT_NAME.into(), account.name.clone().unwrap_or_default());
    annotations.insert(ACCOUNT_UID.into(), uid(account).into());
    Ok(Some(filled))
}

async fn write(client: &Client, filled: &Secret, key: ObjectKey) -> Result<Next, Error> {
    match api::<Secret>(client, &key).replace(key.name(), &PostParams::default(), filled).await {
        // Whoever changed it wakes this up again.
        Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(Next::Done),
        Err(source) => Err(Error::Api { what: "fill", key, source }),
        Ok(_) => Ok(Next::Done),
    }
}

async fn remove(client: &Client, secret: &Secret, key: ObjectKey) -> Result<Next, Error> {
    let exactly_this = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(exactly_this), ..DeleteParams::default() };
    match api::<Secret>(client, &key).delete(key.name(), &params).await {
        Err(error) if !is_conflict(&error) && !is_not_found(&error) => {
            Err(Error::Api { what: "delete", key, source: error })
        }
        _ => Ok(Next::Done),
    }
}

/// Takes the name of a Secret that is gone out of ServiceAccounts.
async fn forget(client: &Client, informers: &Informers, key: &ObjectKey) -> Result<Next, Error> {
    let names = |account: &ServiceAccount| {
        account.secrets.iter().flatten().any(|reference| reference.name.as_deref() == Some(key.name()))
    };
    let failed = |source| Error::Api { what: "take out of its ServiceAccount", key: key.clone(), source };
    for account in informers.service_accounts.in_namespace(key.namespace()) {
        if !names(&account) || api::<Secret>(client, key).get_opt(key.name()).await.map_err(failed)?.is_some()
        {
            continue;
        }
        let accounts: Api<ServiceAccount> = api(client, key);
        let Some(mut live) = accounts.get_opt(&account.name_any()).await.map_err(failed)? else { continue };
        if uid(&live.metadata) != uid(&account.metadata) || !names(&live) {
            continue;
        }
        live.secrets.iter_mut().for_each(|all| all.retain(|one| one.name.as_deref() != Some(key.name())));
        match accounts.replace(&account.name_any(), &PostParams::default(), &live).await {
            Err(error) if !is_not_found(&error) => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(Next::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(data: Value) -> Secret {
        let metadata = json!({"name": "s", "namespace": "ns", "annotations": {ACCOUNT_NAME: "sa"}});
        serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
    }

    #[test]
    fn a_secret_gets_what_it_lacks() {
        let account = ObjectMeta { name: Some("sa".into()), uid: Some("u".into()), ..ObjectMeta::default() };
        let filled = fill(&secret(json!({})), &account, "pem", || Ok("t".into())).unwrap().unwrap();
        let held = |secret: &Secret, key: &str| {
            String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
        };
        assert_eq!([CA, NAMESPACE, TOKEN].map(|key| held(&filled, key)), ["pem", "ns", "t"]);
        assert_eq!(filled.annotations()[ACCOUNT_UID], "u");
        assert!(is_for(&filled, &account));
        assert!(!is_for(&filled, &ObjectMeta { uid: Some("v".into()), ..account.clone() }));
        assert_eq!(fill(&filled, &account, "pem", || panic!("it has one")).unwrap(), None);
        let renewed = fill(&filled, &account, "new", || panic!("it has one")).unwrap().unwrap();
        assert_eq!([CA, TOKEN].map(|key| held(&renewed, key)), ["new", "t"]);
        assert_eq!(fill(&secret(json!({})), &account, "", || Err("no".into())), Err("no".into()));
    }
}
