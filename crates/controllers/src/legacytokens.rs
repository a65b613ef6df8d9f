//! Marks, and then removes, generated Secrets with tokens of ServiceAccounts that nobody has used for a year.
//!
//! Only those that their ServiceAccount names are generated: Kubernetes made them before 1.24. What people made stays.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::meta::uid;
use crate::tokens::ACCOUNT_NAME;

const NAME: &str = "legacy-service-account-token-cleaner";
/// Says since when uses are noted.
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// As long as a token must be of no use: Kubernetes' default.
const UNUSED: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How often it is looked.
const PAUSE: Duration = Duration::from_secs(24 * 3600);

/// A Secret that could not be cleaned up.
#[derive(Debug, thiserror::Error)]
#[error("cannot clean up tokens of ServiceAccounts that nobody uses")]
struct Error(#[from] kube::Error);

/// Returns the running controller. Days pass without anybody telling, so it looks once a day.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("legacy_service_account_token_cleaner");
    queue.add(ObjectKey::new("kube-system", TRACKING));
    environment.reconciler(
        queue,
        &[&informers.token_secrets, &informers.service_accounts],
        1,
        (environment.client(NAME), informers.clone()),
        |(client, informers), _| clean(client, informers).boxed(),
    )
}

/// What becomes of a Secret.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It is marked, and its token no longer taken.
    Marked,
    Goes,
}

fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// What becomes of a Secret of an account, if no pod uses it.
fn fate(secret: &Secret, account: &ServiceAccount, now: Timestamp) -> Fate {
    let oldest = now - UNUSED;
    let created = secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let is_named = |name: &str| account.secrets.iter().flatten().any(|one| one.name.as_deref() == Some(name));
    let is_young = created.is_none_or(|created| created >= oldest);
    if is_young || secret.metadata.deletion_timestamp.is_some() || !is_named(&secret.name_any()) {
        return Fate::Stays;
    }
    let label = |name: &str| secret.labels().get(name);
    match label(LAST_USED).map(|text| text.parse::<Date>()) {
        Some(Ok(used)) if used < day(oldest) => {}
        None => {}
        // What is no day tells nothing.
        Some(_) => return Fate::Stays,
    }
    match label(INVALID_SINCE).map(|text| text.parse::<Date>()) {
        Some(Ok(since)) if since < day(oldest) => Fate::Goes,
        Some(Ok(_)) => Fate::Stays,
        _ => Fate::Marked,
    }
}

async fn clean(client: &Client, informers: &Informers) -> Result<Next, Error> {
    let now = Timestamp::now();
    if !is_tracked_for_long(client, now).await? {
        return Ok(Next::After(PAUSE));
    }
    for secret in informers.token_secrets.all() {
        let key = ObjectKey::of(&secret.metadata);
        let name = secret.annotations().get(ACCOUNT_NAME).cloned().unwrap_or_default();
        let account = informers.service_accounts.get(&ObjectKey::new(key.namespace(), &name));
        let fate = account.map_or(Fate::Stays, |account| fate(&secret, &account, now));
        if fate == Fate::Stays || is_used_by_pods(client, &key).await? {
            continue;
        }
        match carry_out(client, &secret, &key, &fate, now).await {
            Err(error) if !is_conflict(&error) && !is_not_found(&error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(Next::After(PAUSE))
}

async fn carry_out(
    client: &Client,
    secret: &Secret,
    key: &ObjectKey,
    fate: &Fate,
    now: Timestamp,
) -> kube::Result<()> {
    let secrets: Api<Secret> = api(client, key);
    if *fate == Fate::Marked {
        let metadata = json!({"uid": uid(&secret.metadata), "labels": {INVALID_SINCE: day(now).to_string()}});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        return secrets.patch(key.name(), &PatchParams::default(), &patch).await.map(drop);
    }
    let exactly_this =
        Preconditions { uid: None, resource_version: secret.metadata.resource_version.clone() };
    let params = DeleteParams { preconditions: Some(exactly_this), ..DeleteParams::default() };
    secrets.delete(key.name(), &params).await.map(drop)
}

/// Whether uses have been noted for as long as a token must be of no use, from the end of the first day on.
async fn is_tracked_for_long(client: &Client, now: Timestamp) -> Result<bool, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let map = maps.get_opt(TRACKING).await?;
    let since = map.as_ref().and_then(|map| map.data.as_ref()?.get("since"));
    let since = since.and_then(|text| text.parse::<Date>().ok()).and_then(|day| day.tomorrow().ok());
    Ok(since.is_some_and(|since| since <= day(now - UNUSED)))
}

async fn is_used_by_pods(client: &Client, key: &ObjectKey) -> Result<bool, Error> {
    let pods = api::<Pod>(client, key).list(&ListParams::default()).await?;
    let mut names = BTreeSet::new();
    for pod in pods {
        secrets_of(&json!(pod.spec), &mut names);
    }
    Ok(names.contains(key.name()))
}

/// The Secrets that a pod names anywhere.
fn secrets_of(part: &Value, names: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            for (field, value) in fields {
                let is_reference =
                    field.ends_with("ecretRef") || matches!(&**field, "secretKeyRef" | "secret");
                let name = match value {
                    Value::String(name) if field == "secretName" => Some(name),
                    Value::Object(reference) if is_reference => reference
                        .get("name")
                        .and_then(|name| if let Value::String(name) = name { Some(name) } else { None }),
                    _ => None,
                };
                names.extend(name.cloned());
                if let (Value::Array(list), "imagePullSecrets") = (value, &**field) {
                    names.extend(list.iter().filter_map(|one| one["name"].as_str()).map(String::from));
                }
                secrets_of(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secrets_of(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_is_marked_and_later_goes() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {}, "secrets": [{"name": "s"}]})).unwrap();
        let check = |name: &str, created: &str, labels: Value, expected: Fate| {
            let metadata = json!({"name": name, "creationTimestamp": created, "labels": labels});
            let secret: Secret = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            assert_eq!(fate(&secret, &account, now), expected, "{metadata}");
        };
        let old = "2024-01-01T00:00:00Z";
        check("s", old, json!({}), Fate::Marked);
        check("s", "2025-07-01T00:00:00Z", json!({}), Fate::Stays);
        check("made-by-hand", old, json!({}), Fate::Stays);
        check("s", old, json!({LAST_USED: "2025-05-31"}), Fate::Marked);
        check("s", old, json!({LAST_USED: "2025-06-01"}), Fate::Stays);
        check("s", old, json!({LAST_USED: "long ago"}), Fate::Stays);
        check("s", old, json!({INVALID_SINCE: "2025-06-01"}), Fate::Stays);
        check("s", old, json!({INVALID_SINCE: "2025-05-31"}), Fate::Goes);
        check("s", old, json!({INVALID_SINCE: "long ago"}), Fate::Marked);
    }

    #[test]
    fn pods_name_secrets_in_many_places() {
        let spec = json!({
            "imagePullSecrets": [{"name": "a"}],
            "volumes": [{"secret": {"secretName": "b"}}, {"projected": {"sources": [{"secret": {"name": "c"}}]}},
                        {"csi": {"nodePublishSecretRef": {"name": "d"}}}],
            "containers": [{"name": "not", "envFrom": [{"secretRef": {"name": "e"}}],
                            "env": [{"valueFrom": {"secretKeyRef": {"name": "f", "key": "not"}}}]}],
        });
        let mut names = BTreeSet::new();
        secrets_of(&spec, &mut names);
        assert_eq!(names.into_iter().collect::<String>(), "abcdef");
    }
}
