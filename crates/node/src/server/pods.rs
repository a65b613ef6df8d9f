//! Finds pods for the other handlers, and lists them.

use super::Context;
use super::respond::{Body, Refusal, json, text};
use super::routes::Query;
use crate::ids::ContainerName;
use crate::pod::local::LocalPod;
use crate::pod::worker::{ContainerView, View};
use http::{Response, StatusCode};
use serde_json::json;
use skiff_runtime::{ContainerId, PodHandle};
use std::sync::Arc;
use tokio::sync::watch;

/// A pod that was asked for.
pub(super) struct Found {
    pub(super) pod: Arc<LocalPod>,
    pub(super) view: View,
    /// Shows the pod from now on.
    pub(super) changes: watch::Receiver<View>,
}

/// The pod called `name` with the UID of the query, if it has one.
pub(super) fn find(context: &Context, namespace: &str, name: &str, query: &Query) -> Result<Found, Refusal> {
    let uid = query.get("uid").filter(|uid| !uid.is_empty());
    let views = context.views.read();
    let candidates = views.values().filter_map(|changes| {
        let view = changes.borrow().clone();
        let pod = view.pod.clone()?;
        let named = pod.namespace == namespace && pod.name == name;
        let same = uid.is_none_or(|uid| pod.uid.as_str() == uid);
        (named && same).then(|| Found { pod, view, changes: changes.clone() })
    });
    // Of several pods that had the name, the one that still runs.
    candidates
        .max_by_key(|found| !found.view.ended)
        .ok_or_else(|| Refusal::not_found(format!("pod \"{name}\" does not exist")))
}

impl Found {
    /// The container called `name`.
    pub(super) fn container(&self, name: &str) -> Result<&ContainerView, Refusal> {
        let wanted = ContainerName::from(name);
        let found = self.view.containers.iter().find(|container| container.name == wanted);
        let pod = &self.pod.name;
        found.ok_or_else(|| Refusal::not_found(format!("container \"{name}\" not found in pod \"{pod}\"")))
    }

    /// The running container called `name`, and the way to it.
    pub(super) fn running(&self, name: &str) -> Result<(PodHandle, ContainerId), Refusal> {
        let not_running = || Refusal::not_found(format!("container not found (\"{name}\")"));
        let id = self.container(name)?.running.as_deref().ok_or_else(not_running)?;
        let id = ContainerId::new(id).map_err(|_| not_running())?;
        Ok((self.view.handle.clone().ok_or_else(not_running)?, id))
    }
}

/// All pods of the node.
pub(super) fn list(context: &Context) -> Response<Body> {
    let views = context.views.read();
    let pods: Vec<_> =
        views.values().filter_map(|view| view.borrow().pod.as_ref().map(|pod| pod.to_api())).collect();
    drop(views);
    let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods });
    json(list.to_string().into_bytes())
}

/// A few numbers, in the Prometheus format.
pub(super) fn metrics(context: &Context) -> Response<Body> {
    let views = context.views.read();
    let running = |view: &watch::Receiver<View>| {
        let view = view.borrow();
        view.containers.iter().filter(|container| container.running.is_some()).count()
    };
    let containers: Vec<usize> = views.values().map(running).collect();
    let pods = containers.iter().filter(|count| **count > 0).count();
    let total: usize = containers.iter().sum();
    let node = &context.shared.config.node_name;
    let metrics = format!(
        "# HELP kubelet_node_name The node's name.\n# TYPE kubelet_node_name gauge\nkubelet_node_name{{node=\"{node}\"}} 1\n\
         # HELP kubelet_running_pods Pods with a running container.\n# TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}\n\
         # HELP kubelet_running_containers Running containers.\n# TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"running\"}} {total}\n"
    );
    text(StatusCode::OK, metrics)
}
