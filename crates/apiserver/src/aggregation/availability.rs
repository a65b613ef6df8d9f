//! Whether an extension server can be used: its Service is there and has endpoints, and it answers.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, select_ok};
use serde_json::Value;
use skiff_kinds::api_service::Availability;
use skiff_machinery::{Namespace, Object, keys, version_path};
use skiff_registry::codec;
use skiff_store::{Page, ReadError, Store};

use super::registration::{Registration, Target};
use super::transport::{Question, Transport, aggregator};
use crate::subresources::endpoints;
use crate::webhooks::trust::Trust;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// One endpoint of several may be broken: when the first attempt fails, or takes longer than this, so many more are made.
const PATIENCE: Duration = Duration::from_millis(250);
const MORE: usize = 4;
/// The largest answer that is read.
const MOST: usize = 2 * 1024 * 1024;

/// What is known of an extension server's Service.
pub(super) struct Surroundings {
    service: Option<Object>,
    /// Its EndpointSlices.
    slices: Vec<Object>,
}

impl Surroundings {
    pub(super) async fn read(store: &dyn Store, target: &Target) -> Result<Self, ReadError> {
        let decode = |entry: &skiff_store::Entry| codec::decode(entry).ok();
        let service =
            store.get(&keys::core("services", Namespace::new(&target.namespace), &target.name)).await?;
        let prefix = format!("{}{}/", endpoints::SLICES, target.namespace);
        let listing = store.list((&*prefix).into(), Page::default()).await?;
        let slices = listing.entries.iter().filter_map(decode);
        let slices = slices.filter(|slice| is_of(slice, target)).collect();
        Ok(Self { service: service.as_ref().and_then(decode), slices })
    }
}

/// Whether an EndpointSlice is one of a target's Service.
pub(super) fn is_of(slice: &Object, target: &Target) -> bool {
    slice.labels().get("kubernetes.io/service-name") == Some(&target.name.as_str())
}

fn unavailable(reason: &'static str, message: String) -> Availability {
    Availability { status: "False", reason, message }
}

/// That of an extension server that answers.
pub(super) fn passed() -> Availability {
    Availability { status: "True", reason: "Passed", message: "all checks passed".to_owned() }
}

/// That of one whose Service cannot be looked at.
pub(super) fn unknown(target: &Target, why: &ReadError) -> Availability {
    let Target { namespace, name, .. } = target;
    let message = format!("service/{name} in {namespace:?} cannot be checked due to: {why}");
    Availability { status: "Unknown", reason: "ServiceAccessError", message }
}

/// What can be told without asking the extension server: why it cannot be used.
pub(super) fn obstacle(target: &Target, surroundings: &Surroundings) -> Option<Availability> {
    let Target { namespace, name, port, .. } = target;
    let place = format!("service/{name} in {namespace:?}");
    let Some(service) = &surroundings.service else {
        return Some(unavailable("ServiceNotFound", format!("{place} is not present")));
    };
    if !matches!(service.str(&["spec", "type"]), "" | "ClusterIP") {
        return None;
    }
    let ports = service.get(&["spec", "ports"]).and_then(Value::as_array);
    let Some(declared) = ports.into_iter().flatten().find(|declared| declared["port"] == *port) else {
        return Some(unavailable("ServicePortError", format!("{place} is not listening on port {port}")));
    };
    if surroundings.slices.is_empty() {
        return Some(unavailable("EndpointsNotFound", format!("cannot find endpointslices for {place}")));
    }
    let port_name = declared["name"].as_str().unwrap_or_default();
    if surroundings.slices.iter().any(|slice| !endpoints::slice_addresses(slice, port_name).is_empty()) {
        return None;
    }
    let message = format!("endpointslices for {place} have no addresses with port name {port_name:?}");
    Some(unavailable("MissingEndpoints", message))
}

/// Asks the extension server for its version. As in Kubernetes anybody will do who answers, with whatever certificate: who
/// may change where a Service leads could as well change the answer.
pub(super) async fn ask(transport: &Transport, registration: &Registration, target: &Target) -> Availability {
    let attempt = || attempt(transport, registration, target).boxed();
    let mut first = attempt();
    let rest: Vec<BoxFuture<'_, Result<(), String>>> = match tokio::time::timeout(PATIENCE, &mut first).await
    {
        Ok(Ok(())) => return passed(),
        Ok(Err(_)) => (0..MORE).map(|_| attempt()).collect(),
        Err(_) => std::iter::once(first).chain((0..MORE).map(|_| attempt())).collect(),
    };
    match select_ok(rest).await {
        Ok(_) => passed(),
        Err(why) => unavailable("FailedDiscoveryCheck", why),
    }
}

async fn attempt(transport: &Transport, registration: &Registration, target: &Target) -> Result<(), String> {
    let (host, port) = transport.place(target).await.map_err(|error| error.to_string())?;
    let path = version_path(&registration.gv);
    let url = format!("https://{host}:{port}{path}");
    let question = Question {
        path: &path,
        accept: "*/*",
        etag: None,
        user: aggregator("system:kube-aggregator"),
        most: MOST,
        timeout: ANSWER,
    };
    let why = match transport.fetch(target, &Trust::Anybody, question).await {
        Ok(answer) if answer.status.is_success() => return Ok(()),
        Ok(answer) => format!("bad status from {url}: {}", answer.status.as_u16()),
        Err(why) => format!("Get {url:?}: {why}"),
    };
    Err(format!("failing or missing response from {url}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_is_told_in_kubernetes_words() {
        let target =
            Target { namespace: "n".to_owned(), name: "s".to_owned(), port: 443, trust: Trust::Anybody };
        let object = |value: &Value| Object::from_value(value.clone()).unwrap();
        let check = |service: Value, slices: &[Value], expected: Option<(&str, &str)>| {
            let surroundings = Surroundings {
                service: Some(service).filter(Value::is_object).map(|service| object(&service)),
                slices: slices.iter().map(object).collect(),
            };
            let found = obstacle(&target, &surroundings);
            let found = found.as_ref().map(|found| (found.reason, found.message.as_str()));
            assert_eq!(found, expected);
        };
        let service =
            |port: u16| json!({"spec": {"type": "ClusterIP", "ports": [{"name": "api", "port": port}]}});
        let slice = |port: &str, ready: bool| {
            json!({
                "ports": [{"name": port, "port": 6443}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
            })
        };
        check(json!(null), &[], Some(("ServiceNotFound", "service/s in \"n\" is not present")));
        check(
            service(80),
            &[],
            Some(("ServicePortError", "service/s in \"n\" is not listening on port 443")),
        );
        check(
            service(443),
            &[],
            Some(("EndpointsNotFound", "cannot find endpointslices for service/s in \"n\"")),
        );
        let missing = (
            "MissingEndpoints",
            "endpointslices for service/s in \"n\" have no addresses with port name \"api\"",
        );
        check(service(443), &[slice("api", false)], Some(missing));
        check(service(443), &[slice("web", true)], Some(missing));
        check(service(443), &[slice("web", true), slice("api", true)], None);
        // Where other Services lead is not known here.
        check(json!({"spec": {"type": "ExternalName"}}), &[], None);
    }
}
