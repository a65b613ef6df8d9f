//! What a container's end is reported as: reason, exit code and termination message.

use super::local::LocalContainer;
use super::observed::Finished;
use crate::logs::tail::last_output;
use skiff_runtime::{ContainerState, ContainerStatus};

/// Most bytes and lines taken from the log in place of a message.
const FALLBACK_BYTES: usize = 2048;
const FALLBACK_LINES: usize = 80;

/// The end of a container whose runtime state is `state`; `None` while it has not ended. `message` gives its
/// termination message; the log may be read, too.
pub(crate) fn finished(
    container: Option<&LocalContainer>,
    state: &ContainerState,
    message: impl FnOnce() -> String,
) -> Option<Finished> {
    let ContainerStatus::Exited { code, oom_killed, started_at, finished_at, .. } = state.status else {
        return None;
    };
    let reason = match (oom_killed, code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    let falls_back = container.is_some_and(|container| {
        container.spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
    });
    let mut message = message();
    if message.is_empty() && falls_back && (code != 0 || oom_killed) {
        message = last_output(&state.log_path, FALLBACK_LINES, FALLBACK_BYTES).unwrap_or_default();
    }
    Some(Finished {
        id: state.id.to_string(),
        exit_code: code,
        reason: reason.into(),
        message,
        started_at: Some(started_at),
        finished_at,
    })
}
