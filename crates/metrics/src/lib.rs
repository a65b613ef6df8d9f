//! The API `metrics.k8s.io/v1beta1`: what nodes, pods and containers use now, for `kubectl top` and autoscalers.
//!
//! Two facts shaped this crate:
//!
//! - *It is a client like any other.* Nodes and pods come from the API, and so do their numbers: each node's summary, through
//!   `nodes/proxy`. Who may ask is decided before a question comes here.
//! - *What nobody asks for is not measured.* A rate needs two readings; the one before is the last that was asked for, and
//!   the window that an answer names says how long ago that was. What was read last is told again for some seconds. Of
//!   what was not read before the rate is that of its whole life.

mod objects;
mod question;
mod usage;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::Mutex;

use objects::{Form, Kind};
pub use question::Question;
use question::{Asked, Scope};
use usage::{Readings, Usages};

/// The group of the API.
pub const GROUP: &str = "metrics.k8s.io";
/// Its version.
pub const VERSION: &str = "v1beta1";

/// How long what was read is told again.
const FRESH: Duration = Duration::from_secs(10);
/// How long a node may take to tell what is used on it.
const ANSWER: Duration = Duration::from_secs(10);

/// Answers questions. There is nothing to tell before it has a client.
#[derive(Default)]
pub struct Metrics {
    client: OnceLock<Client>,
    read: Mutex<Readings>,
}

/// An answer: a status and a JSON document.
pub type Answer = (StatusCode, Value);

impl Metrics {
    /// Asks the API as `client`, which may list nodes and pods and get `nodes/proxy`.
    pub fn connect(&self, client: Client) {
        if self.client.set(client).is_err() {
            tracing::warn!("the metrics have a client already");
        }
    }

    /// Answers one question.
    pub async fn answer(&self, question: &Question<'_>) -> Answer {
        let asked = match question.asked() {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        // What there is does not depend on anybody; it is asked for before anybody is there.
        let Asked::Of { kind, scope } = asked else { return (StatusCode::OK, objects::resources()) };
        let Some(client) = self.client.get() else { return objects::unavailable() };
        let answered = match kind {
            Kind::Node => self.nodes(client, question, &scope).await,
            Kind::Pod => self.pods(client, question, &scope).await,
        };
        answered.unwrap_or_else(|error| objects::failed(&error))
    }

    async fn nodes(&self, client: &Client, question: &Question<'_>, scope: &Scope) -> kube::Result<Answer> {
        let list = Api::<Node>::all(client.clone()).list_metadata(&params(question, scope)).await?;
        let usages = self.usages(client).await?;
        let known = list.items.into_iter().filter_map(|node| {
            let usage = usages.nodes.get(node.metadata.name.as_deref()?)?;
            Some(objects::node(&node.metadata, usage, Timestamp::now()))
        });
        Ok(told(Kind::Node, question.form(), scope, known.collect()))
    }

    async fn pods(&self, client: &Client, question: &Question<'_>, scope: &Scope) -> kube::Result<Answer> {
        let api: Api<Pod> = match &scope.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let list = api.list_metadata(&params(question, scope)).await?;
        let usages = self.usages(client).await?;
        let usage_of = |meta: &ObjectMeta| usages.pods.get(meta.uid.as_deref()?);
        let known = list.items.into_iter().filter_map(|pod| {
            let usage = usage_of(&pod.metadata)?;
            Some(objects::pod(&pod.metadata, usage, Timestamp::now()))
        });
        Ok(told(Kind::Pod, question.form(), scope, known.collect()))
    }

    /// What is used now, or was some seconds ago. One at a time asks the nodes; whoever comes meanwhile has the same answer.
    async fn usages(&self, client: &Client) -> kube::Result<Arc<Usages>> {
        let mut read = self.read.lock().await;
        if let Some(usages) = read.fresh(Timestamp::now(), FRESH) {
            return Ok(usages);
        }
        let nodes = Api::<Node>::all(client.clone()).list_metadata(&ListParams::default()).await?;
        let mut summaries = BTreeMap::new();
        for name in nodes.items.into_iter().filter_map(|node| node.metadata.name) {
            match summary(client, &name).await {
                Ok(summary) => drop(summaries.insert(name, summary)),
                Err(why) => tracing::warn!(node = name, why, "what is used on a node is not known"),
            }
        }
        Ok(read.take(&summaries, Timestamp::now()))
    }
}

/// What a node says of itself and its pods.
async fn summary(client: &Client, node: &str) -> Result<Value, String> {
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary?only_cpu_and_memory=true");
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let asking = client.request::<Value>(request);
    let answer = tokio::time::timeout(ANSWER, asking).await.map_err(|_| "it does not answer".to_owned())?;
    answer.map_err(|error| error.to_string())
}

fn params(question: &Question<'_>, scope: &Scope) -> ListParams {
    let by_name = scope.name.as_ref().map(|name| format!("metadata.name={name}"));
    ListParams {
        label_selector: question.parameter("labelSelector"),
        field_selector: by_name.or_else(|| question.parameter("fieldSelector")),
        ..ListParams::default()
    }
}

/// The objects that were asked for, as a list, as one, or as a table.
fn told(kind: Kind, form: Form, scope: &Scope, mut known: Vec<Value>) -> Answer {
    match &scope.name {
        Some(name) => match known.pop() {
            Some(one) => (StatusCode::OK, objects::one(kind, form, one)),
            None => objects::not_found(kind, scope.namespace.as_deref(), name),
        },
        None => (StatusCode::OK, objects::list(kind, form, known)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
