//! Requests and what Kubernetes 1.36 answers to them: one JSON object on each line of `tables/decisions.jsonl`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use skiff_podsecurity::{
    Decision, Denial, Exemptions, LevelVersion, MOST_PODS, NamespaceOutcome, Operation, PodSecurity, Policy,
    Request, template_path,
};

#[test]
fn requests_are_answered_as_kubernetes_does() {
    let mut compared = 0;
    for line in include_str!("tables/decisions.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        assert_eq!(answer(&case), case["expect"], "{line}");
        compared += 1;
    }
    assert!(compared > 0, "the table is empty");
}

fn answer(case: &Value) -> Value {
    let plugin = plugin(case);
    let operation = if case["update"] == true {
        let old = if case["resource"] == "namespaces" { "oldLabels" } else { "old" };
        Operation::Update { old: &case[old] }
    } else {
        Operation::Create
    };
    let resource = text(&case["resource"]);
    if resource == "namespaces" {
        return match plugin.namespace("ns", operation, &case["labels"]) {
            NamespaceOutcome::Decided(decision) => rendered(decision, resource),
            NamespaceOutcome::CheckPods(enforce) => {
                let pods = case["pods"].as_array().into_iter().flatten();
                let warnings = plugin.existing_pods("ns", enforce, pods, || false);
                rendered(Decision { warnings, ..Decision::default() }, resource)
            }
        };
    }
    let request = Request {
        user: text(&case["user"]),
        namespace: "ns",
        namespace_labels: &case["labels"],
        subresource: case["subresource"].as_str(),
        operation,
        object: &case["object"],
    };
    let path = ["", "apps", "batch"].iter().find_map(|group| template_path(group, resource));
    rendered(path.map_or_else(|| plugin.pod(&request), |path| plugin.workload(path, &request)), resource)
}

fn plugin(case: &Value) -> PodSecurity {
    let exempt = |what: &str| {
        let list = case["exemptions"][what].as_array().into_iter().flatten();
        list.map(|name| text(name).to_owned()).collect()
    };
    let none = Map::new();
    let defaults = case["defaults"].as_object().unwrap_or(&none);
    let mode = |mode: &str| {
        let level = defaults.get(mode).map_or("privileged", text);
        let version = defaults.get(&format!("{mode}-version")).map_or("latest", text);
        LevelVersion { level: level.parse().expect("a level"), version: version.parse().expect("a version") }
    };
    PodSecurity {
        defaults: Policy { enforce: mode("enforce"), audit: mode("audit"), warn: mode("warn") },
        exemptions: Exemptions {
            usernames: exempt("usernames"),
            runtime_classes: exempt("runtimeClasses"),
            namespaces: exempt("namespaces"),
        },
    }
}

fn rendered(decision: Decision, resource: &str) -> Value {
    let mut out = Map::new();
    if let Some(denied) = decision.denied {
        let message = match denied {
            Denial::Forbidden(why) => format!("{resource} \"n\" is forbidden: {why}"),
            Denial::Invalid(errors) => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let list = texts.join(", ");
                let list = if texts.len() == 1 { list } else { format!("[{list}]") };
                format!("Namespace \"ns\" is invalid: {list}")
            }
        };
        out.insert("denied".to_owned(), message.into());
    }
    if !decision.warnings.is_empty() {
        out.insert("warnings".to_owned(), decision.warnings.into());
    }
    if !decision.audit_annotations.is_empty() {
        out.insert("audit".to_owned(), json!(decision.audit_annotations));
    }
    Value::Object(out)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn every_workload_is_in_the_table() {
    let table = include_str!("tables/decisions.jsonl").lines();
    let cases = table.map(|line| serde_json::from_str::<Value>(line).expect("a case"));
    let resources: BTreeSet<String> = cases.map(|case| text(&case["resource"]).to_owned()).collect();
    assert_eq!(
        resources.into_iter().collect::<Vec<_>>().join(" "),
        "cronjobs daemonsets deployments jobs namespaces pods podtemplates replicasets replicationcontrollers statefulsets"
    );
    assert_eq!(template_path("", "pods"), None);
    assert_eq!(template_path("example.com", "deployments"), None);
}

fn owned(name: &str, owner: Option<&str>) -> Value {
    let owners = owner.map(|uid| json!([{"controller": true, "uid": uid}]));
    json!({"metadata": {"name": name, "ownerReferences": owners}, "spec": {"hostPID": true}})
}

#[test]
fn no_more_than_3000_existing_pods_are_checked() {
    let baseline = LevelVersion { level: "baseline".parse().expect("a level"), ..LevelVersion::PRIVILEGED };
    let pods: Vec<Value> = (0..=MOST_PODS).map(|i| owned(&format!("p{i:04}"), None)).collect();
    assert_eq!(
        PodSecurity::default().existing_pods("ns", baseline, &pods, || false),
        [
            "new PodSecurity enforce level only checked against the first 3000 of 3001 existing pods",
            r#"existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest""#,
            "p0000 (and 2999 other pods): host namespaces",
        ]
    );
}

#[test]
fn when_time_runs_out_one_pod_of_each_controller_has_been_checked() {
    let baseline = LevelVersion { level: "baseline".parse().expect("a level"), ..LevelVersion::PRIVILEGED };
    let pods = [owned("a", Some("1")), owned("b", Some("1")), owned("c", Some("2")), owned("d", None)];
    let mut left = 3;
    let expired = || {
        left -= 1;
        left == 0
    };
    assert_eq!(
        PodSecurity::default().existing_pods("ns", baseline, &pods, expired),
        [
            "new PodSecurity enforce level only checked against the first 3 of 4 existing pods",
            r#"existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest""#,
            "a (and 2 other pods): host namespaces",
        ]
    );
    // The time is asked for after a pod, so one is always checked.
    let told = PodSecurity::default().existing_pods("ns", baseline, &pods[1..2], || true);
    assert_eq!(told[1..], ["b: host namespaces"]);
}
