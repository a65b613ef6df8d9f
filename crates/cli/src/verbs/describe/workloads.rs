//! Workloads and their pods, in the words in which kubectl tells of them.

use serde_json::Value;

use super::text::{Text, items, rfc1123, scalar, str_of};
use crate::selector;

/// What else is known of an object: the pods that it owns, its ReplicaSets.
#[derive(Debug, Default)]
pub(super) struct Related {
    pub(super) pods: Vec<Value>,
    pub(super) sets: Vec<Value>,
    pub(super) slices: Vec<Value>,
}

/// The object as text whose columns are not set; `None` of a kind that nothing special is known of.
pub(super) fn describe(object: &Value, related: &Related) -> Option<String> {
    let mut text = Text::default();
    match object["kind"].as_str()? {
        "Pod" => pod(&mut text, object),
        "Deployment" => deployment(&mut text, object, &related.sets),
        "ReplicaSet" | "ReplicationController" => replicas(&mut text, object, &related.pods),
        "StatefulSet" => stateful_set(&mut text, object, &related.pods),
        "DaemonSet" => daemon_set(&mut text, object, &related.pods),
        "Job" => job(&mut text, object),
        "Service" => super::service::describe(&mut text, object, &related.slices),
        _ => return None,
    }
    Some(text.0)
}

pub(super) fn head(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_of(&object["metadata"]["name"]));
    text.field(0, "Namespace", str_of(&object["metadata"]["namespace"]));
}

pub(super) fn labels_and_annotations(text: &mut Text, object: &Value) {
    text.labels("Labels", &object["metadata"]["labels"]);
    text.annotations("Annotations", &object["metadata"]["annotations"]);
}

pub(super) fn selected(selector: &Value) -> String {
    let text = selector::text(selector);
    if text.is_empty() { "<none>".to_owned() } else { text }
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn created(text: &mut Text, object: &Value) {
    text.field(0, "CreationTimestamp", rfc1123(str_of(&object["metadata"]["creationTimestamp"])));
}

fn controller(text: &mut Text, object: &Value) {
    let owners = items(&object["metadata"]["ownerReferences"]);
    if let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) {
        text.field(0, "Controlled By", format_args!("{}/{}", str_of(&owner["kind"]), str_of(&owner["name"])));
    }
}

fn conditions(text: &mut Text, object: &Value) {
    let conditions = items(&object["status"]["conditions"]);
    if conditions.is_empty() {
        return;
    }
    text.line(0, "Conditions:\n  Type\tStatus\tReason");
    text.line(1, "----\t------\t------");
    for condition in conditions {
        let of = |field: &str| str_of(&condition[field]).to_owned();
        text.line(1, format_args!("{} \t{}\t{}", of("type"), of("status"), of("reason")));
    }
}

fn phases(pods: &[Value]) -> String {
    let of = |phase: &str| pods.iter().filter(|pod| pod["status"]["phase"] == phase).count();
    let counts = (of("Running"), of("Pending"), of("Succeeded"), of("Failed"));
    format!("{} Running / {} Waiting / {} Succeeded / {} Failed", counts.0, counts.1, counts.2, counts.3)
}

fn pod(text: &mut Text, pod: &Value) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    head(text, pod);
    if let Some(priority) = spec["priority"].as_i64() {
        text.field(0, "Priority", priority);
    }
    for (title, field) in [
        ("Priority Class Name", "priorityClassName"),
        ("Runtime Class Name", "runtimeClassName"),
        ("Service Account", "serviceAccountName"),
    ] {
        if !str_of(&spec[field]).is_empty() {
            text.field(0, title, str_of(&spec[field]));
        }
    }
    match str_of(&spec["nodeName"]) {
        "" => text.field(0, "Node", "<none>"),
        node => text.field(0, "Node", format_args!("{node}/{}", str_of(&status["hostIP"]))),
    }
    if status["startTime"].is_string() {
        text.field(0, "Start Time", rfc1123(str_of(&status["startTime"])));
    }
    labels_and_annotations(text, pod);
    state(text, pod);
    let seccomp = &spec["securityContext"]["seccompProfile"];
    if seccomp.is_object() {
        text.field(0, "SeccompProfile", str_of(&seccomp["type"]));
    }
    text.field(0, "IP", str_of(&status["podIP"]));
    match items(&status["podIPs"]) {
        [] => text.field(0, "IPs", "<none>"),
        addresses => {
            text.line(0, "IPs:");
            addresses.iter().for_each(|address| text.field(1, "IP", str_of(&address["ip"])));
        }
    }
    controller(text, pod);
    if !str_of(&status["nominatedNodeName"]).is_empty() {
        text.field(0, "NominatedNodeName", str_of(&status["nominatedNodeName"]));
    }
    if spec["resources"].is_object() {
        text.line(0, "Resources:");
        text.resources(1, &spec["resources"]);
    }
    containers(text, spec, status);
    if !items(&status["conditions"]).is_empty() {
        text.line(0, "Conditions:\n  Type\tStatus");
        for condition in items(&status["conditions"]) {
            text.line(1, format_args!("{} \t{} ", str_of(&condition["type"]), str_of(&condition["status"])));
        }
    }
    text.volumes(&spec["volumes"], false);
    text.field(0, "QoS Class", str_of(&status["qosClass"]));
    text.labels("Node-Selectors", &spec["nodeSelector"]);
    text.tolerations("Tolerations", &spec["tolerations"]);
    text.spread(&spec["topologySpreadConstraints"], false);
}

fn state(text: &mut Text, pod: &Value) {
    let (metadata, status) = (&pod["metadata"], &pod["status"]);
    let phase = str_of(&status["phase"]);
    if metadata["deletionTimestamp"].is_string() && !["Succeeded", "Failed"].contains(&phase) {
        let since = metadata["deletionTimestamp"]
            .as_str()
            .and_then(|time| time.parse::<k8s_openapi::jiff::Timestamp>().ok());
        let now = k8s_openapi::jiff::Timestamp::now().as_second();
        let lasts =
            since.map_or("<unknown>".to_owned(), |time| crate::line::duration::human(now - time.as_second()));
        text.field(0, "Status", format_args!("Terminating (lasts {lasts})"));
        text.field(
            0,
            "Termination Grace Period",
            format_args!("{}s", count(&metadata["deletionGracePeriodSeconds"])),
        );
    } else {
        text.field(0, "Status", phase);
    }
    for (title, field) in [("Reason", "reason"), ("Message", "message")] {
        if !str_of(&status[field]).is_empty() {
            text.field(0, title, str_of(&status[field]));
        }
    }
}

fn containers(text: &mut Text, spec: &Value, status: &Value) {
    for (title, list, statuses) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        if list == "containers" || !items(&spec[list]).is_empty() {
            text.containers(title, &spec[list], &status[statuses], false);
        }
    }
    if !items(&spec["readinessGates"]).is_empty() {
        text.line(0, "Readiness Gates:\n  Type\tStatus");
        for gate in items(&spec["readinessGates"]) {
            let condition = items(&status["conditions"]).iter().find(|c| c["type"] == gate["conditionType"]);
            let state = condition.map_or("<none>", |condition| str_of(&condition["status"]));
            text.line(1, format_args!("{} \t{state} ", str_of(&gate["conditionType"])));
        }
    }
}

fn deployment(text: &mut Text, object: &Value, sets: &[Value]) {
    let (spec, status) = (&object["spec"], &object["status"]);
    head(text, object);
    created(text, object);
    labels_and_annotations(text, object);
    text.field(0, "Selector", selected(&spec["selector"]));
    text.field(
        0,
        "Replicas",
        format_args!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            count(&spec["replicas"]),
            count(&status["updatedReplicas"]),
            count(&status["replicas"]),
            count(&status["availableReplicas"]),
            count(&status["unavailableReplicas"])
        ),
    );
    text.field(0, "StrategyType", str_of(&spec["strategy"]["type"]));
    text.field(0, "MinReadySeconds", count(&spec["minReadySeconds"]));
    let rolling = &spec["strategy"]["rollingUpdate"];
    if rolling.is_object() {
        let (unavailable, surge) = (scalar(&rolling["maxUnavailable"]), scalar(&rolling["maxSurge"]));
        text.field(
            0,
            "RollingUpdateStrategy",
            format_args!("{unavailable} max unavailable, {surge} max surge"),
        );
    }
    text.template(&spec["template"]);
    conditions(text, object);
    let revision = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    let is_new =
        |set: &&Value| set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == *revision;
    let (mut new, mut old): (Vec<&Value>, Vec<&Value>) = sets.iter().partition(is_new);
    let by_age = |sets: &mut Vec<&Value>| {
        skiff_ordered::sort_by_key(sets, |set| str_of(&set["metadata"]["creationTimestamp"]).to_owned())
    };
    by_age(&mut new);
    by_age(&mut old);
    if !sets.is_empty() {
        text.field(0, "OldReplicaSets", named_sets(&old));
        text.field(0, "NewReplicaSet", named_sets(&new));
    }
}

fn named_sets(sets: &[&Value]) -> String {
    let each = |set: &&Value| {
        let (there, wanted) = (count(&set["status"]["replicas"]), count(&set["spec"]["replicas"]));
        format!("{} ({there}/{wanted} replicas created)", str_of(&set["metadata"]["name"]))
    };
    let list: Vec<String> = sets.iter().map(each).collect();
    if list.is_empty() { "<none>".to_owned() } else { list.join(", ") }
}

fn replicas(text: &mut Text, object: &Value, pods: &[Value]) {
    head(text, object);
    text.field(0, "Selector", selected(&object["spec"]["selector"]));
    labels_and_annotations(text, object);
    if object["kind"] == "ReplicaSet" {
        controller(text, object);
    }
    let (there, wanted) = (count(&object["status"]["replicas"]), count(&object["spec"]["replicas"]));
    text.field(0, "Replicas", format_args!("{there} current / {wanted} desired"));
    text.field(0, "Pods Status", phases(pods));
    text.template(&object["spec"]["template"]);
    conditions(text, object);
}

fn stateful_set(text: &mut Text, object: &Value, pods: &[Value]) {
    let (spec, status) = (&object["spec"], &object["status"]);
    head(text, object);
    created(text, object);
    text.field(0, "Selector", selected(&spec["selector"]));
    labels_and_annotations(text, object);
    let (wanted, there) = (count(&spec["replicas"]), count(&status["replicas"]));
    text.field(0, "Replicas", format_args!("{wanted} desired | {there} total"));
    text.field(0, "Update Strategy", str_of(&spec["updateStrategy"]["type"]));
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    if let Some(partition) = rolling["partition"].as_i64() {
        text.field(1, "Partition", partition);
        if !rolling["maxUnavailable"].is_null() {
            text.field(1, "MaxUnavailable", scalar(&rolling["maxUnavailable"]));
        }
    }
    text.field(0, "Pods Status", phases(pods));
    text.template(&spec["template"]);
    claims(text, &spec["volumeClaimTemplates"]);
}

fn claims(text: &mut Text, templates: &Value) {
    if items(templates).is_empty() {
        text.field(0, "Volume Claims", "<none>");
        return;
    }
    text.line(0, "Volume Claims:");
    for claim in items(templates) {
        text.field(1, "Name", str_of(&claim["metadata"]["name"]));
        text.field(1, "StorageClass", str_of(&claim["spec"]["storageClassName"]));
        for (title, field) in [("Labels", "labels"), ("Annotations", "annotations")] {
            let mut nested = Text::default();
            nested.labels(title, &claim["metadata"][field]);
            nested.0.lines().for_each(|line| text.line(1, line));
        }
        let capacity = &claim["spec"]["resources"]["requests"]["storage"];
        text.field(1, "Capacity", if capacity.is_null() { "<default>".to_owned() } else { scalar(capacity) });
        let modes: Vec<&str> = items(&claim["spec"]["accessModes"]).iter().map(str_of).collect();
        text.field(1, "Access Modes", format_args!("[{}]", modes.join(" ")));
    }
}

fn daemon_set(text: &mut Text, object: &Value, pods: &[Value]) {
    let (spec, status) = (&object["spec"], &object["status"]);
    head(text, object);
    text.field(0, "Selector", selected(&spec["selector"]));
    text.field(0, "Node-Selector", selected(&spec["template"]["spec"]["nodeSelector"]));
    labels_and_annotations(text, object);
    for (what, field) in [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        text.line(0, format_args!("{what}: {}", count(&status[field])));
    }
    text.field(0, "Pods Status", phases(pods));
    text.template(&spec["template"]);
}

fn job(text: &mut Text, object: &Value) {
    let (spec, status) = (&object["spec"], &object["status"]);
    head(text, object);
    text.field(0, "Selector", selected(&spec["selector"]));
    labels_and_annotations(text, object);
    controller(text, object);
    if !spec["parallelism"].is_null() {
        text.field(0, "Parallelism", count(&spec["parallelism"]));
    }
    let completions = &spec["completions"];
    text.field(
        0,
        "Completions",
        if completions.is_null() { "<unset>".to_owned() } else { scalar(completions) },
    );
    for (title, field) in [
        ("Completion Mode", "completionMode"),
        ("Suspend", "suspend"),
        ("Backoff Limit", "backoffLimit"),
        ("TTL Seconds After Finished", "ttlSecondsAfterFinished"),
    ] {
        if !spec[field].is_null() {
            text.field(0, title, scalar(&spec[field]));
        }
    }
    let (start, end) = (str_of(&status["startTime"]), str_of(&status["completionTime"]));
    for (title, time) in [("Start Time", start), ("Completed At", end)] {
        if !time.is_empty() {
            text.field(0, title, rfc1123(time));
        }
    }
    let seconds = |time: &str| time.parse::<k8s_openapi::jiff::Timestamp>().map(|time| time.as_second()).ok();
    if let (Some(start), Some(end)) = (seconds(start), seconds(end)) {
        text.field(0, "Duration", crate::line::duration::human(end - start));
    }
    if let Some(deadline) = spec["activeDeadlineSeconds"].as_i64() {
        text.field(0, "Active Deadline Seconds", format_args!("{deadline}s"));
    }
    let ready = status["ready"].as_i64().map_or_else(String::new, |ready| format!(" ({ready} Ready)"));
    let counts = (count(&status["active"]), count(&status["succeeded"]), count(&status["failed"]));
    text.field(
        0,
        "Pods Statuses",
        format_args!("{} Active{ready} / {} Succeeded / {} Failed", counts.0, counts.1, counts.2),
    );
    if spec["completionMode"] == "Indexed" {
        let indexes = status["completedIndexes"].as_str().filter(|indexes| !indexes.is_empty());
        text.field(0, "Completed Indexes", indexes.unwrap_or("<none>"));
    }
    text.template(&spec["template"]);
}
