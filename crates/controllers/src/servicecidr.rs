//! Reports each ServiceCIDR ready, and lets a deleted one go once no address depends on it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use skiff_informer::{Next, ObjectKey, is_not_found};
use skiff_machinery::addresses;

use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "service-cidrs-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// How long after its deletion began a range can still be handed out by an API server that has not heard of it.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// A ServiceCIDR that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} ServiceCIDR {key}")]
struct Error {
    action: &'static str,
    key: ObjectKey,
    source: kube::Error,
}

/// What a ServiceCIDR needs now.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    AddFinalizer,
    ReportReady,
    ReportTerminating,
    RemoveFinalizer,
    Wait(Duration),
}

/// Subscribes to ServiceCIDRs and IPAddresses and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("servicecidr");
    let (wake, ranges) = (queue.clone(), informers.service_cidrs.clone());
    informers.service_cidrs.subscribe(move |change| {
        // Another range may take over, or leave, the addresses of one that is being deleted.
        ranges.all().iter().filter(|range| is_deleting(range)).for_each(|range| wake.add(key_of(range)));
        wake.add(change.key.clone());
    });
    let (wake, ranges) = (queue.clone(), informers.service_cidrs.clone());
    informers.ip_addresses.subscribe(move |change| {
        if change.new.is_none() {
            ranges.all().iter().filter(|range| is_deleting(range)).for_each(|range| wake.add(key_of(range)));
        }
    });
    let client = environment.client(NAME);
    environment.reconciler(
        queue,
        &[&informers.service_cidrs, &informers.ip_addresses],
        1,
        (client, informers.clone()),
        |(client, informers), key| reconcile(client, informers, key).boxed(),
    )
}

fn key_of(range: &ServiceCIDR) -> ObjectKey {
    ObjectKey::of(&range.metadata)
}

fn is_deleting(range: &ServiceCIDR) -> bool {
    range.metadata.deletion_timestamp.is_some()
}

fn cidrs(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    let listed = range.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
    listed.into_iter().flatten().filter_map(|cidr| addresses::cidr(cidr).ok())
}

fn ready_condition(range: &ServiceCIDR) -> Option<&Condition> {
    range.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

/// Decides what `range` needs, given all ranges and all addresses in use.
fn step(range: &ServiceCIDR, all: &[Arc<ServiceCIDR>], addresses: &[IpAddr], now: Timestamp) -> Step {
    let has_finalizer = range.finalizers().iter().any(|name| name == FINALIZER);
    let status = ready_condition(range).map(|condition| condition.status.as_str());
    let Some(deleted_at) = &range.metadata.deletion_timestamp else {
        return match (has_finalizer, status) {
            (false, _) => Step::AddFinalizer,
            (true, Some("True")) => Step::Nothing,
            (true, _) => Step::ReportReady,
        };
    };
    if !has_finalizer {
        return Step::Nothing;
    }
    if status != Some("False") {
        return Step::ReportTerminating;
    }
    let others: Vec<IpNet> = all
        .iter()
        .filter(|other| other.uid() != range.uid() && !is_deleting(other))
        .flat_map(|other| cidrs(other))
        .collect();
    let own: Vec<IpNet> = cidrs(range).collect();
    let only_here = |address: &&IpAddr| {
        own.iter().any(|cidr| cidr.contains(*address)) && !others.iter().any(|cidr| cidr.contains(*address))
    };
    if addresses.iter().any(|address| only_here(&address)) {
        return Step::Nothing;
    }
    let passed = now.duration_since(deleted_at.0);
    if passed < GRACE { Step::Wait((GRACE - passed).unsigned_abs()) } else { Step::RemoveFinalizer }
}

async fn reconcile(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(range) = informers.service_cidrs.get(&key) else { return Ok(Next::Done) };
    let addresses: Vec<IpAddr> =
        informers.ip_addresses.all().iter().filter_map(|address| address.name_any().parse().ok()).collect();
    let now = Timestamp::now();
    let api = Api::<ServiceCIDR>::all(client.clone());
    let params = PatchParams::default();
    let (action, result) = match step(&range, &informers.service_cidrs.all(), &addresses, now) {
        Step::Nothing => return Ok(Next::Done),
        Step::Wait(time) => return Ok(Next::After(time)),
        Step::AddFinalizer => {
            let finalizers: Vec<_> =
                range.finalizers().iter().map(String::as_str).chain([FINALIZER]).collect();
            (
                "add the finalizer of",
                api.patch(key.name(), &params, &finalizers_patch(&range, &finalizers)).await,
            )
        }
        Step::RemoveFinalizer => {
            let others = range.finalizers().iter().map(String::as_str).filter(|name| *name != FINALIZER);
            let finalizers: Vec<_> = others.collect();
            (
                "remove the finalizer of",
                api.patch(key.name(), &params, &finalizers_patch(&range, &finalizers)).await,
            )
        }
        Step::ReportReady => {
            let patch = status_patch("True", "", "Kubernetes Service CIDR is ready", now);
            ("report the readiness of", api.patch_status(key.name(), &params, &patch).await)
        }
        Step::ReportTerminating => {
            let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a \
                           new ServiceCIDR";
            let patch = status_patch("False", "Terminating", message, now);
            ("report the deletion of", api.patch_status(key.name(), &params, &patch).await)
        }
    };
    match result {
        Err(source) if !is_not_found(&source) => Err(Error { action, key, source }),
        _ => Ok(Next::Done),
    }
}

/// Sets all finalizers, unless the object has changed since it was read.
fn finalizers_patch(range: &ServiceCIDR, finalizers: &[&str]) -> Patch<serde_json::Value> {
    Patch::Merge(json!({"metadata": {"finalizers": finalizers, "resourceVersion": range.resource_version()}}))
}

fn status_patch(status: &str, reason: &str, message: &str, now: Timestamp) -> Patch<serde_json::Value> {
    let condition = Condition {
        type_: "Ready".into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: Time(now),
        observed_generation: None,
    };
    Patch::Merge(json!({"status": {"conditions": [condition]}}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const DELETED: &str = "2026-01-01T00:00:00Z";

    fn range(name: &str, cidr: &str, finalizer: bool, ready: Option<&str>, deleted: bool) -> ServiceCIDR {
        let conditions: Vec<Value> = ready
            .into_iter()
            .map(|status| {
                json!({"type": "Ready", "status": status, "reason": "", "message": "", "lastTransitionTime": DELETED})
            })
            .collect();
        let finalizers: &[&str] = if finalizer { &[FINALIZER] } else { &[] };
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "finalizers": finalizers,
                         "deletionTimestamp": deleted.then_some(DELETED)},
            "spec": {"cidrs": [cidr]}, "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn check(range: ServiceCIDR, others: Vec<ServiceCIDR>, addresses: &[&str], seconds: i64) -> Step {
        let all: Vec<_> = others.into_iter().chain([range.clone()]).map(Arc::new).collect();
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let now = DELETED.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds);
        step(&range, &all, &addresses, now)
    }

    #[test]
    fn a_new_range_is_protected_then_ready() {
        assert_eq!(check(range("a", "10.96.0.0/12", false, None, false), vec![], &[], 0), Step::AddFinalizer);
        assert_eq!(check(range("a", "10.96.0.0/12", true, None, false), vec![], &[], 0), Step::ReportReady);
        assert_eq!(
            check(range("a", "10.96.0.0/12", true, Some("True"), false), vec![], &[], 0),
            Step::Nothing
        );
    }

    #[test]
    fn a_deleted_range_stays_while_an_address_lives_only_in_it() {
        let deleted = |ready| range("a", "10.0.0.0/24", true, Some(ready), true);
        let wider = || vec![range("b", "10.0.0.0/16", true, Some("True"), false)];
        assert_eq!(check(deleted("True"), vec![], &["10.0.0.5"], 60), Step::ReportTerminating);
        assert_eq!(check(deleted("False"), vec![], &["10.0.0.5"], 60), Step::Nothing);
        assert_eq!(check(deleted("False"), wider(), &["10.0.0.5"], 60), Step::RemoveFinalizer);
        assert_eq!(check(deleted("False"), vec![], &["10.9.0.5"], 4), Step::Wait(Duration::from_secs(6)));
    }
}
