//! What a container's end is reported as: reason, exit code and termination message.

use super::local::LocalContainer;
use super::observed::Finished;
use crate::logs::tail::last_output;
use skiff_runtime::{ContainerState, ContainerStatus};
use std::io::Read;
use std::path::Path;

/// Most bytes of a termination message.
const MESSAGE_LIMIT: u64 = 4096;
/// Most bytes and lines taken from the log in place of a message.
const FALLBACK_BYTES: usize = 2048;
const FALLBACK_LINES: usize = 80;

/// The end of a container whose runtime state is `state`; `None` while it has not ended. Reads `message_file` and
/// perhaps the log.
pub(crate) fn finished(
    container: Option<&LocalContainer>,
    state: &ContainerState,
    message_file: &Path,
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
    let mut message = read_message(message_file);
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

/// The first bytes of the file; empty when it cannot be read, which the container may have brought about.
fn read_message(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MESSAGE_LIMIT).read_to_end(&mut bytes));
    if let Err(error) = read {
        tracing::debug!(path = %path.display(), %error, "termination message not read");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
