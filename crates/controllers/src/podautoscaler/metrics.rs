//! What the APIs of metrics tell, where something serves them.

use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Client;
use serde_json::{Value, json};
use skiff_informer::describe;
use skiff_ordered::Ordered as _;
use skiff_quantity::Quantity;

use super::replicas::{Resource, Sample, Samples};
use crate::scales::{KindName, Scales};

const RESOURCE: &str = "metrics.k8s.io";
const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
/// Of how long a metric tells that does not say so.
const WINDOW: Duration = Duration::from_secs(60);

/// Asks for metrics in one namespace.
pub(super) struct Metrics<'a> {
    pub(super) client: &'a Client,
    pub(super) scales: &'a Scales,
    pub(super) namespace: &'a str,
}

impl Metrics<'_> {
    /// What each pod, or one container of it, uses of a resource.
    pub(super) async fn of_resource(&self, resource: Resource<'_>, pods: &str) -> Result<Samples, String> {
        let path = format!("/apis/{RESOURCE}/v1beta1/namespaces/{}/pods", self.namespace);
        let asked = || format!("get pods.{RESOURCE}");
        let answer = self.get(&path, &[("labelSelector", pods)], asked).await;
        let answer =
            answer.map_err(|error| format!("unable to fetch metrics from resource metrics API: {error}"))?;
        let items = items(&answer);
        if items.is_empty() {
            return Err("no metrics returned from resource metrics API".into());
        }
        let sample = |item: &Value| {
            let name = item["metadata"]["name"].as_str()?.to_owned();
            let window = item["window"].as_str().and_then(|text| skiff_machinery::duration::parse(text).ok());
            let window = window.and_then(|window| Duration::try_from(window).ok()).unwrap_or_default();
            Some((name, Sample { value: usage(item, resource)?, at: time(item), window }))
        };
        Ok(items.into_iter().filter_map(sample).to_map())
    }

    /// A custom metric of each pod.
    pub(super) async fn of_pods(
        &self,
        metric: &str,
        selector: Option<&LabelSelector>,
        pods: &str,
    ) -> Result<Samples, String> {
        let path = format!("namespaces/{}/pods/*/{metric}", self.namespace);
        let answer = self.custom(&path, Some(pods), selector, metric).await?;
        let items = items(&answer);
        if items.is_empty() {
            return Err("no metrics returned from custom metrics API".into());
        }
        let sample = |item: &Value| {
            let name = item["describedObject"]["name"].as_str()?.to_owned();
            let window = item["windowSeconds"].as_u64().map_or(WINDOW, Duration::from_secs);
            Some((name, Sample { value: millis(&item["value"])?, at: time(item), window }))
        };
        Ok(items.into_iter().filter_map(sample).to_map())
    }

    /// A custom metric of one object.
    pub(super) async fn of_object(
        &self,
        metric: &str,
        selector: Option<&LabelSelector>,
        object: &CrossVersionObjectReference,
    ) -> Result<i64, String> {
        let api_version = object.api_version.as_deref().unwrap_or("");
        let kind = KindName::of(api_version, &object.kind);
        let path = if kind.group.is_empty() && kind.kind == "Namespace" {
            format!("namespaces/{}/metrics/{metric}", self.namespace)
        } else {
            let resource = self.scales.resource(kind.of_any_version()).await;
            let resource = resource
                .map_err(|error| format!("unable to fetch metrics from custom metrics API: {error}"))?;
            format!("namespaces/{}/{}/{}/{metric}", self.namespace, resource.name(), object.name)
        };
        let answer = self.custom(&path, None, selector, metric).await?;
        match &items(&answer)[..] {
            [one] => millis(&one["value"]).ok_or_else(|| {
                "unable to fetch metrics from custom metrics API: the value is no quantity".to_owned()
            }),
            some => Err(format!(
                "unable to fetch metrics from custom metrics API: the custom metrics API server returned {} results when we \
                 asked for exactly one",
                some.len()
            )),
        }
    }

    async fn custom(
        &self,
        path: &str,
        pods: Option<&str>,
        selector: Option<&LabelSelector>,
        metric: &str,
    ) -> Result<Value, String> {
        let explain = |error: String| format!("unable to fetch metrics from custom metrics API: {error}");
        let no_api = || format!("get {CUSTOM}");
        let group = self.get(&format!("/apis/{CUSTOM}"), &[], no_api).await;
        let group = group.map_err(|_| explain(format!("no custom metrics API ({CUSTOM}) registered")))?;
        let version = group["preferredVersion"]["version"].as_str().unwrap_or("v1beta1");
        let selector = selector.map(text).filter(|text| !text.is_empty());
        let mut query = Vec::new();
        query.extend(pods.map(|pods| ("labelSelector", pods)));
        query.extend(selector.as_deref().map(|selector| ("metricLabelSelector", selector)));
        let path = format!("/apis/{CUSTOM}/{version}/{path}");
        self.get(&path, &query, || format!("get {metric}.{CUSTOM}")).await.map_err(explain)
    }

    /// All values of an external metric.
    pub(super) async fn external(
        &self,
        metric: &str,
        selector: Option<&LabelSelector>,
    ) -> Result<Vec<i64>, String> {
        let path = format!("/apis/{EXTERNAL}/v1beta1/namespaces/{}/{metric}", self.namespace);
        let selector = selector.map(text).filter(|text| !text.is_empty());
        let query: Vec<_> =
            selector.as_deref().map(|selector| ("labelSelector", selector)).into_iter().collect();
        let answer = self.get(&path, &query, || format!("get {metric}.{EXTERNAL}")).await;
        let answer =
            answer.map_err(|error| format!("unable to fetch metrics from external metrics API: {error}"))?;
        let items = items(&answer);
        if items.is_empty() {
            return Err("no metrics returned from external metrics API".into());
        }
        Ok(items.iter().filter_map(|item| millis(&item["value"])).collect())
    }

    async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        asked: impl Fn() -> String,
    ) -> Result<Value, String> {
        let request = Request::get(uri(path, query)).body(Vec::new()).map_err(|error| error.to_string())?;
        self.client.request(request).await.map_err(|error| {
            // Where nothing is served, it is not an object that was not found.
            match &error {
                kube::Error::Api(status) if status.code == 404 && status.reason != "NotFound" => {
                    format!("the server could not find the requested resource ({})", asked())
                }
                _ => describe(&error),
            }
        })
    }
}

fn uri(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let mut serializer = form_urlencoded::Serializer::new(String::new());
    format!("{path}?{}", serializer.extend_pairs(query).finish())
}

fn items(list: &Value) -> Vec<&Value> {
    list["items"].as_array().into_iter().flatten().collect()
}

fn time(item: &Value) -> Timestamp {
    item["timestamp"].as_str().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::MIN)
}

fn millis(quantity: &Value) -> Option<i64> {
    quantity.as_str()?.parse::<Quantity>().ok().map(Quantity::millis)
}

/// What a pod uses; `None` if something of it is not known.
fn usage(pod: &Value, resource: Resource<'_>) -> Option<i64> {
    let containers = pod["containers"].as_array()?;
    let usage = |container: &Value| millis(&container["usage"][resource.name]);
    match resource.container {
        Some(name) => containers.iter().find(|container| container["name"] == name).and_then(usage),
        None if containers.is_empty() => None,
        None => containers.iter().map(usage).sum(),
    }
}

fn text(selector: &LabelSelector) -> String {
    skiff_machinery::selector::shown(&json!(selector)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_use_what_their_containers_use() {
        let pod = json!({"containers": [
            {"name": "a", "usage": {"cpu": "150m", "memory": "1Mi"}}, {"name": "b", "usage": {"cpu": "2"}}]});
        let check = |name: &'static str, container: Option<&'static str>, expected: Option<i64>| {
            assert_eq!(usage(&pod, Resource { name, container }), expected);
        };
        check("cpu", None, Some(2150));
        check("cpu", Some("a"), Some(150));
        check("memory", None, None);
        check("memory", Some("a"), Some(1_048_576_000));
        check("cpu", Some("c"), None);
        assert_eq!(usage(&json!({"containers": []}), Resource { name: "cpu", container: None }), None);
    }
}
