//! `top`: what nodes and pods use now.

use std::collections::BTreeMap;

use serde_json::Value;
use skiff_ordered::Ordered as _;
use skiff_quantity::Quantity;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::columns::TABLE;
use crate::select::{ALL_NAMESPACES, FIELD_SELECTOR, SELECTOR};
use crate::uri::with_query;

const NO_HEADERS: Flag = Flag::switch("no-headers", "Leave the header line out");
const SORT_BY: Flag = Flag::text("sort-by", "cpu or memory: what uses most comes first");
const CAPACITY: Flag =
    Flag::switch("show-capacity", "Percentages of what the node has, not of what pods can use");
const CONTAINERS: Flag = Flag::switch("containers", "Each container by itself");
const SUM: Flag = Flag::switch("sum", "And the sum of all");

pub(crate) const COMMAND: Command =
    Command::new("top", "[flags] [options]", "Show what nodes and pods use now").commands(&[
        Command::new("node", "[NAME | -l label]", "Show what nodes use now")
            .aliases(&["nodes", "no"])
            .examples("# How busy the nodes are\nkubectl top node")
            .flags(&[&[SELECTOR, SORT_BY, NO_HEADERS, CAPACITY]])
            .run(|cx, given| Box::pin(nodes(cx, given))),
        Command::new("pod", "[NAME | -l label]", "Show what pods use now")
            .aliases(&["pods", "po"])
            .examples("# What uses most memory\nkubectl top pod -A --sort-by=memory")
            .flags(&[&[SELECTOR, FIELD_SELECTOR, ALL_NAMESPACES, SORT_BY, NO_HEADERS, CONTAINERS, SUM]])
            .run(|cx, given| Box::pin(pods(cx, given))),
    ]);

/// Amounts of processor time, in thousandths, and of memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    cpu: i64,
    memory: i64,
}

impl Usage {
    fn read(amounts: &Value) -> Self {
        let amount = |name: &str| amounts[name].as_str().and_then(|text| text.parse::<Quantity>().ok());
        Self {
            cpu: amount("cpu").map_or(0, Quantity::millis),
            memory: amount("memory").map_or(0, Quantity::units),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }

    fn cells(self) -> [String; 2] {
        [format!("{}m", self.cpu), format!("{}Mi", self.memory / (1024 * 1024))]
    }
}

/// Order of what is shown.
fn sort<T>(
    given: &Given,
    lines: &mut [T],
    usage: impl Fn(&T) -> Usage,
    name: impl Fn(&T) -> String,
) -> Result<(), Error> {
    match given.text(&SORT_BY) {
        "" => skiff_ordered::sort_by_key(lines, name),
        "cpu" => skiff_ordered::sort_by_key(lines, |line| std::cmp::Reverse(usage(line).cpu)),
        "memory" => skiff_ordered::sort_by_key(lines, |line| std::cmp::Reverse(usage(line).memory)),
        _ => return Err(Error::usage("--sort-by accepts only cpu or memory")),
    }
    Ok(())
}

/// Reads metrics: of one object, or of those that are selected.
async fn metrics(
    cx: &Context,
    path: &str,
    name: Option<&String>,
    given: &Given,
) -> Result<Vec<Value>, Error> {
    if given.words.len() > 1 {
        return Err(given.misuse("node [NAME | -l label]"));
    }
    if !["", "cpu", "memory"].contains(&given.text(&SORT_BY)) {
        return Err(Error::usage("--sort-by accepts only cpu or memory"));
    }
    if !cx.resources().await?.0.iter().any(|resource| resource.group == "metrics.k8s.io") {
        return Err(Error::usage("Metrics API not available"));
    }
    let api = cx.api().await?;
    if let Some(name) = name {
        return Ok(vec![api.get(&format!("{path}/{name}")).await?]);
    }
    let query = [("labelSelector", given.some(&SELECTOR)), ("fieldSelector", given.some(&FIELD_SELECTOR))];
    let list = api.get(&with_query(path, &query)).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

async fn nodes(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let name = given.words.first();
    if name.is_some() && given.is_given(&SELECTOR) {
        return Err(Error::usage("only one of NAME or --selector can be provided"));
    }
    let mut used = metrics(cx, "/apis/metrics.k8s.io/v1beta1/nodes", name, given).await?;
    if used.is_empty() {
        return Err(Error::usage("metrics not available yet"));
    }
    let nodes = match name {
        Some(name) => vec![cx.api().await?.get(&format!("/api/v1/nodes/{name}")).await?],
        None => {
            let path = with_query("/api/v1/nodes", &[("labelSelector", given.some(&SELECTOR))]);
            cx.api().await?.get(&path).await?["items"].as_array().cloned().unwrap_or_default()
        }
    };
    let field = if given.is_on(&CAPACITY) { "capacity" } else { "allocatable" };
    let mut available: BTreeMap<String, Usage> =
        nodes.iter().map(|node| (name_of(node), Usage::read(&node["status"][field]))).to_map();
    sort(given, &mut used, |node| Usage::read(&node["usage"]), name_of)?;
    let mut rows = vec!["NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\t".to_owned()];
    for node in &used {
        let usage = Usage::read(&node["usage"]);
        let [cpu, memory] = usage.cells();
        let name = name_of(node);
        let (of_cpu, of_memory) = match available.remove(&name) {
            Some(all) => (percent(usage.cpu, all.cpu), percent(usage.memory, all.memory)),
            None => (String::new(), String::new()),
        };
        rows.push(format!("{name}\t{cpu}\t{of_cpu}{memory}\t{of_memory}"));
    }
    rows.extend(available.keys().map(|name| format!("{name}{}\t", "\t<unknown>".repeat(4))));
    print(given, &rows)
}

fn percent(part: i64, all: i64) -> String {
    if all == 0 { "0%\t".to_owned() } else { format!("{}%\t", i128::from(part) * 100 / i128::from(all)) }
}

async fn pods(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let name = given.words.first();
    if name.is_some() && (given.is_given(&SELECTOR) || given.is_given(&FIELD_SELECTOR)) {
        return Err(Error::usage("only one of NAME or selector can be provided"));
    }
    let everywhere = given.is_on(&ALL_NAMESPACES);
    let namespace = cx.namespace().await?;
    let path = match everywhere {
        true => "/apis/metrics.k8s.io/v1beta1/pods".to_owned(),
        false => format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"),
    };
    let mut used = metrics(cx, &path, name, given).await?;
    if used.is_empty() {
        match everywhere {
            true => skiff_print::note("No resources found"),
            false => skiff_print::note(format_args!("No resources found in {namespace} namespace.")),
        }
        return Ok(Outcome::Done);
    }
    let place = |pod: &Value| pod["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    sort(given, &mut used, of_pod, |pod| {
        if everywhere { format!("{}/{}", place(pod), name_of(pod)) } else { name_of(pod) }
    })?;
    print(given, &pod_rows(given, &used)?)
}

fn of_pod(pod: &Value) -> Usage {
    let containers = pod["containers"].as_array().into_iter().flatten();
    containers.map(|container| Usage::read(&container["usage"])).fold(Usage::default(), Usage::plus)
}

fn pod_rows(given: &Given, pods: &[Value]) -> Result<Vec<String>, Error> {
    let (everywhere, each) = (given.is_on(&ALL_NAMESPACES), given.is_on(&CONTAINERS));
    let before = |pod: &Value| {
        let place = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let name = if each { format!("{}\t", name_of(pod)) } else { String::new() };
        if everywhere { format!("{place}\t{name}") } else { name }
    };
    let title = |on: bool, title: &str| if on { format!("{title}\t") } else { String::new() };
    let titles = [title(everywhere, "NAMESPACE"), title(each, "POD")].concat();
    let mut rows = vec![format!("{titles}NAME\tCPU(cores)\tMEMORY(bytes)\t")];
    for pod in pods {
        if !each {
            let [cpu, memory] = of_pod(pod).cells();
            rows.push(format!("{}{}\t{cpu}\t{memory}\t", before(pod), name_of(pod)));
            continue;
        }
        let mut containers: Vec<&Value> = pod["containers"].as_array().into_iter().flatten().collect();
        let name = |container: &&Value| container["name"].as_str().unwrap_or_default().to_owned();
        sort(given, &mut containers, |container| Usage::read(&container["usage"]), name)?;
        for container in containers {
            let [cpu, memory] = Usage::read(&container["usage"]).cells();
            rows.push(format!("{}{}\t{cpu}\t{memory}\t", before(pod), name(&container)));
        }
    }
    if given.is_on(&SUM) {
        let headers = !given.is_on(&NO_HEADERS);
        let gap = "\t".repeat(usize::from(headers && everywhere) + usize::from(headers && each));
        let [cpu, memory] = pods.iter().map(of_pod).fold(Usage::default(), Usage::plus).cells();
        rows.push(format!("{gap}\t________\t________\t"));
        rows.push(format!("{gap}\t{cpu}\t{memory}\t"));
    }
    Ok(rows)
}

fn print(given: &Given, rows: &[String]) -> Result<Outcome, Error> {
    let rows = &rows[usize::from(given.is_on(&NO_HEADERS))..];
    skiff_print::text(TABLE.set(&(rows.join("\n") + "\n")))?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_shown_in_thousandths_and_mebibytes() {
        let usage = Usage::read(&json!({"cpu": "12345678n", "memory": "2048Ki"}));
        assert_eq!(usage.plus(usage).cells(), ["26m", "4Mi"]);
        assert_eq!(percent(50, 200), "25%\t");
        assert_eq!(percent(50, 0), "0%\t");
    }

    #[test]
    fn pods_and_their_sum_stand_in_columns() {
        let pods = [json!({"metadata": {"name": "a", "namespace": "n"}, "containers": [
            {"name": "x", "usage": {"cpu": "1m", "memory": "1Mi"}}, {"name": "y", "usage": {"cpu": "2m", "memory": "3Mi"}},
        ]})];
        let rows = pod_rows(&Given::default(), &pods).unwrap();
        assert_eq!(rows, ["NAME\tCPU(cores)\tMEMORY(bytes)\t", "a\t3m\t4Mi\t"]);
    }
}
