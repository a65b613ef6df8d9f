//! The DNS pod: whether it is ready or ever will be, and why not: what its status, its events and its log say.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use skiff_informer::{Tolerant, watch_objects};

use crate::addons;

/// Lines of the container's log.
const LOG_LINES: usize = 10;
/// Newest events of each pod.
const EVENTS: usize = 5;

/// Why containers wait when nothing but a change by somebody lets them start.
const HOPELESS: [&str; 7] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];
/// A container that has ended so often ends again.
const ENDS: i32 = 3;

/// What is to be expected of the DNS pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// One is ready, at this address.
    Ready(Ipv4Addr),
    /// One is on its way, or to be made.
    Waiting,
    /// Each is in a state out of which it hardly comes by itself.
    Stuck,
}

/// What is to be expected of the DNS pods, anew after each change.
pub(crate) fn outlooks(client: &Client) -> impl Stream<Item = Outlook> + use<> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), addons::NAMESPACE);
    let events = watch_objects::<Pod>(pods, watcher::Config::default().labels(&selector()));
    let mut known = BTreeMap::new();
    let keep = |known: &mut BTreeMap<_, _>, pod: Tolerant<Pod>| {
        known.extend(pod.readable().map(|pod| (pod.uid(), pod)));
    };
    events.filter_map(move |event| {
        let complete = match event {
            Ok(watcher::Event::Init) => {
                known.clear();
                false
            }
            Ok(watcher::Event::InitApply(pod)) => {
                keep(&mut known, pod);
                false
            }
            Ok(watcher::Event::InitDone) => true,
            Ok(watcher::Event::Apply(pod)) => {
                keep(&mut known, pod);
                true
            }
            Ok(watcher::Event::Delete(pod)) => {
                known.remove(&pod.meta().uid);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "watching the DNS pods");
                false
            }
        };
        std::future::ready(complete.then(|| outlook(known.values())))
    })
}

fn selector() -> String {
    format!("k8s-app={}", addons::DNS)
}

fn outlook<'a>(pods: impl Iterator<Item = &'a Pod> + Clone) -> Outlook {
    let mut pods = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none()).peekable();
    let none = pods.peek().is_none();
    match pods.clone().find_map(ready_address) {
        Some(address) => Outlook::Ready(address),
        None if !none && pods.all(is_stuck) => Outlook::Stuck,
        None => Outlook::Waiting,
    }
}

/// The condition of a pod, as its status and reason.
fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, Option<&'a str>)> {
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&condition.status, condition.reason.as_deref()))
}

fn ready_address(pod: &Pod) -> Option<Ipv4Addr> {
    let (ready, _) = condition(pod, "Ready")?;
    running_address(pod).filter(|_| ready == "True")
}

/// The address of a pod that runs and is to go on running.
fn running_address(pod: &Pod) -> Option<Ipv4Addr> {
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Running"))?;
    pod.metadata.deletion_timestamp.is_none().then(|| status.pod_ip.as_ref()?.parse().ok())?
}

fn is_stuck(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let hopeless = |container: &ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
        waiting.is_some_and(|reason| {
            HOPELESS.contains(&reason) || reason == "CrashLoopBackOff" && container.restart_count >= ENDS
        })
    };
    phase == Some("Failed")
        || condition(pod, "PodScheduled") == Some(("False", Some("Unschedulable")))
        || containers.into_iter().any(hopeless)
}

/// The address of a DNS pod that runs; none when there is none.
pub(crate) async fn address(client: &Client) -> anyhow::Result<Option<Ipv4Addr>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), addons::NAMESPACE);
    let pods = pods.list(&ListParams::default().labels(&selector())).await.context("list the DNS pods")?;
    Ok(pods.iter().find_map(running_address))
}

/// Lines for a person, for each pod of the DNS; what cannot be found out is a line as well.
pub(crate) async fn explain(client: &Client, data_dir: &Path) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), addons::NAMESPACE);
    let pods = match pods.list(&ListParams::default().labels(&selector())).await {
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
    fn what_is_to_be_expected_of_pods_is_told_by_their_states() {
        let pod = |status: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "dns-1"}, "status": status})).unwrap()
        };
        let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason});
        let waits = |reason: &str, restarts: u32| {
            let state = json!({"waiting": {"reason": reason}});
            pod(json!({"phase": "Pending", "containerStatuses": [
                {"name": "dns", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state}]}))
        };
        let running = |ready| {
            pod(
                json!({"phase": "Running", "podIP": "10.244.0.2", "conditions": [condition("Ready", ready, "")]}),
            )
        };
        let unplaced = |reason| {
            pod(json!({"phase": "Pending", "conditions": [condition("PodScheduled", "False", reason)]}))
        };
        let leaving = || {
            let mut pod = running("True");
            pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
            pod
        };
        let check = |pods: &[Pod], expected: Outlook| assert_eq!(outlook(pods.iter()), expected, "{pods:?}");
        let at = Outlook::Ready(Ipv4Addr::new(10, 244, 0, 2));
        check(&[], Outlook::Waiting);
        check(&[pod(json!({}))], Outlook::Waiting);
        check(&[running("True")], at);
        check(&[running("False")], Outlook::Waiting);
        check(&[leaving()], Outlook::Waiting);
        check(&[leaving(), unplaced("Unschedulable")], Outlook::Stuck);
        check(&[unplaced("SchedulingGated")], Outlook::Waiting);
        check(&[unplaced("Unschedulable"), running("True")], at);
        check(&[unplaced("Unschedulable"), pod(json!({}))], Outlook::Waiting);
        check(&[pod(json!({"phase": "Failed"}))], Outlook::Stuck);
        check(&[waits("ContainerCreating", 0)], Outlook::Waiting);
        check(&[waits("ErrImageNeverPull", 0)], Outlook::Stuck);
        check(&[waits("CrashLoopBackOff", 2)], Outlook::Waiting);
        check(&[waits("CrashLoopBackOff", 3)], Outlook::Stuck);
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
