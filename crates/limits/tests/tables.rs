//! Requests and what Kubernetes 1.36 answers to them: one JSON object on each line of the files in `tables/`.

use serde_json::{Map, Value, json};
use skiff_limits::quota::{Counted, Refused, Request, charge};
use skiff_limits::{Amounts, Operation, ranger};
use skiff_machinery::Object;

#[track_caller]
fn holds(table: &str, answer: fn(&Value) -> Value) {
    let mut compared = 0;
    for line in table.lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        assert_eq!(answer(&case), case["expect"], "{line}");
        compared += 1;
    }
    assert!(compared > 0, "the table is empty");
}

#[test]
fn limit_ranger_answers_as_kubernetes_does() {
    holds(include_str!("tables/ranger.jsonl"), |case| {
        let ranges = list(&case["ranges"]);
        let mut out = Map::new();
        let denied = if case["resource"] == "pods" {
            let mut pod = case["object"].clone();
            let once = after(ranges, &mut pod);
            assert_eq!(after(ranges, &mut pod), once, "the second time changes nothing");
            let annotation = &pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"];
            if !annotation.is_null() {
                out.insert("annotation".to_owned(), annotation.clone());
            }
            out.insert("resources".to_owned(), resources(&pod));
            ranger::pod_violation(ranges, &pod)
        } else {
            ranger::claim_violation(ranges, &case["object"])
        };
        out.extend(denied.map(|why| ("denied".to_owned(), why.into())));
        Value::Object(out)
    });
}

fn after(ranges: &[Value], pod: &mut Value) -> Value {
    ranger::set_defaults(ranges, pod);
    pod.clone()
}

/// What each container requests and is limited to.
fn resources(pod: &Value) -> Value {
    let containers = ["containers", "initContainers"].iter().flat_map(|lists| list(&pod["spec"][*lists]));
    let entry = |container: &Value| {
        let canonical = |field: &str| {
            let amounts = Amounts::read(&container["resources"][field]);
            (!amounts.is_empty()).then(|| (field.to_owned(), amounts.to_value()))
        };
        let lists: Map<String, Value> = ["requests", "limits"].into_iter().filter_map(canonical).collect();
        (text(&container["name"]).to_owned(), Value::Object(lists))
    };
    Value::Object(containers.map(entry).collect())
}

#[test]
fn resource_quota_answers_as_kubernetes_does() {
    holds(include_str!("tables/quota.jsonl"), |case| {
        let counted = Counted::of(text(&case["group"]), text(&case["resource"])).expect("a counted resource");
        let operation =
            if case["old"].is_null() { Operation::Create } else { Operation::Update { old: &case["old"] } };
        let request = Request {
            counted,
            subresource: case["subresource"].as_str(),
            operation,
            object: &case["object"],
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
        };
        let quotas = list(&case["quotas"]);
        match charge(quotas, &[], &request) {
            Err(Refused::Forbidden(why)) => json!({"denied": why}),
            Err(other) => panic!("nothing is limited: {other:?}"),
            Ok(charges) if charges.is_empty() => json!({}),
            Ok(charges) => {
                let name = |index: usize| text(&quotas[index]["metadata"]["name"]).to_owned();
                let used = charges.iter().map(|charge| (name(charge.quota), charge.used.to_value()));
                json!({"used": used.collect::<Map<String, Value>>()})
            }
        }
    });
}

#[test]
fn what_is_not_stored_is_not_counted() {
    for (group, resource) in [
        ("", "events"),
        ("events.k8s.io", "events"),
        ("", "bindings"),
        ("", "componentstatuses"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ] {
        assert_eq!(Counted::of(group, resource), None, "{resource}.{group}");
    }
    let events = Counted::Objects { group: "example.com", resource: "events" };
    assert_eq!(Counted::of("example.com", "events"), Some(events));
}

#[test]
fn the_controller_counts_what_is_in_scope() {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let hard = json!({"pods": "9", "requests.cpu": "9", "services": "9"});
    let quota = json!({"spec": {"hard": hard, "scopes": ["NotTerminating"]}});
    let resources = json!({"requests": {"cpu": "250m", "memory": "1Gi"}});
    let pod = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    let mut ending = pod.clone();
    ending["spec"]["activeDeadlineSeconds"] = 5.into();
    let used = |counted, objects: &[&Value]| {
        skiff_limits::quota::used(&quota, counted, objects.iter().copied(), now).to_value()
    };
    assert_eq!(used(Counted::Pods, &[&pod, &ending, &pod]), json!({"pods": "2", "requests.cpu": "500m"}));
    assert_eq!(used(Counted::Pods, &[]), json!({"pods": "0", "requests.cpu": "0"}));
    // Scopes are about pods: no service is in one.
    assert_eq!(used(Counted::Services, &[&json!({"spec": {}})]), json!({"services": "0"}));
}

#[test]
fn limit_ranger_looks_at_new_and_resized_pods_and_at_claims() {
    let object = |metadata: Value| Object::from_value(json!({ "metadata": metadata })).expect("an object");
    let (here, going) = (object(json!({})), object(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})));
    let (here, going) = (Some(&here), Some(&going));
    let cases = [
        ("pods", None, None, true),
        ("pods", None, here, false),
        ("pods", Some("resize"), here, true),
        ("pods", Some("resize"), going, false),
        ("pods", Some("ephemeralcontainers"), here, false),
        ("pods", Some("binding"), None, false),
        ("persistentvolumeclaims", None, None, true),
        ("persistentvolumeclaims", None, here, true),
        ("persistentvolumeclaims", None, going, false),
        ("persistentvolumeclaims", Some("status"), here, false),
        ("services", None, None, false),
    ];
    for (resource, subresource, old, looks) in cases {
        let answer = ranger::applies("", resource, subresource, old);
        assert_eq!(answer, looks, "{resource} {subresource:?} {old:?}");
    }
    assert!(!ranger::applies("example.com", "pods", None, None));
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
