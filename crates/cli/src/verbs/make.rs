//! `run` and `expose`: objects made from a few words.

use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::args::{ExposeArgs, RunArgs};
use crate::error::{Error, Outcome};
use crate::resources::{Resources, Target};

pub(crate) async fn run(api: &Api, args: &RunArgs) -> Result<Outcome, Error> {
    api.post(&format!("/api/v1/namespaces/{}/pods", api.namespace), &pod(args)?).await?;
    skiff_print::line(format_args!("pod/{} created", args.name))?;
    Ok(Outcome::Done)
}

fn pod(args: &RunArgs) -> Result<Value, Error> {
    let labels = match &args.labels {
        Some(labels) => pairs(labels.split(','))?,
        None => Map::from_iter([("run".to_owned(), Value::from(args.name.as_str()))]),
    };
    let mut container = json!({"name": args.name, "image": args.image});
    if !args.arguments.is_empty() {
        container[if args.command { "command" } else { "args" }] = json!(args.arguments);
    }
    let env = pairs(args.env.iter().map(String::as_str))?;
    if !env.is_empty() {
        container["env"] =
            env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    if let Some(port) = args.port {
        container["ports"] = json!([{"containerPort": port}]);
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": args.name, "labels": labels},
        "spec": {"containers": [container], "restartPolicy": args.restart, "dnsPolicy": "ClusterFirst"},
    }))
}

fn pairs<'a>(words: impl Iterator<Item = &'a str>) -> Result<Map<String, Value>, Error> {
    let pair = |word: &str| {
        let (key, value) =
            word.split_once('=').ok_or_else(|| Error::Usage(format!("{word}: expected KEY=VALUE")))?;
        Ok((key.to_owned(), Value::from(value)))
    };
    words.map(pair).collect()
}

pub(crate) async fn expose(api: &Api, args: &ExposeArgs) -> Result<Outcome, Error> {
    for target in Resources::discover(api).await?.targets(&args.targets)? {
        let Some(name) = target.name.as_deref() else {
            return Err(Error::Usage("resource(s) were provided, but no name was specified".to_owned()));
        };
        let object = api.get(&target.resource.path(Some(&api.namespace), Some(name))).await?;
        let service = service(args, &target, &object)?;
        api.post(&format!("/api/v1/namespaces/{}/services", api.namespace), &service).await?;
        skiff_print::line(format_args!(
            "service/{} exposed",
            service["metadata"]["name"].as_str().unwrap_or(name)
        ))?;
    }
    Ok(Outcome::Done)
}

fn service(args: &ExposeArgs, target: &Target, object: &Value) -> Result<Value, Error> {
    let name = args.name.as_deref().or(target.name.as_deref()).unwrap_or_default();
    let selector = match target.resource.kind.as_str() {
        "Pod" => &object["metadata"]["labels"],
        "ReplicationController" | "Service" => &object["spec"]["selector"],
        _ => &object["spec"]["selector"]["matchLabels"],
    };
    if selector.as_object().is_none_or(Map::is_empty) {
        let kind = &target.resource.singular;
        return Err(Error::Usage(format!(
            "couldn't retrieve selectors: the {kind} has no labels or selector and cannot be exposed"
        )));
    }
    let ports: Vec<Value> = match args.port {
        Some(port) => vec![port_of(port, args)],
        None => container_ports(target, object).into_iter().map(|port| port_of(port, args)).collect(),
    };
    if ports.is_empty() {
        return Err(Error::Usage("couldn't find port via --port flag or introspection".to_owned()));
    }
    let ports: Vec<Value> =
        if ports.len() == 1 { ports } else { ports.into_iter().enumerate().map(named).collect() };
    Ok(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "labels": object["metadata"]["labels"]},
        "spec": {"selector": selector, "ports": ports, "type": args.kind},
    }))
}

fn port_of(port: u16, args: &ExposeArgs) -> Value {
    let target = match &args.target_port {
        Some(text) => text.parse::<u16>().map_or_else(|_| Value::from(text.as_str()), Value::from),
        None => Value::from(port),
    };
    json!({"port": port, "targetPort": target, "protocol": args.protocol})
}

fn named((number, mut port): (usize, Value)) -> Value {
    port["name"] = format!("port-{}", number + 1).into();
    port
}

fn container_ports(target: &Target, object: &Value) -> Vec<u16> {
    let spec = match target.resource.kind.as_str() {
        "Service" => return ports(&object["spec"]["ports"], "port"),
        "Pod" => &object["spec"],
        _ => &object["spec"]["template"]["spec"],
    };
    let containers = spec["containers"].as_array().into_iter().flatten();
    containers.flat_map(|container| ports(&container["ports"], "containerPort")).collect()
}

fn ports(list: &Value, field: &str) -> Vec<u16> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|port| port[field].as_u64().and_then(|number| u16::try_from(number).ok())).collect()
}
