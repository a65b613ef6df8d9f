//! Signs what the ConfigMap `cluster-info` in `kube-public` says, by each token that may sign: a joining node that knows the token
//! then knows that it is this cluster. Whoever sets a cluster up makes the map, and says who may read it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use ring::hmac;
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};
use skiff_ordered::Ordered as _;

use super::{expiration, text};
use crate::environment::{Controller, Environment};
use crate::informers::{CLUSTER_INFO, Informers, PUBLIC};
use crate::meta::Strings;

const NAME: &str = "bootstrap-signer";
/// What is signed.
const KUBECONFIG: &str = "kubeconfig";
/// Before the ID of a token, under which its signature is.
const SIGNATURE: &str = "jws-kubeconfig-";

/// A map that could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the signatures of {PUBLIC}/{CLUSTER_INFO}")]
struct Error(#[from] kube::Error);

/// Subscribes to the map and to tokens and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("bootstrap_signer_queue");
    let map = ObjectKey::new(PUBLIC, CLUSTER_INFO);
    let (wake, key) = (queue.clone(), map.clone());
    informers.cluster_info.subscribe(move |_| wake.add(key.clone()));
    let wake = queue.clone();
    informers.bootstrap_tokens.subscribe(move |_| wake.add(map.clone()));
    environment.reconciler(
        queue,
        &[&informers.bootstrap_tokens, &informers.cluster_info],
        1,
        (environment.client(NAME), informers.clone()),
        |(client, informers), key| sign(client, informers, key).boxed(),
    )
}

async fn sign(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(map) = informers.cluster_info.get(&key) else { return Ok(Next::Done) };
    let tokens = informers.bootstrap_tokens.all();
    let tokens = tokens.iter().filter_map(|secret| signing(secret, Timestamp::now())).to_map();
    let Some(data) = signed(map.data.as_ref(), &tokens) else { return Ok(Next::Done) };
    let signed = ConfigMap { data: Some(data), ..(*map).clone() };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), key.namespace());
    match maps.replace(key.name(), &PostParams::default(), &signed).await {
        // Whoever changed it wakes this up again.
        Err(error) if !is_conflict(&error) && !is_not_found(&error) => Err(error.into()),
        _ => Ok(Next::Done),
    }
}

/// ID and secret of a token that may sign.
fn signing(secret: &Secret, now: Timestamp) -> Option<(String, String)> {
    let (id, key) = (text(secret, "token-id"), text(secret, "token-secret"));
    let named = secret.metadata.name.as_deref()?.strip_prefix("bootstrap-token-")?;
    let is_whole = !key.is_empty() && named == id;
    let holds =
        expiration(secret).is_none_or(|end| end > now) && secret.metadata.deletion_timestamp.is_none();
    (is_whole && holds && text(secret, "usage-bootstrap-signing") == "true")
        .then(|| (id.to_owned(), key.to_owned()))
}

/// The map's data with signatures by just these tokens; none if it is so, or there is nothing to sign.
fn signed(data: Option<&Strings>, tokens: &BTreeMap<String, String>) -> Option<Strings> {
    let data = data?;
    let content = data.get(KUBECONFIG)?;
    let mut wanted: Strings = data
        .iter()
        .filter(|(key, _)| !key.starts_with(SIGNATURE))
        .map(|(k, v)| (k.clone(), v.clone()))
        .to_map();
    wanted.extend(
        tokens.iter().map(|(id, secret)| (format!("{SIGNATURE}{id}"), signature(content, id, secret))),
    );
    (wanted != *data).then_some(wanted)
}

/// A signature (JWS, `HS256`) without what is signed.
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(serde_json::json!({"alg": "HS256", "kid": id}).to_string());
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The example of Kubernetes' own tests.
    #[test]
    fn signatures_are_detached() {
        let content = "Hello from the other side. I must have called a thousand times.";
        assert_eq!(
            signature(content, "joshua", "my voice is my passcode"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
        );
    }

    #[test]
    fn the_map_has_signatures_by_just_these_tokens() {
        let map = |pairs: &[(&str, &str)]| -> Strings {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let tokens = map(&[("abcdef", "0123456789abcdef")]);
        assert_eq!(signed(Some(&map(&[("other", "x")])), &tokens), None);
        let one = signed(Some(&map(&[("kubeconfig", "k"), ("jws-kubeconfig-gone", "x")])), &tokens).unwrap();
        assert_eq!(
            one.keys().map(String::as_str).collect::<Vec<_>>(),
            ["jws-kubeconfig-abcdef", "kubeconfig"]
        );
        assert_eq!(signed(Some(&one), &tokens), None);
        assert_eq!(signed(Some(&one), &Strings::new()).unwrap(), map(&[("kubeconfig", "k")]));
    }

    #[test]
    fn not_every_token_signs() {
        let check = |name: &str, data: Value, expected: bool| {
            let data: serde_json::Map<String, Value> = data
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| {
                    let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap());
                    (key.clone(), encoded.into())
                })
                .collect();
            let secret = serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap();
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            assert_eq!(signing(&secret, now).is_some(), expected, "{name} {data:?}");
        };
        let token = |more: Value| {
            let mut data =
                json!({"token-id": "abcdef", "token-secret": "s", "usage-bootstrap-signing": "true"});
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            data
        };
        check("bootstrap-token-abcdef", token(json!({})), true);
        check("bootstrap-token-other", token(json!({})), false);
        check("bootstrap-token-abcdef", token(json!({"usage-bootstrap-signing": "false"})), false);
        check("bootstrap-token-abcdef", token(json!({"expiration": "2025-01-01T00:00:00Z"})), false);
        check("bootstrap-token-abcdef", token(json!({"expiration": "2027-01-01T00:00:00Z"})), true);
    }
}
