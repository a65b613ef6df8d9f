//! ServiceAccount: every pod runs as one, and finds its token where clients look for it.

use std::time::Duration;

use serde_json::{Value, json};
use skiff_machinery::{Object, keys, names};
use skiff_store::{Entry, Event, EventKind, Key};

use super::mountable;
use super::review::{Review, Write};
use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::registry::Registry;

const DEFAULT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Seconds; an hour and some, so that a token that is renewed hourly never runs out.
const TOKEN_LIFE: i64 = 3607;

/// How long a pod in a fresh namespace waits for the ServiceAccount that a controller makes there.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let (registry, call) = (review.registry, review.call);
    let Some(pod) = review.new_pod() else { return Ok(()) };
    if pod.annotations().contains_key(MIRROR) {
        return refuse(call, pod, mountable::mirror_refusal(pod));
    }
    let name = match pod.str(&["spec", "serviceAccountName"]) {
        "" => DEFAULT.to_owned(),
        name => name.to_owned(),
    };
    pod.set(&["spec", "serviceAccountName"], name.as_str());
    pod.set(&["spec", "serviceAccount"], name.as_str());
    let account = find(registry, call, &name).await?.ok_or_else(|| missing(call, pod, &name))?;
    let account = registry.decoded(call, &account)?;
    if wants_token(pod, &account) {
        mount_token(pod);
    }
    take_pull_secrets(pod, &account);
    let is_enforced = mountable::is_enforced(&account);
    refuse(call, pod, is_enforced.then(|| mountable::refusal(pod, &account)).flatten())
}

/// Whether the pod, as others left it, uses only what it may.
pub(super) async fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    let adds = review.write == Write::Update && review.subresource == "ephemeralcontainers";
    let creates = review.write == Write::Create && review.subresource.is_empty();
    let Some(pod) = review.object.as_deref().filter(|_| review.is_core("Pod") && (adds || creates)) else {
        return Ok(());
    };
    let (registry, call) = (review.registry, review.call);
    if creates && pod.annotations().contains_key(MIRROR) {
        return refuse(call, pod, mountable::mirror_refusal(pod));
    }
    let name = pod.str(&["spec", "serviceAccountName"]);
    if name.is_empty() {
        let why = format!("no service account specified for pod {}/{}", call.namespace(), pod.name());
        return refuse(call, pod, Some(why));
    }
    let account = find(registry, call, name).await?.ok_or_else(|| missing(call, pod, name))?;
    let account = registry.decoded(call, &account)?;
    if !mountable::is_enforced(&account) {
        return Ok(());
    }
    let look = if adds { mountable::ephemeral_refusal } else { mountable::refusal };
    refuse(call, pod, look(pod, &account))
}

fn refuse(call: &Call, pod: &Object, why: Option<impl AsRef<str>>) -> Result<(), ApiError> {
    match why {
        Some(why) => Err(ApiError::forbidden(call.subject(pod.name()), why.as_ref())),
        None => Ok(()),
    }
}

/// A pod that names no image pull secrets gets those of its account.
fn take_pull_secrets(pod: &mut Object, account: &Object) {
    let own = pod.get(&["spec", "imagePullSecrets"]).and_then(Value::as_array);
    if own.is_none_or(Vec::is_empty)
        && let Some(secrets) = account.get(&["imagePullSecrets"])
    {
        pod.set(&["spec", "imagePullSecrets"], secrets.clone());
    }
}

fn missing(call: &Call, pod: &Object, name: &str) -> ApiError {
    let namespace = call.namespace();
    let why =
        format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
    ApiError::forbidden(call.subject(pod.name()), &why)
}

/// Reads the account; the default one is waited for, since a controller makes it.
async fn find(registry: &Registry, call: &Call, name: &str) -> Result<Option<Entry>, ApiError> {
    let key = keys::core("serviceaccounts", call.namespace(), name);
    let store = &registry.store;
    let since = store.revision();
    if let Some(entry) = store.get(&key).await? {
        return Ok(Some(entry));
    }
    if name != DEFAULT {
        return Ok(None);
    }
    let mut watch = store.watch(key.as_str().into(), since).await?;
    let written = tokio::time::timeout(PATIENCE, async {
        while let Ok(batch) = watch.next().await {
            if batch.events.iter().any(|event| is_write_of(event, &key)) {
                return;
            }
        }
    });
    if written.await.is_err() {
        tracing::debug!(%key, "the default ServiceAccount did not appear");
    }
    Ok(store.get(&key).await?)
}

fn is_write_of(event: &Event, key: &Key) -> bool {
    event.kind == EventKind::Put && event.entry.key == *key
}

fn wants_token(pod: &Object, account: &Object) -> bool {
    let own = pod.get(&["spec", "automountServiceAccountToken"]).and_then(Value::as_bool);
    let of_account = account.get(&["automountServiceAccountToken"]).and_then(Value::as_bool);
    own.or(of_account).unwrap_or(true)
}

fn mount_token(pod: &mut Object) {
    let volumes = pod.get(&["spec", "volumes"]).and_then(Value::as_array);
    let mut given = volumes.into_iter().flatten().filter_map(|volume| volume["name"].as_str());
    let present = given.find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let volume = present.clone().unwrap_or_else(|| names::generate(VOLUME_PREFIX));
    let mounted = [mount_in(pod, "initContainers", &volume), mount_in(pod, "containers", &volume)];
    if present.is_none() && mounted.contains(&true) {
        let mut volumes =
            pod.get(&["spec", "volumes"]).and_then(Value::as_array).cloned().unwrap_or_default();
        volumes.push(token_volume(&volume));
        pod.set(&["spec", "volumes"], volumes);
    }
}

/// Mounts the volume in every container that has nothing there yet; tells whether there was one.
fn mount_in(pod: &mut Object, list: &str, volume: &str) -> bool {
    let Some(Value::Array(mut containers)) = pod.remove(&["spec", list]) else { return false };
    let mut any = false;
    for container in &mut containers {
        let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
            continue;
        }
        any = true;
        let own = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
        container["volumeMounts"] = mounts.into_iter().chain([own]).collect();
    }
    pod.set(&["spec", list], containers);
    any
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFE, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_the_token_once_per_container() {
        let mut pod = Object::from_value(json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}],
        }}))
        .unwrap();
        mount_token(&mut pod);
        let volume = pod.get(&["spec", "volumes"]).unwrap()[0]["name"].as_str().unwrap().to_owned();
        assert!(volume.starts_with(VOLUME_PREFIX) && volume.len() == VOLUME_PREFIX.len() + 5);
        let containers = pod.get(&["spec", "containers"]).unwrap().clone();
        assert_eq!(containers[0]["volumeMounts"][0]["name"], volume);
        assert_eq!(containers[1]["volumeMounts"].as_array().unwrap().len(), 1);
        mount_token(&mut pod);
        assert_eq!(pod.get(&["spec", "volumes"]).unwrap().as_array().unwrap().len(), 1);
    }

    #[test]
    fn pull_secrets_are_the_pods_or_else_the_accounts() {
        let account = Object::from_value(json!({"imagePullSecrets": [{"name": "of-account"}]})).unwrap();
        for (own, expected) in [
            (json!({}), "of-account"),
            (json!({"imagePullSecrets": []}), "of-account"),
            (json!({"imagePullSecrets": [{"name": "own"}]}), "own"),
        ] {
            let mut pod = Object::from_value(json!({"spec": own})).unwrap();
            take_pull_secrets(&mut pod, &account);
            assert_eq!(pod.get(&["spec", "imagePullSecrets"]), Some(&json!([{"name": expected}])));
        }
    }

    #[test]
    fn automount_is_decided_by_pod_then_account() {
        let check = |pod: Value, account: Value, expected: bool| {
            let (pod, account) = (Object::from_value(pod).unwrap(), Object::from_value(account).unwrap());
            assert_eq!(wants_token(&pod, &account), expected);
        };
        let off = || json!({"automountServiceAccountToken": false});
        check(json!({}), json!({}), true);
        check(json!({}), off(), false);
        check(json!({"spec": {"automountServiceAccountToken": true}}), off(), true);
        check(json!({"spec": off()}), json!({}), false);
    }
}
