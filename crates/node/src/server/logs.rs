//! Serves the logs of containers.

use super::Context;
use super::pods::{Found, find};
use super::respond::{Body, Refusal, WAITING_PIECES, streamed};
use super::routes::Query;
use crate::ids::ContainerName;
use crate::logs::query::LogQuery;
use crate::logs::read;
use crate::pod::status::reason_not_begun;
use crate::pod::worker::{ContainerView, View};
use http::Response;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

/// Answers with the log of one container.
pub(super) async fn serve(
    context: &Context,
    (namespace, name, container): (&str, &str, &str),
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let wanted = LogQuery::parse(query.pairs(), Timestamp::now()).map_err(Refusal::bad_request)?;
    let found = find(context, namespace, name, query).await?;
    let view = found.container(container)?;
    let attempt = attempt(&found, view, wanted.previous)?;
    let path = context.shared.paths(&found.pod.uid).log(&view.name, attempt);
    let (pieces, receiver) = mpsc::channel(WAITING_PIECES);
    // An attempt that is over writes no more.
    let follow = wanted.follow && view.running.is_some() && !wanted.previous;
    let ended = ended(found.changes.clone(), view.name.clone(), attempt);
    tokio::spawn(read::send(path, LogQuery { follow, ..wanted }, ended, pieces));
    Ok(streamed(receiver, "text/plain"))
}

/// The attempt whose log is meant.
fn attempt(found: &Found, view: &ContainerView, previous: bool) -> Result<u32, Refusal> {
    let (container, pod) = (&view.name, &found.pod.name);
    if previous {
        let none = || format!("previous terminated container \"{container}\" in pod \"{pod}\" not found");
        return view.previous.ok_or_else(|| Refusal::bad_request(none()));
    }
    view.current.ok_or_else(|| {
        let reason = match view.waiting.as_deref() {
            Some("ErrImagePull") => "image can't be pulled",
            Some("ImagePullBackOff") => "trying and failing to pull image",
            Some(reason) => reason,
            None => reason_not_begun(&found.pod),
        };
        Refusal::bad_request(format!(
            "container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}"
        ))
    })
}

/// Completes when the attempt is over.
async fn ended(mut changes: watch::Receiver<View>, container: ContainerName, attempt: u32) {
    let runs = |view: &View| {
        let view = view.containers.iter().find(|view| view.name == container);
        view.is_some_and(|view| view.running.is_some() && view.current == Some(attempt))
    };
    // A worker that is gone has ended its containers, or the agent shuts down.
    drop(changes.wait_for(|view| !runs(view)).await);
}
