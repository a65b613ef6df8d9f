//! Pods through the whole strategy.

use serde_json::{Value, json};

use super::{PodStrategy, Subject, validate_spec};
use crate::shared::testing::{texts, with_context};
use skiff_machinery::{Grace, Object, Strategy, Subresource};

/// A created pod and what is wrong with it.
fn create(spec: Value) -> (Object, Vec<String>) {
    let mut pod = Object::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
    PodStrategy.default(&mut pod);
    let errors = with_context(|cx| {
        PodStrategy.prepare_create(cx, &mut pod);
        PodStrategy.validate(cx, &pod)
    });
    (pod, texts(errors))
}

/// Errors of a pod with these fields besides one container.
fn check_spec(fields: Value, expected: &[&str]) {
    let mut spec = json!({"containers": [{"name": "a", "image": "a"}]});
    let map = spec.as_object_mut().unwrap();
    map.extend(fields.as_object().unwrap().clone());
    assert_eq!(create(spec).1, expected);
}

/// Errors of a pod whose container has these fields besides name and image.
fn check_container(fields: Value, expected: &[&str]) {
    let mut container = json!({"name": "a", "image": "a"});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let full: Vec<String> = expected.iter().map(|text| format!("spec.containers[0].{text}")).collect();
    assert_eq!(create(json!({"containers": [container], "volumes": volumes})).1, full);
}

#[test]
fn a_new_pod_is_pending() {
    let (pod, errors) =
        create(json!({"containers": [{"name": "a", "image": "a"}], "serviceAccountName": "s"}));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(pod.get(&["status"]), Some(&json!({"phase": "Pending", "qosClass": "BestEffort"})));
    assert_eq!(pod.str(&["spec", "serviceAccount"]), "s");
}

#[test]
fn checks_the_spec() {
    assert_eq!(create(json!({})).1, ["spec.containers: Required value"]);
    check_spec(
        json!({"restartPolicy": "Sometimes"}),
        &[
            r#"spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never""#,
        ],
    );
    check_spec(
        json!({"dnsPolicy": "None"}),
        &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    );
    let searches = |names: Value| json!({"dnsConfig": {"searches": names}});
    check_spec(searches(json!([".", "a.b.", "_sip._tcp.a_b.example.com"])), &[]);
    let long: Vec<String> = (0..10).map(|_| vec!["a".repeat(62); 4].join(".")).collect();
    let (_, errors) = create(searches(json!(long)));
    assert!(
        errors.iter().any(|error| error.contains("more than 2048 characters (including spaces)")),
        "{errors:?}"
    );
    let (_, errors) = create(searches(json!(["a..b", "_"])));
    let named =
        |index: usize| errors.iter().any(|e| e.starts_with(&format!("spec.dnsConfig.searches[{index}]: ")));
    assert!(named(0) && named(1), "{errors:?}");
    check_spec(
        json!({"activeDeadlineSeconds": 0}),
        &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    );
    check_spec(
        json!({"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}]}),
        &[
            r#"spec.tolerations[0].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set"#,
        ],
    );
    check_spec(
        json!({"initContainers": [{"name": "a", "image": "b"}]}),
        &[r#"spec.initContainers[0].name: Duplicate value: "a""#],
    );
    check_spec(
        json!({"hostAliases": [{"ip": "x", "hostnames": ["a"]}]}),
        &[
            r#"spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
        ],
    );
    check_spec(
        json!({"ephemeralContainers": [{"name": "e", "image": "e"}]}),
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    );
}

/// A pod gets the host ports of its node's network when it is made; until then its template leaves them open.
#[test]
fn scheduling_gates_are_names_each_once() {
    check_spec(
        json!({"schedulingGates": [{"name": "example.com/a"}, {"name": "example.com/a"}]}),
        &[r#"spec.schedulingGates[1]: Duplicate value: "example.com/a""#],
    );
    let (_, errors) =
        create(json!({"containers": [{"name": "c", "image": "i"}], "schedulingGates": [{"name": "a b"}]}));
    assert!(
        errors.iter().any(|error| error.starts_with(r#"spec.schedulingGates[0]: Invalid value: "a b""#)),
        "{errors:?}"
    );
}

#[test]
fn templates_in_the_nodes_network_leave_host_ports_open() {
    let check = |subject, ports: Value, expected: &[&str]| {
        let spec = json!({"hostNetwork": true, "restartPolicy": "Always", "dnsPolicy": "Default", "containers": [{
            "name": "a", "image": "a", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
            "ports": [ports]}]});
        let typed = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(texts(validate_spec("spec", &typed, &spec, subject)), expected, "{subject:?}");
    };
    let open = json!({"containerPort": 9100, "protocol": "TCP"});
    let wrong = |number: i32| {
        format!(
            "spec.containers[0].ports[0].hostPort: Invalid value: {number}: must match `containerPort` when `hostNetwork` is true"
        )
    };
    check(Subject::Template, open.clone(), &[]);
    check(Subject::Pod, open, &[&wrong(0)]);
    let other = json!({"containerPort": 9100, "hostPort": 9101, "protocol": "TCP"});
    check(Subject::Template, other.clone(), &[&wrong(9101)]);
    check(Subject::Pod, other, &[&wrong(9101)]);
    let same = json!({"containerPort": 9100, "hostPort": 9100, "protocol": "TCP"});
    check(Subject::Template, same.clone(), &[]);
    check(Subject::Pod, same, &[]);
}

#[test]
fn checks_image_volumes() {
    let check = |subject, image: Value, expected: &[&str]| {
        let spec = json!({"restartPolicy": "Always", "dnsPolicy": "Default", "containers": [{
            "name": "a", "image": "a", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
            "volumes": [{"name": "v", "image": image}]});
        let typed = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(texts(validate_spec("spec", &typed, &spec, subject)), expected, "{subject:?}");
    };
    check(Subject::Pod, json!({"reference": "i:1", "pullPolicy": "Never"}), &[]);
    let missing = "spec.volumes[0].image.reference: Required value";
    check(Subject::Pod, json!({"pullPolicy": "Always"}), &[missing]);
    check(Subject::Template, json!({"pullPolicy": "Always"}), &[]);
    let wrong = r#"spec.volumes[0].image.pullPolicy: Unsupported value: "Now": supported values: "Always", "IfNotPresent", "Never""#;
    check(Subject::Template, json!({"reference": "i:1", "pullPolicy": "Now"}), &[wrong]);
}

#[test]
fn checks_containers() {
    check_container(json!({"image": ""}), &["image: Required value"]);
    check_container(
        json!({"image": " a"}),
        &[r#"image: Invalid value: " a": must not have leading or trailing whitespace"#],
    );
    check_container(
        json!({"ports": [{"containerPort": 70000}]}),
        &["ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    );
    check_container(
        json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
        &[r#"ports[1].name: Duplicate value: "a""#],
    );
    check_container(
        json!({"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]}),
        &[r#"ports[1].hostPort: Duplicate value: "TCP//80""#],
    );
    check_container(
        json!({"volumeMounts": [{"name": "w", "mountPath": "/a"}]}),
        &[r#"volumeMounts[0].name: Not found: "w""#],
    );
    check_container(
        json!({"volumeDevices": [{"name": "w", "devicePath": "/dev/a"}, {"name": "v", "devicePath": "/dev/../a"}]}),
        &[
            r#"volumeDevices[0].name: Not found: "w""#,
            r#"volumeDevices[1].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"#,
            r#"volumeDevices[1].devicePath: Invalid value: "/dev/../a": can not contain backsteps ('..')"#,
        ],
    );
    check_container(
        json!({"volumeMounts": [{"mountPath": "/a"}]}),
        &["volumeMounts[0].name: Required value", r#"volumeMounts[0].name: Not found: """#],
    );
    check_container(
        json!({"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]}),
        &[r#"volumeMounts[1].mountPath: Invalid value: "/a": must be unique"#],
    );
    check_container(
        json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
        &[r#"resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#],
    );
    check_container(
        json!({"resources": {"requests": {"gold": "2"}}}),
        &[
            r#"resources.requests[gold]: Invalid value: "gold": must be a standard resource type or fully qualified"#,
            r#"resources.requests[gold]: Invalid value: "gold": must be a standard resource for containers"#,
        ],
    );
    check_container(
        json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
        &[
            r#"securityContext: Invalid value: {"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":null,"SeccompProfile":null,"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"#,
        ],
    );
}

#[test]
fn the_whole_of_proc_needs_a_user_namespace() {
    let check = |host_users: Value, kind: &str, expected: &[&str]| {
        let context = json!({"procMount": kind});
        let container = json!({"name": "a", "image": "a", "securityContext": context});
        check_spec(json!({"hostUsers": host_users, "containers": [container]}), expected);
    };
    check(Value::Null, "Default", &[]);
    check(json!(false), "Unmasked", &[]);
    let needs = "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use \
                 `Unmasked`";
    check(Value::Null, "Unmasked", &[needs]);
    check(json!(true), "Unmasked", &[needs]);
    let unknown = "spec.containers[0].securityContext.procMount: Unsupported value: \"Half\": supported values: \"Default\", \
                   \"Unmasked\"";
    check(json!(false), "Half", &[unknown]);
}

#[test]
fn a_user_namespace_goes_with_no_namespace_of_the_node() {
    let containers = json!([{"name": "a", "image": "a"}]);
    // As Kubernetes writes them there.
    for (field, told) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        let refused = format!("spec.{told}: Forbidden: when `hostUsers` is false");
        let of =
            |users: bool, value: bool| json!({"hostUsers": users, field: value, "containers": containers});
        check_spec(of(false, true), &[&refused]);
        check_spec(of(false, false), &[]);
        check_spec(of(true, true), &[]);
    }
}

#[test]
fn checks_environment() {
    check_container(json!({"env": [{"value": "b"}]}), &["env[0].name: Required value"]);
    check_container(
        json!({"env": [{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        &[r#"env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#],
    );
    check_container(
        json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}),
        &[],
    );
    let file = |path: &str| json!({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"key": "k", "volumeName": "v", "path": path}}}]});
    check_container(file("a/env"), &[]);
    check_container(file(""), &["env[0].valueFrom.fileKeyRef.path: Required value"]);
    check_container(
        file("../env"),
        &[r#"env[0].valueFrom.fileKeyRef.path: Invalid value: "../env": must not contain '..'"#],
    );
    check_container(
        json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}),
        &[],
    );
    check_container(
        json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gold"}}}]}),
        &[concat!(
            r#"env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gold": supported values: "#,
            r#""limits.cpu", "limits.ephemeral-storage", "limits.memory", "#,
            r#""requests.cpu", "requests.ephemeral-storage", "requests.memory""#,
        )],
    );
    check_container(
        json!({"envFrom": [{}]}),
        &[r#"envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`"#],
    );
}

#[test]
fn checks_probes() {
    check_container(
        json!({"livenessProbe": {}}),
        &["livenessProbe: Required value: must specify a handler type"],
    );
    check_container(
        json!({"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 80}}}),
        &["livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
    );
    check_container(
        json!({"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}),
        &["livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    );
    check_container(json!({"readinessProbe": {"httpGet": {"port": "http"}, "successThreshold": 2}}), &[]);
    check_container(
        json!({"readinessProbe": {"exec": {"command": ["a"]}, "periodSeconds": -1}}),
        &["readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"],
    );
    check_spec(
        json!({"initContainers": [{"name": "i", "image": "i", "readinessProbe": {"exec": {"command": ["a"]}}}]}),
        &[
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
}

#[test]
fn checks_volumes() {
    let check = |volumes: Value, expected: &[&str]| {
        let full: Vec<String> = expected.iter().map(|text| format!("spec.volumes{text}")).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        check_spec(json!({ "volumes": volumes }), &full);
    };
    check(json!([{"name": "v"}, {"name": "v"}]), &[r#"[1].name: Duplicate value: "v""#]);
    check(
        json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        &["[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    );
    check(json!([{"name": "v", "configMap": {}}]), &["[0].configMap.name: Required value"]);
    let own = |template: Value| json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    check(own(json!({"metadata": {"labels": {"a": "b"}}, "spec": spec})), &[]);
    check(
        own(
            json!({"metadata": {"name": "n", "labels": {"a": "b c"}}, "spec": {"accessModes": ["ReadWriteOnce"]}}),
        ),
        &[
            concat!(
                r#"[0].ephemeral.volumeClaimTemplate.metadata.labels: Invalid value: "b c": a valid label must be an "#,
                "empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an ",
                "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is ",
                r"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            "[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
            "[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
        ],
    );
    check(json!([{"name": "v", "ephemeral": {}}]), &["[0].ephemeral.volumeClaimTemplate: Required value"]);
    check(
        json!([{"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "/k"}]}}]),
        &[r#"[0].secret.items[0].path: Invalid value: "/k": must be a relative path"#],
    );
    check(
        json!([{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 60}}]}}]),
        &[
            "[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
        ],
    );
}

#[test]
fn little_changes_after_creation() {
    let (old, _) = create(json!({
        "containers": [{"name": "a", "image": "a"}], "activeDeadlineSeconds": 100,
        "tolerations": [{"key": "k", "operator": "Exists"}],
    }));
    let check = |change: &dyn Fn(&mut Object), part: Option<&str>| {
        let mut new = old.clone();
        change(&mut new);
        PodStrategy.default(&mut new);
        let errors = texts(with_context(|cx| PodStrategy.validate_update(cx, &new, &old)));
        match part {
            None => assert_eq!(errors, Vec::<String>::new()),
            Some(part) => assert!(errors.iter().any(|text| text.contains(part)), "{errors:?}"),
        }
    };
    let containers = |image: &str| json!([{"name": "a", "image": image, "imagePullPolicy": "Always"}]);
    let spec =
        |field: &'static str, value: Value| move |pod: &mut Object| pod.set(&["spec", field], value.clone());
    check(&spec("containers", containers("b")), None);
    check(&spec("containers", containers("")), Some("spec.containers[0].image: Required value"));
    check(&spec("containers", json!([])), Some("pod updates may not add or remove containers"));
    check(&spec("activeDeadlineSeconds", json!(50)), None);
    check(&spec("activeDeadlineSeconds", json!(200)), Some("must be less than or equal to previous value"));
    check(
        &spec("tolerations", json!([{"key": "k", "operator": "Exists"}, {"key": "l", "operator": "Exists"}])),
        None,
    );
    check(&spec("tolerations", json!([])), Some("existing toleration can not be modified"));
    check(
        &spec("hostNetwork", json!(true)),
        Some("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
    );
    check(&spec("hostNetwork", json!(false)), None);
    check(&|pod: &mut Object| pod.set(&["metadata", "labels", "a"], "b"), None);
}

#[test]
fn grace_is_for_running_pods() {
    let check = |node: &str, phase: &str, requested: Option<i64>, grace: Grace| {
        let spec = json!({"nodeName": node, "terminationGracePeriodSeconds": 30});
        let pod = Object::from_value(json!({"spec": spec, "status": {"phase": phase}})).unwrap();
        assert_eq!(PodStrategy.grace(&pod, requested), grace);
    };
    check("n", "Running", None, Grace::Period(30));
    check("n", "Running", Some(5), Grace::Period(5));
    check("n", "Running", Some(0), Grace::Immediate);
    check("n", "Running", Some(-1), Grace::Period(1));
    check("n", "Succeeded", Some(5), Grace::Immediate);
    check("", "Pending", None, Grace::Immediate);
}

#[test]
fn ephemeral_containers_are_added_and_stay() {
    let pod = |ephemeral: Value| {
        let (mut pod, _) = create(json!({"containers": [{"name": "a", "image": "a"}]}));
        pod.set(&["spec", "ephemeralContainers"], ephemeral);
        PodStrategy.default(&mut pod);
        pod
    };
    let check = |new: Value, old: Value, expected: &[&str]| {
        let errors = with_context(|cx| {
            PodStrategy.validate_part(cx, Subresource::EphemeralContainers, &pod(new), &pod(old))
        });
        // What follows shows what differs.
        let texts = texts(errors);
        let errors: Vec<&str> = texts.iter().filter_map(|text| text.lines().next()).collect();
        assert_eq!(errors, expected);
    };
    let debug = json!([{"name": "d", "image": "d", "targetContainerName": "a"}]);
    check(debug.clone(), json!([]), &[]);
    check(
        json!([]),
        debug.clone(),
        &[r#"spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be removed"#],
    );
    check(
        json!([{"name": "d", "image": "e"}]),
        debug,
        &[r#"spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be changed"#],
    );
    check(
        json!([{"name": "a", "image": "d", "targetContainerName": "x", "ports": []}]),
        json!([]),
        &[
            r#"spec.ephemeralContainers[0].name: Duplicate value: "a""#,
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            r#"spec.ephemeralContainers[0].targetContainerName: Not found: "x""#,
        ],
    );
}
