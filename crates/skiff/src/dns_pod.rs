//! Why the DNS pod does not become ready: what its status, its events and its log say.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::addons;

/// Lines of the container's log.
const LOG_LINES: usize = 10;
/// Newest events of each pod.
const EVENTS: usize = 5;

/// Lines for a person, for each pod of the DNS; what cannot be found out is a line as well.
pub(crate) async fn explain(client: &Client, data_dir: &Path) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), addons::NAMESPACE);
    let ours = ListParams::default().labels(&format!("k8s-app={}", addons::DNS));
    let pods = match pods.list(&ours).await {
        Ok(list) if list.items.is_empty() => {
            return vec!["there is no DNS pod: its ReplicationController has not made one".to_owned()];
        }
        Ok(list) => list.items,
        Err(error) => return vec![format!("the DNS pods cannot be listed: {error}")],
    };
    let mut lines = Vec::new();
    for pod in pods {
        lines.push(state(&pod));
        lines.extend(events(client, &pod).await);
        lines.extend(log(data_dir, &pod));
    }
    lines
}

/// `pod kube-dns-x: Pending; container dns: waiting, ImagePullBackOff: …`
fn state(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_else(|| "no phase".to_owned());
    let mut text = format!("pod {}: {phase}", pod.name_any());
    for reason in [status.reason, status.message].into_iter().flatten() {
        text.push_str(&format!(", {reason}"));
    }
    let unmet = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .find(|c| c.status == "False" && c.message.is_some());
    if let Some(condition) = unmet {
        text.push_str(&format!("; {}: {}", condition.type_, condition.message.unwrap_or_default()));
    }
    for container in status.container_statuses.unwrap_or_default() {
        text.push_str(&format!("; container {}: {}", container.name, container_state(&container)));
    }
    text
}

fn container_state(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap_or_default();
    let words = |words: [Option<String>; 2]| words.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let mut text = match (state.waiting, state.terminated) {
        (Some(waiting), _) => format!("waiting, {}", words([waiting.reason, waiting.message])),
        (_, Some(ended)) => {
            format!("ended with exit code {}, {}", ended.exit_code, words([ended.reason, ended.message]))
        }
        _ if status.ready => "ready".to_owned(),
        _ => "running, but not ready".to_owned(),
    };
    if status.restart_count > 0 {
        text.push_str(&format!(", restarted {} times", status.restart_count));
    }
    text
}

async fn events(client: &Client, pod: &Pod) -> Vec<String> {
    let api: Api<Event> = Api::namespaced(client.clone(), addons::NAMESPACE);
    let about = format!("involvedObject.uid={}", pod.uid().unwrap_or_default());
    let events = match api.list(&ListParams::default().fields(&about)).await {
        Ok(list) => list.items,
        Err(error) => return vec![format!("its events cannot be listed: {error}")],
    };
    let text = |event: &Event| {
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        format!("event {} {}: {}", word(&event.type_), word(&event.reason), word(&event.message))
    };
    let skipped = events.len().saturating_sub(EVENTS);
    events.iter().skip(skipped).map(text).collect()
}

/// The end of the newest log of the pod's container, from the file: the way through the API may be what is cut off.
fn log(data_dir: &Path, pod: &Pod) -> Vec<String> {
    let directory =
        data_dir.join("pods").join(pod.uid().unwrap_or_default()).join("logs").join(addons::CONTAINER);
    let attempts = fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let number = |path: &std::path::PathBuf| path.file_stem()?.to_str()?.parse::<u32>().ok();
    let newest = attempts.filter_map(|path| Some((number(&path)?, path))).max();
    let Some((_, path)) = newest else { return vec!["it has written no log".to_owned()] };
    match fs::read_to_string(&path) {
        Ok(text) => last_lines(&text),
        Err(error) => vec![format!("its log {} cannot be read: {error}", path.display())],
    }
}

/// The messages of the last lines; each has a time, a stream and a flag before it (the CRI's log format).
fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let message = |line: &&str| format!("log: {}", line.splitn(4, ' ').nth(3).unwrap_or(line));
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(message).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pods_state_is_one_line() {
        let check = |status: Value, expected: &str| {
            let pod = json!({"metadata": {"name": "dns-1"}, "status": status});
            assert_eq!(state(&serde_json::from_value(pod).unwrap()), expected);
        };
        let container = |state: Value, restarts: u32| json!({"name": "dns", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state});
        check(json!({}), "pod dns-1: no phase");
        check(
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}]}),
            "pod dns-1: Pending; PodScheduled: no node",
        );
        check(
            json!({"phase": "Running", "containerStatuses": [container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), 3)]}),
            "pod dns-1: Running; container dns: waiting, CrashLoopBackOff, restarted 3 times",
        );
        check(
            json!({"phase": "Running", "containerStatuses": [container(json!({"running": {}}), 0)]}),
            "pod dns-1: Running; container dns: running, but not ready",
        );
    }

    #[test]
    fn a_log_is_shown_by_its_messages() {
        let line = |n: usize| format!("2026-01-01T00:00:00Z stderr F line {n} of it\n");
        let text: String = (1..=12).map(line).collect();
        let shown = last_lines(&text);
        assert_eq!((shown.len(), shown[0].as_str()), (LOG_LINES, "log: line 3 of it"));
        assert_eq!(last_lines("odd\n"), ["log: odd"]);
    }
}
