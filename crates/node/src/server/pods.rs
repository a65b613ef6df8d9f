//! Finds pods for the other handlers, and lists them.

use super::Context;
use super::respond::{Body, Refusal, json};
use super::routes::Query;
use crate::ids::ContainerName;
use crate::pod::local::LocalPod;
use crate::pod::worker::{ContainerView, View};
use http::Response;
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
pub(super) async fn find(
    context: &Context,
    namespace: &str,
    name: &str,
    query: &Query,
) -> Result<Found, Refusal> {
    let uid = query.get("uid").filter(|uid| !uid.is_empty());
    let found = context.views.find(namespace, name, uid).await;
    let found = found.and_then(|(view, changes)| Some(Found { pod: view.pod.clone()?, view, changes }));
    found.ok_or_else(|| Refusal::not_found(format!("pod \"{name}\" does not exist")))
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
    let views = context.views.all();
    let pods: Vec<_> = views.iter().filter_map(|view| view.pod.as_ref().map(|pod| pod.to_api())).collect();
    let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods });
    json(list.to_string().into_bytes())
}
