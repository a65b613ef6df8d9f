//! log, exec, attach, port-forward and proxy: requests passed on to the node that runs the pod, or to what a
//! proxy URL names. An upgraded
//! connection is copied byte for byte both ways; the node speaks the stream protocols.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::upgrade::OnUpgrade;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use skiff_machinery::{FieldError, FieldErrors, Object, Subresource};
use skiff_registry::{ApiError, Call, Query, Subject};

use super::node::Nodes;
use super::proxy::{self, route::Route};
use crate::http::body::{self, Body};
use crate::relay::{forward, held, pass, switch};

/// How much of a node's error text is read, in bytes.
const MAX_ERROR: usize = 64 * 1024;

/// Passes a request on.
pub(crate) async fn connect(
    nodes: &Nodes,
    call: &Call,
    subresource: Subresource,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    call.check_verb()?;
    let registry = &*nodes.registry;
    if subresource != Subresource::Log {
        skiff_registry::connect(registry, call, subresource).await?;
    }
    if subresource == Subresource::Proxy {
        let route = Route::of(call, request.uri());
        let backend = proxy::Backend::find(registry, call).await?;
        if let Some(redirect) = route.redirect(&request) {
            return Ok(redirect);
        }
        let (sender, address) = backend.dial(nodes).await?;
        route.name_origin(&mut request);
        let (upgrade, response) = exchange(sender, &mut request, &route.target, address, Sent::Body).await?;
        return match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Ok(switch(response, upgrade, held(&request))),
            _ => route.answer(pass(response), address).await,
        };
    }
    let pod = registry.decoded(call, &registry.entry(call).await?)?;
    if subresource == Subresource::Log {
        check_log_options(&call.query, pod.name())?;
    }
    let target = path(call, subresource, &pod)?;
    let node = pod.str(&["spec", "nodeName"]);
    if node.is_empty() {
        return unscheduled(subresource, pod.name());
    }
    let (sender, address) = nodes.dial(node).await?;
    let (upgrade, response) = exchange(sender, &mut request, &target, address, Sent::Head).await?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => Ok(switch(response, upgrade, held(&request))),
        status if status.is_success() => Ok(pass(response)),
        status => Err(node_error(status, response.into_body()).await),
    }
}

/// What of a request is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// Only its head: streams have no body before the upgrade.
    Head,
    /// All of it.
    Body,
}

/// Sends a request on and waits for the head of the answer.
async fn exchange(
    mut sender: SendRequest<Body>,
    request: &mut Request<Body>,
    target: &str,
    address: SocketAddr,
    sent: Sent,
) -> Result<(OnUpgrade, Response<Incoming>), ApiError> {
    let upgrade = hyper::upgrade::on(&mut *request);
    let body = match sent {
        Sent::Head => body::full(Bytes::new()),
        Sent::Body => std::mem::replace(request.body_mut(), body::full(Bytes::new())),
    };
    let outgoing = forward(request.method(), request.headers(), target, &address.to_string(), body)?;
    let response = sender.send_request(outgoing).await;
    let response = response
        .map_err(|error| ApiError::Internal(format!("error sending request to {address}: {error}")))?;
    Ok((upgrade, response))
}

/// Logs of a pod that runs nowhere are empty; nothing else is possible with it.
fn unscheduled(subresource: Subresource, name: &str) -> Result<Response<Body>, ApiError> {
    if subresource == Subresource::Log {
        let mut response = Response::new(body::full(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    Err(ApiError::BadRequest(format!("pod {name} does not have a host assigned")))
}

/// Refuses what cannot be meant, before a node is asked.
fn check_log_options(query: &Query, pod: &str) -> Result<(), ApiError> {
    let mut errors = FieldErrors::new();
    let smallest = [("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)];
    for (name, least) in smallest {
        if let Some(value) = query.number(name)?.filter(|value| *value < least) {
            let bound = if least == 0 { "greater than or equal to 0" } else { "greater than 0" };
            errors.push(FieldError::invalid(name, value, format!("must be {bound}")));
        }
    }
    if !query.get("stream").is_empty() {
        errors.push(FieldError::forbidden("stream", "may not be specified"));
    }
    if !query.get("sinceSeconds").is_empty() && !query.get("sinceTime").is_empty() {
        let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden("[]", text));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let subject = Subject { kind: "PodLogOptions".into(), name: pod.into(), ..Subject::default() };
    Err(ApiError::invalid(subject, errors))
}

/// The parameters that a client may set, as the options of each subresource are named in core/v1 (`PodLogOptions`,
/// `PodExecOptions`, `PodAttachOptions`, `PodPortForwardOptions`). The container's is in the path.
fn options(subresource: Subresource) -> &'static [&'static str] {
    match subresource {
        Subresource::Log => {
            &["follow", "previous", "timestamps", "tailLines", "limitBytes", "sinceSeconds", "sinceTime"]
        }
        Subresource::Exec => &["command", "stdin", "stdout", "stderr", "tty"],
        Subresource::Attach => &["stdin", "stdout", "stderr", "tty"],
        Subresource::PortForward => &["ports"],
        _ => &[],
    }
}

/// Path and query for the node's server: the client's options and nothing else that it says, and the pod's UID.
fn path(call: &Call, subresource: Subresource, pod: &Object) -> Result<String, ApiError> {
    let verb = match subresource {
        Subresource::Log => "containerLogs",
        Subresource::Exec => "exec",
        Subresource::Attach => "attach",
        _ => "portForward",
    };
    let mut target = format!("/{verb}/{}/{}", pod.namespace(), pod.name());
    if subresource != Subresource::PortForward {
        target.push('/');
        target.push_str(&container(call.query.get("container"), pod)?);
    }
    let mut separator = '?';
    let asked = call.query.iter().filter(|(key, _)| options(subresource).contains(key));
    for (key, value) in asked.chain([("uid", pod.uid())]) {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        write!(target, "{separator}{}={}", encode(key), encode(value)).expect("writing into a String");
        separator = '&';
    }
    Ok(target)
}

/// The container that is meant: the one named, or the only one.
fn container(named: &str, pod: &Object) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<&str> {
        let containers = pod.get(&["spec", list]).and_then(Value::as_array);
        containers.into_iter().flatten().filter_map(|container| container["name"].as_str()).collect()
    };
    let (regular, init) = (names("containers"), names("initContainers"));
    let pod_name = pod.name();
    if !named.is_empty() {
        let known = regular.contains(&named)
            || init.contains(&named)
            || names("ephemeralContainers").contains(&named);
        let error = || ApiError::BadRequest(format!("container {named} is not valid for pod {pod_name}"));
        return if known { Ok(named.to_owned()) } else { Err(error()) };
    }
    match regular.as_slice() {
        [only] => Ok((*only).to_owned()),
        several => {
            let mut text = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                several.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::BadRequest(text))
        }
    }
}

/// A node's refusal: a Status if it sent one, else one made of its text.
async fn node_error(code: StatusCode, incoming: Incoming) -> ApiError {
    let text = match Limited::new(incoming, MAX_ERROR).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => Bytes::from(format!("the node's answer could not be read: {error}")),
    };
    ApiError::Passed(status_of(code, &text))
}

fn status_of(code: StatusCode, text: &[u8]) -> Value {
    if let Ok(status) = serde_json::from_slice::<Value>(text)
        && status["kind"] == "Status"
        && status["code"].is_u64()
    {
        return status;
    }
    let reason = match code {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": String::from_utf8_lossy(text).trim(), "reason": reason, "code": code.as_u16(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_container_in_kubernetes_words() {
        let pod = |containers: Value, init: Value| {
            Object::from_value(json!({
                "metadata": {"name": "p"}, "spec": {"containers": containers, "initContainers": init},
            }))
            .unwrap()
        };
        let check = |named: &str, pod: &Object, expected: Result<&str, &str>| {
            let found = container(named, pod).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        };
        let one = pod(json!([{"name": "a"}]), json!([]));
        check("", &one, Ok("a"));
        check("x", &one, Err("container x is not valid for pod p"));
        let two = pod(json!([{"name": "a"}, {"name": "b"}]), json!([]));
        check("", &two, Err("a container name must be specified for pod p, choose one of: [a b]"));
        check("b", &two, Ok("b"));
        let init = pod(json!([{"name": "a"}, {"name": "b"}]), json!([{"name": "i"}]));
        check(
            "",
            &init,
            Err(
                "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
            ),
        );
    }

    #[test]
    fn a_nodes_text_becomes_a_status() {
        let status = status_of(StatusCode::BAD_REQUEST, b"container \"c\" is waiting\n");
        assert_eq!(status["message"], "container \"c\" is waiting");
        assert_eq!(status["reason"], "BadRequest");
    }
}
