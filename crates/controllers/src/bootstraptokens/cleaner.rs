//! Removes tokens when their time is over.

use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{DeleteParams, Preconditions};
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};

use super::expiration;
use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};

const NAME: &str = "token-cleaner";

/// A token that could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot delete the bootstrap token {secret}, whose time is over")]
struct Error {
    secret: ObjectKey,
    source: kube::Error,
}

/// Subscribes to tokens and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("token_cleaner");
    let wake = queue.clone();
    informers.bootstrap_tokens.subscribe(move |change| {
        if change.new.is_some() {
            wake.add(change.key.clone());
        }
    });
    let state = (environment.client(NAME), informers.clone());
    environment.reconciler(queue, &[&informers.bootstrap_tokens], 1, state, |(client, informers), key| {
        clean(client, informers, key).boxed()
    })
}

async fn clean(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(secret) = informers.bootstrap_tokens.get(&key) else { return Ok(Next::Done) };
    let Some(end) = expiration(&secret) else { return Ok(Next::Done) };
    let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
    if !left.is_zero() {
        return Ok(Next::After(left));
    }
    let exactly_this = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(exactly_this), ..DeleteParams::default() };
    match api::<Secret>(client, &key).delete(key.name(), &params).await {
        Err(error) if !is_conflict(&error) && !is_not_found(&error) => {
            Err(Error { secret: key, source: error })
        }
        _ => Ok(Next::Done),
    }
}
