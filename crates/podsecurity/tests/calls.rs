//! How the API server calls the plugin.

use serde_json::json;
use skiff_podsecurity::{Denial, NamespaceOutcome, Operation, PodSecurity, Request, template_path};

#[test]
fn pods_workloads_and_namespaces() {
    let plugin = PodSecurity::default();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], "hostPID": true}});
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});

    // Pods, and subresources of pods that carry the whole Pod (ephemeralcontainers, resize).
    let request = Request {
        user: "ann",
        namespace: "shop",
        namespace_labels: &labels,
        subresource: None,
        operation: Operation::Create,
        object: &pod,
    };
    let decision = plugin.pod(&request);
    // 403: pods "p" is forbidden: violates …
    let text = r#"violates PodSecurity "baseline:latest": host namespaces (hostPID=true)"#;
    assert_eq!(decision.denied, Some(Denial::Forbidden(text.to_owned())));

    // What makes pods is never refused: warnings go to the client, annotations to the audit log.
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"template": pod}});
    let path = template_path("apps", "deployments").unwrap();
    let decision = plugin.workload(path, &Request { object: &deployment, ..request });
    let text = r#"would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)"#;
    assert_eq!(decision.warnings, [text]);

    // Namespaces: labels are validated, and a stricter level asks for the pods that are there.
    let before = json!({});
    let enforce = match plugin.namespace("shop", Operation::Update { old: &before }, &labels) {
        NamespaceOutcome::Decided(decision) => panic!("the level became stricter: {decision:?}"),
        NamespaceOutcome::CheckPods(enforce) => enforce,
    };
    let text =
        r#"existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:latest""#;
    let warnings = plugin.existing_pods("shop", enforce, [&pod], || false);
    assert_eq!(warnings, [text, "p: host namespaces"]);
}
