//! Statuses: written when they say something new, and what they count.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::api::PostParams;
use serde::Serialize;
use serde_json::Value;
use skiff_informer::is_not_found;

use super::{InFlight, Owner};
use crate::informers::api;
use crate::pods::KnownPod;

/// Whether `new` says what is said already; what is absent is the same as what is zero, empty or false.
pub(crate) fn says_the_same<S: Serialize>(said: Option<&S>, new: &S) -> bool {
    said.is_some_and(|said| meaning(said) == meaning(new))
}

fn meaning<S: Serialize>(status: &S) -> Option<Value> {
    let mut value = serde_json::to_value(status).ok()?;
    drop_zeros(&mut value);
    Some(value)
}

fn drop_zeros(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(drop_zeros);
            fields.retain(|_, value| !is_zero(value));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_zeros),
        _ => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    }
}

/// Writes the status of `object`. Returns the object as it is then, or nothing if it is gone. Conflicts with others' writes are
/// errors: the caller decided by what it had read.
pub(crate) async fn write<O: Owner>(client: &Client, object: &O) -> kube::Result<Option<O>> {
    let key = object.key();
    match api::<O>(client, &key).replace_status(key.name(), &PostParams::default(), object).await {
        Ok(written) => Ok(Some(written)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes an object with a new status if that says something else than the one there is, and remembers the write.
pub(crate) async fn report<O: Owner, S: Serialize>(
    client: &Client,
    written: &InFlight<O>,
    (said, new): (Option<&S>, S),
    object: impl FnOnce(S) -> O,
) -> kube::Result<()> {
    if says_the_same(said, &new) {
        return Ok(());
    }
    let object = object(new);
    if let Some(now) = write(client, &object).await? {
        written.wrote(&object.key(), now.meta());
    }
    Ok(())
}

/// A number of pods as a status holds it.
pub(crate) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// `minReadySeconds` as a time.
pub(crate) fn min_ready(seconds: Option<i32>) -> Duration {
    Duration::from_secs(u64::try_from(seconds.unwrap_or(0)).unwrap_or(0))
}

/// After how long a pod that is ready counts as available; zero if it does now, `None` while it is not ready.
pub(crate) fn available_in(pod: &KnownPod, min_ready: Duration, now: Timestamp) -> Option<Duration> {
    if !pod.is_ready() {
        return None;
    }
    let ready_for = pod.ready_since().map(|since| Duration::try_from(now.duration_since(since)));
    let ready_for = ready_for.and_then(Result::ok).unwrap_or_default();
    Some(min_ready.saturating_sub(ready_for))
}

/// Whether the pod has been ready for long enough.
pub(crate) fn is_available(pod: &KnownPod, min_ready: Duration, now: Timestamp) -> bool {
    available_in(pod, min_ready, now).is_some_and(|wait| wait.is_zero())
}

/// After how long another of `pods` turns available.
pub(crate) fn next_available(
    pods: &[Arc<KnownPod>],
    min_ready: Duration,
    now: Timestamp,
) -> Option<Duration> {
    pods.iter().filter_map(|pod| available_in(pod, min_ready, now)).filter(|wait| !wait.is_zero()).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_is_zero() {
        let same = |one: Value, other: Value| says_the_same(Some(&one), &other);
        assert!(same(json!({"a": 0, "b": [], "c": null, "d": 1}), json!({"d": 1})));
        assert!(same(json!({"a": {"b": 0}}), json!({})));
        assert!(!same(json!({"a": [{"b": 0}]}), json!({})));
        assert!(!same(json!({"a": 1}), json!({})));
        assert!(!says_the_same(None, &json!({})));
    }
}
