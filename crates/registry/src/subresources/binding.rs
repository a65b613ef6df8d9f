//! `pods/binding`: the scheduler's decision.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use skiff_machinery::managed::Operation;
use skiff_machinery::{FieldError, Object, Subresource};

use crate::admission;
use crate::errors::{ApiError, Subject};
use crate::pipeline::call::{Call, timestamp};
use crate::pipeline::decode;
use crate::pipeline::outcome::Outcome;
use crate::pipeline::update::{self, Part};
use crate::registry::Registry;

/// POST.
pub(super) async fn bind(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let mut binding = decode::exchanged(call, Subresource::Binding, body)?;
    if binding.name() != call.path.name {
        return Err(ApiError::BadRequest("name in URL does not match name in Binding object".to_owned()));
    }
    admission::review_exchanged(registry, call, "binding", &mut binding).await?;
    carry_out(registry, call, &binding).await
}

/// Assigns the pod of a call to the node that a Binding names.
pub(super) async fn carry_out(
    registry: &Registry,
    call: &Call,
    binding: &Object,
) -> Result<Outcome, ApiError> {
    let node = target(binding)?;
    let make = |old: &Object| bound(call, old, binding, &node);
    update::change(registry, call, Part::Narrow(Subresource::Binding), Operation::Update, make).await?;
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Outcome::status(StatusCode::CREATED, success))
}

fn target(binding: &Object) -> Result<String, ApiError> {
    // Kubernetes answers 500 without a reason here.
    let invalid = |error: FieldError| Err(ApiError::Unclassified(error.to_string()));
    match (binding.str(&["target", "kind"]), binding.str(&["target", "name"])) {
        ("" | "Node", "") => invalid(FieldError::required("target.name", "")),
        ("" | "Node", name) => Ok(name.to_owned()),
        (kind, _) => invalid(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"])),
    }
}

fn bound(call: &Call, old: &Object, binding: &Object, node: &str) -> Result<Object, ApiError> {
    let name = old.name();
    let conflict =
        |message: String| Err(ApiError::Conflict { subject: Subject::core("pods/binding", name), message });
    update::check_uid(call, binding, old)?;
    if old.is_terminating() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let assigned = old.str(&["spec", "nodeName"]);
    if !assigned.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {assigned:?}"));
    }
    let gates = old.get(&["spec", "schedulingGates"]).and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut new = old.clone();
    new.set(&["spec", "nodeName"], node);
    for field in ["annotations", "labels"] {
        let given = binding.get(&["metadata", field]).and_then(Value::as_object);
        for (key, value) in given.into_iter().flatten() {
            new.set(&["metadata", field, key], value.clone());
        }
    }
    // What was promised is kept (KEP-5278).
    new.remove(&["status", "nominatedNodeName"]);
    set_scheduled(&mut new, &timestamp(call.now));
    Ok(new)
}

/// Adds the condition `PodScheduled`, or turns it to true.
fn set_scheduled(pod: &mut Object, now: &str) {
    let mut conditions =
        pod.get(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": now,
    }));
    pod.set(&["status", "conditions"], conditions);
}
