//! What is answered, as the metrics server of Kubernetes answers it. Pure.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use skiff_quantity::Quantity;

use crate::usage::Usage;
use crate::{Answer, GROUP, VERSION};

/// What use is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Pod,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Table,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Node => "NodeMetrics",
            Self::Pod => "PodMetrics",
        }
    }
}

/// The resources of the version.
pub(crate) fn resources() -> Value {
    let resource = |name: &str, kind: Kind| {
        json!({
            "name": name, "singularName": "", "namespaced": kind == Kind::Pod, "kind": kind.name(),
            "verbs": ["get", "list"],
        })
    };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(),
        "resources": [resource("nodes", Kind::Node), resource("pods", Kind::Pod)],
    })
}

fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

/// What a node uses.
pub(crate) fn node(meta: &ObjectMeta, usage: &Usage, now: Timestamp) -> Value {
    json!({
        "metadata": metadata(meta, now),
        "timestamp": seconds(usage.at), "window": window(usage.window), "usage": amounts([usage]),
    })
}

/// What the containers of a pod use. Its time is that of the first of them, as the metrics server has it.
pub(crate) fn pod(meta: &ObjectMeta, containers: &[(String, Usage)], now: Timestamp) -> Value {
    let first = containers.iter().map(|(_, usage)| usage).min_by_key(|usage| usage.at);
    let told = |(name, usage): &(String, Usage)| json!({"name": name, "usage": amounts([usage])});
    json!({
        "metadata": metadata(meta, now),
        "timestamp": seconds(first.map_or(now, |usage| usage.at)),
        "window": window(first.map_or(Duration::ZERO, |usage| usage.window)),
        "containers": containers.iter().map(told).collect::<Vec<_>>(),
    })
}

/// It is made when it is asked for.
fn metadata(of: &ObjectMeta, now: Timestamp) -> Value {
    let mut metadata = json!({"name": of.name, "creationTimestamp": seconds(now)});
    if let Some(namespace) = &of.namespace {
        metadata["namespace"] = namespace.as_str().into();
    }
    if let Some(labels) = of.labels.as_ref().filter(|labels| !labels.is_empty()) {
        metadata["labels"] = json!(labels);
    }
    metadata
}

fn seconds(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// A length of time as Go writes it, to the millisecond.
fn window(length: Duration) -> String {
    let millis = length.as_millis();
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let seconds = format!("{}{point}{fraction}s", rest / 1000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

fn amounts<'u>(usages: impl IntoIterator<Item = &'u Usage> + Clone) -> Value {
    let sum = |of: fn(&Usage) -> u64| usages.clone().into_iter().map(of).fold(0, u64::saturating_add);
    let memory = sum(|usage| usage.memory);
    let memory =
        if memory.is_multiple_of(1024) { format!("{}Ki", memory / 1024) } else { memory.to_string() };
    json!({"cpu": canonical(&format!("{}n", sum(|usage| usage.nano_cores))), "memory": canonical(&memory)})
}

fn canonical(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |amount: Quantity| amount.to_string())
}

/// One object.
pub(crate) fn one(kind: Kind, form: Form, object: Value) -> Value {
    match form {
        Form::Plain => typed(kind, object),
        Form::Table => table(kind, vec![object]),
    }
}

/// All of them, by namespace and name.
pub(crate) fn list(kind: Kind, form: Form, mut objects: Vec<Value>) -> Value {
    let place = |object: &Value| {
        let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        (part("namespace"), part("name"))
    };
    skiff_ordered::sort_by_key(&mut objects, place);
    match form {
        Form::Plain => json!({
            "kind": format!("{}List", kind.name()), "apiVersion": api_version(), "metadata": {}, "items": objects,
        }),
        Form::Table => table(kind, objects),
    }
}

fn typed(kind: Kind, mut object: Value) -> Value {
    object["kind"] = kind.name().into();
    object["apiVersion"] = api_version().into();
    object
}

fn table(kind: Kind, objects: Vec<Value>) -> Value {
    let column = |name: &str, format: &str, description: &str| json!({"name": name, "type": "string", "format": format, "description": description, "priority": 0});
    let columns = [
        column("Name", "name", "Name of the resource"),
        column("cpu", "quantity", ""),
        column("memory", "quantity", ""),
        column("Window", "duration", ""),
    ];
    let row = |object: Value| {
        let (cpu, memory) = total(&object);
        json!({
            "cells": [object["metadata"]["name"], cpu, memory, object["window"]],
            "object": typed(kind, object),
        })
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns,
        "rows": objects.into_iter().map(row).collect::<Vec<_>>(),
    })
}

/// What an object uses in all.
fn total(object: &Value) -> (String, String) {
    let containers = object["containers"].as_array().into_iter().flatten();
    let usages = containers.map(|container| &container["usage"]).chain(std::iter::once(&object["usage"]));
    let usages: Vec<&Value> = usages.filter(|usage| usage.is_object()).collect();
    let sum = |resource: &str| {
        let amounts = usages.iter().filter_map(|usage| usage[resource].as_str()?.parse::<Quantity>().ok());
        amounts.reduce(Quantity::plus).map_or_else(|| "0".to_owned(), |sum| sum.to_string())
    };
    (sum("cpu"), sum("memory"))
}

/// A failure as the API tells it.
pub(crate) fn status(code: StatusCode, reason: &str, message: &str, details: Value) -> Answer {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    if !details.is_null() {
        status["details"] = details;
    }
    (code, status)
}

/// There is no such node or pod, or it has just begun.
pub(crate) fn not_found(kind: Kind, namespace: Option<&str>, name: &str) -> Answer {
    let resource = kind.name().to_lowercase();
    let name = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    let message = format!("{resource}.{GROUP} {name:?} not found");
    let details = json!({"name": name, "group": GROUP, "kind": resource});
    status(StatusCode::NOT_FOUND, "NotFound", &message, details)
}

/// Nobody can be asked yet.
pub(crate) fn unavailable() -> Answer {
    let message = "the server is currently unable to handle the request";
    status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message, Value::Null)
}

/// The API refused a question of ours; what it says of a selector is what the client has to know.
pub(crate) fn failed(error: &kube::Error) -> Answer {
    match error {
        kube::Error::Api(refusal) => {
            let code = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            status(code, &refusal.reason, &refusal.message, Value::Null)
        }
        other => status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &other.to_string(), Value::Null),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn usage(nano_cores: u64, memory: u64) -> Usage {
        let at = Timestamp::from_second(1000).unwrap();
        Usage { at, window: Duration::from_millis(75_250), nano_cores, memory }
    }

    #[test]
    fn amounts_are_written_as_the_metrics_server_writes_them() {
        let check = |nano_cores, memory, expected: [&str; 2]| {
            let told = amounts([&usage(nano_cores, memory)]);
            assert_eq!([told["cpu"].as_str().unwrap(), told["memory"].as_str().unwrap()], expected);
        };
        check(0, 0, ["0", "0"]);
        check(152_321_092, 12_345 << 10, ["152321092n", "12345Ki"]);
        check(250_000_000, 64 << 20, ["250m", "64Mi"]);
        check(2_000_000_000, 1000, ["2", "1k"]);
        for (millis, text) in [(0, "0s"), (20_054, "20.054s"), (75_250, "1m15.25s"), (3_600_000, "1h0m0s")] {
            assert_eq!(window(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn tables_have_the_sums_of_containers() {
        let meta = |name: &str| ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            labels: Some([("a".to_owned(), "b".to_owned())].into()),
            ..ObjectMeta::default()
        };
        let now = Timestamp::from_second(2000).unwrap();
        let both =
            [("c".to_owned(), usage(100_000_000, 1 << 20)), ("d".to_owned(), usage(150_000_000, 2 << 20))];
        let objects = vec![pod(&meta("z"), &both[1..], now), pod(&meta("a"), &both, now)];
        let table = list(Kind::Pod, Form::Table, objects.clone());
        let cells = |row: usize| table["rows"][row]["cells"].clone();
        assert_eq!(cells(0), json!(["a", "250m", "3Mi", "1m15.25s"]));
        assert_eq!(cells(1), json!(["z", "150m", "2Mi", "1m15.25s"]));
        assert_eq!(table["rows"][0]["object"]["kind"], "PodMetrics");
        let list = list(Kind::Pod, Form::Plain, objects);
        assert_eq!(
            (list["kind"].as_str(), list["items"][0]["metadata"]["name"].as_str()),
            (Some("PodMetricsList"), Some("a"))
        );
        assert_eq!(
            list["items"][1],
            json!({
                "metadata": {"name": "z", "namespace": "ns", "labels": {"a": "b"}, "creationTimestamp": "1970-01-01T00:33:20Z"},
                "timestamp": "1970-01-01T00:16:40Z", "window": "1m15.25s",
                "containers": [{"name": "d", "usage": {"cpu": "150m", "memory": "2Mi"}}],
            })
        );
        let (code, missing) = not_found(Kind::Pod, Some("ns"), "p");
        assert_eq!(
            (code.as_u16(), missing["message"].as_str()),
            (404, Some(r#"podmetrics.metrics.k8s.io "ns/p" not found"#))
        );
    }
}
