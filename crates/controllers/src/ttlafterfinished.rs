//! Deletes Jobs that have ended for as long as they say they are of use.

use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::job::conditions;

const NAME: &str = "ttl-after-finished-controller";
/// Jobs deleted at once.
const WORKERS: usize = 5;

/// A Job that could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("cannot delete job {job}, whose time is over")]
struct Error {
    job: ObjectKey,
    source: kube::Error,
}

/// Subscribes to Jobs and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("ttl_jobs_to_delete");
    let wake = queue.clone();
    informers.jobs.subscribe(move |change| {
        if change.new.is_some_and(|job| expires(job).is_some()) {
            wake.add(change.key.clone());
        }
    });
    let state = (environment.client(NAME), informers.clone());
    environment.reconciler(queue, &[&informers.jobs], WORKERS, state, |(client, informers), key| {
        reconcile(client, informers, key).boxed()
    })
}

async fn reconcile(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(job) = informers.jobs.get(&key) else { return Ok(Next::Done) };
    if let Some(next) = wait(&job) {
        return Ok(next);
    }
    match delete(client, &key).await {
        Err(error) if !is_not_found(&error) && !is_conflict(&error) => Err(Error { job: key, source: error }),
        done => Ok(done.unwrap_or(Next::Done)),
    }
}

/// Asks once more: the Job may have been given more time since.
async fn delete(client: &Client, key: &ObjectKey) -> kube::Result<Next> {
    let api = api::<Job>(client, key);
    let live = api.get(key.name()).await?;
    if let Some(next) = wait(&live) {
        return Ok(next);
    }
    let exactly_this = Preconditions { uid: live.metadata.uid, resource_version: None };
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(exactly_this),
        ..DeleteParams::default()
    };
    api.delete(key.name(), &params).await.map(|_| Next::Done)
}

/// When to look again; `None` if the time is over.
fn wait(job: &Job) -> Option<Next> {
    let Some(expires) = expires(job) else { return Some(Next::Done) };
    let left = Duration::try_from(expires.duration_since(Timestamp::now())).unwrap_or_default();
    (!left.is_zero()).then_some(Next::After(left))
}

/// When the Job is to be deleted, if it has ended and says so.
fn expires(job: &Job) -> Option<Timestamp> {
    let seconds = u64::try_from(job.spec.as_ref()?.ttl_seconds_after_finished?).unwrap_or(0);
    let ended = conditions::finished(job)?.last_transition_time.as_ref()?.0;
    let expires = ended.checked_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    job.metadata.deletion_timestamp.is_none().then_some(expires)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn jobs_that_have_ended_expire() {
        let check = |ttl: Value, type_: &str, deleted: Value, expected: Option<&str>| {
            let job = json!({
                "metadata": {"name": "j", "deletionTimestamp": deleted},
                "spec": {"ttlSecondsAfterFinished": ttl, "template": {}},
                "status": {"conditions": [
                    {"type": type_, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
            });
            let expires = expires(&serde_json::from_value(job).unwrap()).map(|time| time.to_string());
            assert_eq!(expires.as_deref(), expected);
        };
        check(json!(90), "Complete", Value::Null, Some("2026-01-01T00:01:30Z"));
        check(json!(0), "Failed", Value::Null, Some("2026-01-01T00:00:00Z"));
        check(json!(0), "FailureTarget", Value::Null, None);
        check(Value::Null, "Complete", Value::Null, None);
        check(json!(90), "Complete", json!("2026-01-01T00:00:30Z"), None);
    }
}
