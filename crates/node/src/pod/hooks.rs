//! Runs lifecycle hooks.

use super::local::{LocalContainer, LocalPod};
use crate::probes::action::of_hook;
use crate::probes::perform::{Effort, Outcome, Target, perform};
use crate::shared::Shared;
use k8s_openapi::api::core::v1::LifecycleHandler;
use skiff_informer::EventType::Warning;
use std::net::IpAddr;
use std::time::Duration;

/// A start hook has no limit of its own; this one only keeps a forgotten hook from living for ever.
const POST_START_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs the start hook; false when it failed.
pub(crate) async fn post_start(
    shared: &Shared,
    pod: &LocalPod,
    container: &LocalContainer,
    target: &Target,
    ip: Option<IpAddr>,
) -> bool {
    let hook = container.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    let Some(failure) = run(hook, container, target, ip, POST_START_LIMIT).await else { return true };
    tracing::debug!(pod = %pod.full_name(), container = %container.name, failure, "start hook failed");
    shared.container_event(pod, container, Warning, "FailedPostStartHook", "PostStartHook failed".into());
    false
}

/// Runs the stop hook for at most `limit`; the container is stopped whatever comes of it.
pub(crate) async fn pre_stop(
    shared: &Shared,
    pod: &LocalPod,
    container: &LocalContainer,
    target: &Target,
    ip: Option<IpAddr>,
    limit: Duration,
) {
    let hook = container.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(failure) = run(hook, container, target, ip, limit).await {
        tracing::debug!(pod = %pod.full_name(), container = %container.name, failure, "stop hook failed");
        shared.container_event(pod, container, Warning, "FailedPreStopHook", "PreStopHook failed".into());
    }
}

/// Runs `hook`; `Some` says why it failed.
async fn run(
    hook: Option<&LifecycleHandler>,
    container: &LocalContainer,
    target: &Target,
    ip: Option<IpAddr>,
    limit: Duration,
) -> Option<String> {
    let action = match of_hook(hook?, &container.spec, ip) {
        Ok(action) => action,
        Err(text) => return Some(text),
    };
    match perform(&action, target, Effort::at_once(limit)).await {
        Outcome::Success | Outcome::Warning(_) => None,
        Outcome::Failure(text) | Outcome::Error(text) => Some(text),
    }
}
