//! Which pod and container a command is about that is given a pod, or something with pods.

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::select::Selection;
use crate::selector;
use crate::uri::with_query;

/// The pod that a word names, or one of those of the object that it names: that which is most likely to answer.
pub(super) async fn pod(cx: &Context, word: &str) -> Result<Value, Error> {
    let words =
        if word.contains('/') { vec![word.to_owned()] } else { vec!["pods".to_owned(), word.to_owned()] };
    let mut found = Selection { words, ..Selection::default() }.find(cx).await?;
    Error::all(std::mem::take(&mut found.errors))?;
    let Some(item) = found.items.pop() else {
        return Err(Error::Usage(format!("{word}: no object is named")));
    };
    if item.resource.kind == "Pod" {
        return Ok(item.object);
    }
    let pods = pods_of(cx, &item.object).await?;
    let best = pods.into_iter().max_by(|left, right| fitness(left).cmp(&fitness(right)));
    best.ok_or_else(|| Error::Usage(format!("no pods found for {}/{}", item.resource.plural, item.name)))
}

/// The pods that an object's selector names.
pub(super) async fn pods_of(cx: &Context, object: &Value) -> Result<Vec<Value>, Error> {
    let selector = selector::text(&object["spec"]["selector"]);
    if selector.is_empty() {
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        return Err(Error::Usage(format!("cannot attach to a {kind}: selector for it is not implemented")));
    }
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let list = cx.api().await?.get(&with_query(&path, &[("labelSelector", Some(&selector))])).await?;
    let pods = list["items"].as_array().into_iter().flatten().map(|pod| {
        let mut pod = pod.clone();
        pod["kind"] = json!("Pod");
        pod["apiVersion"] = json!("v1");
        pod
    });
    Ok(pods.collect())
}

/// How likely a pod is to answer: it has a node, runs, is ready, and has been for long.
pub(super) fn fitness(pod: &Value) -> impl Ord + use<> {
    let phase = match pod["status"]["phase"].as_str() {
        Some("Running") => 2,
        Some("Pending") => 0,
        _ => 1,
    };
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let created = pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    (pod["spec"]["nodeName"].is_string(), phase, ready, std::cmp::Reverse(created))
}

/// The container that is meant when none is named. With several it is said which.
pub(super) fn container(pod: &Value, named: Option<&str>, quiet: bool) -> Result<String, Error> {
    let names: Vec<&str> = ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .filter_map(|container| container["name"].as_str())
        .collect();
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return match names.contains(&name) {
            true => Ok(name.to_owned()),
            false => Err(Error::Usage(format!("container {name} not found in pod {pod_name}"))),
        };
    }
    let annotation = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    if let Some(name) = annotation.filter(|name| names.contains(name)) {
        return Ok(name.to_owned());
    }
    let Some(first) = names.first() else { return Err(Error::usage("no containers found in pod")) };
    if names.len() > 1 && !quiet {
        let described: Vec<String> = names.iter().map(|name| described(pod, name)).collect();
        skiff_print::note(format_args!("Defaulted container \"{first}\" out of: {}", described.join(", ")));
    }
    Ok((*first).to_owned())
}

fn described(pod: &Value, name: &str) -> String {
    let is_in =
        |list: &str| pod["spec"][list].as_array().is_some_and(|all| all.iter().any(|c| c["name"] == name));
    if is_in("initContainers") {
        format!("{name} (init)")
    } else if is_in("ephemeralContainers") {
        format!("{name} (ephem)")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_pod_answers_sooner() {
        let pod = |phase: &str, ready: &str| json!({"spec": {"nodeName": "n"}, "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        assert!(fitness(&pod("Running", "True")) > fitness(&pod("Running", "False")));
        assert!(fitness(&pod("Running", "False")) > fitness(&pod("Pending", "False")));
    }

    #[test]
    fn the_container_is_named_or_the_first() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&pod, None, true).unwrap(), "a");
        assert_eq!(container(&pod, Some("i"), true).unwrap(), "i");
        assert_eq!(
            container(&pod, Some("x"), true).unwrap_err().to_string(),
            "error: container x not found in pod p"
        );
        assert_eq!(described(&pod, "i"), "i (init)");
    }
}
