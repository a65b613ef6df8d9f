//! `expose`: a Service for the pods of an object.

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::{FILES, Item, Selection};
use crate::selector;
use crate::uri::with_query;

const PORT: Flag =
    Flag::text("port", "Ports of the Service, separated by commas; those of the containers when not given");
const TARGET_PORT: Flag =
    Flag::text("target-port", "Port, or its name, in the pods; that of the Service when not given");
const PROTOCOL: Flag = Flag::text("protocol", "TCP, UDP or SCTP");
const NAME: Flag = Flag::text("name", "Name of the Service; that of the object when not given");
const TYPE: Flag = Flag::text("type", "ClusterIP, NodePort, LoadBalancer or ExternalName");
const LABELS: Flag = Flag::text("labels", "Labels of the Service, KEY=VALUE,…").short('l');
const SELECTOR: Flag =
    Flag::text("selector", "Label selector of the pods; that of the object when not given");
const EXTERNAL_IP: Flag = Flag::text("external-ip", "One more address at which the Service answers");
const CLUSTER_IP: Flag = Flag::text("cluster-ip", "Address of the Service, or None for a headless one");
const AFFINITY: Flag = Flag::text("session-affinity", "None or ClientIP");

pub(crate) const COMMAND: Command = Command::new(
    "expose",
    "(-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] [--name=name] [--external-ip=external-ip-of-service] [--type=type]",
    "Make a Service for the pods of an object",
)
.examples("# Reach port 8080 of a Deployment's pods at port 80\nkubectl expose deployment kubia --port=80 --target-port=8080")
.flags(&[
    FILES,
    PRINT,
    &[
        PORT,
        TARGET_PORT,
        PROTOCOL,
        NAME,
        TYPE,
        LABELS,
        SELECTOR,
        EXTERNAL_IP,
        CLUSTER_IP,
        AFFINITY,
        DRY_RUN,
        FIELD_MANAGER,
    ],
])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let change = Change::of(given)?;
    let found = Selection::of(&without_selector(given), &given.words).find(cx).await?;
    let mut errors = found.errors;
    for item in &found.items {
        if let Err(error) = expose(cx, given, &change, item).await {
            errors.push(error);
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

/// `--selector` is the Service's here: it selects nothing of what is exposed.
fn without_selector(given: &Given) -> Given {
    given.without(&SELECTOR)
}

async fn expose(cx: &Context, given: &Given, change: &Change, item: &Item) -> Result<(), Error> {
    let mut service = service(given, item).map_err(Error::Usage)?;
    if let Some(namespace) = cx.named_namespace() {
        service["metadata"]["namespace"] = json!(namespace);
    }
    if change.dry_run.is_client() {
        return change.print(&service, "exposed");
    }
    let manager = given.some(&FIELD_MANAGER).unwrap_or("kubectl-expose");
    let query = [("fieldManager", Some(manager)), ("dryRun", change.dry_run.query())];
    let path = format!("/api/v1/namespaces/{}/services", cx.namespace().await?);
    change.print(&cx.api().await?.post(&with_query(&path, &query), &service).await?, "exposed")
}

fn service(given: &Given, item: &Item) -> Result<Value, String> {
    let object = &item.object;
    let selector = selector_of(given, item)?;
    let labels = match given.some(&LABELS) {
        Some(labels) => selector::of_text(labels)?["matchLabels"].clone(),
        None => object["metadata"]["labels"].clone(),
    };
    let ports = ports(given, item)?;
    let mut spec = json!({"selector": selector, "ports": ports});
    for (flag, field) in [(&TYPE, "type"), (&CLUSTER_IP, "clusterIP"), (&AFFINITY, "sessionAffinity")] {
        if let Some(value) = given.some(flag) {
            spec[field] = json!(value);
        }
    }
    if let Some(address) = given.some(&EXTERNAL_IP) {
        spec["externalIPs"] = json!([address]);
    }
    let name: String = given.some(&NAME).unwrap_or(&item.name).chars().take(63).collect();
    let mut metadata = json!({"name": name});
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        metadata["labels"] = labels;
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}},
    }))
}

fn selector_of(given: &Given, item: &Item) -> Result<Value, String> {
    if let Some(text) = given.some(&SELECTOR) {
        return Ok(selector::of_text(text)?["matchLabels"].clone());
    }
    let (object, kind) = (&item.object, item.resource.kind.as_str());
    let failed =
        |why: &str| format!("couldn't retrieve selectors via --selector flag or introspection: {why}");
    let labels = match kind {
        "Pod" => {
            let labels = &object["metadata"]["labels"];
            return match labels.as_object().is_none_or(Map::is_empty) {
                true => Err(failed("the pod has no labels and cannot be exposed")),
                false => Ok(labels.clone()),
            };
        }
        "ReplicationController" | "Service" => &object["spec"]["selector"],
        "Deployment" | "ReplicaSet" => {
            if object["spec"]["selector"]["matchExpressions"].as_array().is_some_and(|list| !list.is_empty())
            {
                return Err(failed(
                    "couldn't convert expressions - \"matchExpressions\" to map-based selector format",
                ));
            }
            &object["spec"]["selector"]["matchLabels"]
        }
        _ => {
            let group = item.resource.group_resource();
            return Err(format!("cannot expose a {}", kind_with_group(kind, &group)));
        }
    };
    if labels.as_object().is_none_or(Map::is_empty) {
        return Err(failed(&format!("the {} has no pod selector set", kind.to_lowercase())));
    }
    Ok(labels.clone())
}

fn kind_with_group(kind: &str, group_resource: &str) -> String {
    match group_resource.split_once('.') {
        Some((_, group)) => format!("{kind}.{group}"),
        None => kind.to_owned(),
    }
}

fn ports(given: &Given, item: &Item) -> Result<Vec<Value>, String> {
    let there = container_ports(item);
    let numbers: Vec<String> = match given.some(&PORT) {
        Some(ports) => ports.split(',').map(str::to_owned).collect(),
        None => there.iter().map(|(port, _)| port.to_string()).collect(),
    };
    if numbers.is_empty() {
        return Err("couldn't find port via --port flag or introspection".to_owned());
    }
    let many = numbers.len() > 1;
    let port = |(at, number): (usize, &String)| {
        let port: u16 =
            number.parse().map_err(|_| format!("strconv.Atoi: parsing \"{number}\": invalid syntax"))?;
        let target = match given.some(&TARGET_PORT) {
            Some(text) => text.parse::<u16>().map_or_else(|_| json!(text), |number| json!(number)),
            None => json!(port),
        };
        let known =
            there.iter().find(|(there, _)| *there == port).map_or("TCP", |(_, protocol)| protocol.as_str());
        let mut entry =
            json!({"port": port, "targetPort": target, "protocol": given.some(&PROTOCOL).unwrap_or(known)});
        if many {
            entry["name"] = json!(format!("port-{}", at + 1));
        }
        Ok(entry)
    };
    numbers.iter().enumerate().map(port).collect()
}

/// Ports of the object, with their protocols.
fn container_ports(item: &Item) -> Vec<(u16, String)> {
    let object = &item.object;
    let spec = match item.resource.kind.as_str() {
        "Service" => return read_ports(&object["spec"]["ports"], "port"),
        "Pod" => &object["spec"],
        _ => &object["spec"]["template"]["spec"],
    };
    let containers = spec["containers"].as_array().into_iter().flatten();
    containers.flat_map(|container| read_ports(&container["ports"], "containerPort")).collect()
}

fn read_ports(list: &Value, field: &str) -> Vec<(u16, String)> {
    let port = |port: &Value| {
        let number = port[field].as_u64().and_then(|number| u16::try_from(number).ok())?;
        Some((number, port["protocol"].as_str().unwrap_or("TCP").to_owned()))
    };
    list.as_array().into_iter().flatten().filter_map(port).collect()
}
