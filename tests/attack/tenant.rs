//! A tenant with rights in one namespace, and what used to hold up, flood or freeze the cluster from there.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use skiff_tests::{Cluster, Kubectl, Output, program};

/// Makes the tenant, who may do everything that an admin of the namespace `shop` may.
fn tenant() -> Cluster {
    let cluster = Cluster::up();
    cluster.k("create namespace shop");
    cluster.k("create rolebinding tenant -n shop --clusterrole=admin --user=tenant");
    cluster
}

/// kubectl as the tenant, with `manifest` on standard input.
fn send(cluster: &Cluster, arguments: &str, manifest: &str) -> Output {
    let path = cluster.host().directory().join("input");
    std::fs::write(&path, manifest).unwrap();
    let mut command = cluster.kubectl_command(Kubectl::New, &format!("--as=tenant -n shop {arguments}"));
    Output::of(command.stdin(std::fs::File::open(path).unwrap()))
}

fn k(cluster: &Cluster, arguments: &str) -> String {
    cluster.k(&format!("--as=tenant -n shop {arguments}"))
}

#[test]
fn pods_are_judged_by_the_node_as_it_is_and_failing_ones_are_not_made_in_a_loop() {
    let cluster = tenant();
    // A label of a moment ago counts.
    for round in 0..10 {
        cluster.k(&format!("label node node-1 round={round} --overwrite"));
        let pod = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: round-{round}}}, spec: {{restartPolicy: Never, nodeSelector: \
             {{round: \"{round}\"}}, containers: [{{name: c, image: luksa/kubia, imagePullPolicy: IfNotPresent, command: \
             [\"true\"]}}]}}}}"
        );
        send(&cluster, "create -f -", &pod).ok();
        k(
            &cluster,
            &format!("wait pod/round-{round} --timeout=60s --for=jsonpath={{.status.phase}}=Succeeded"),
        );
    }
    // Pods that the node refuses, whatever the reason.
    let flood = "{apiVersion: v1, kind: ReplicationController, metadata: {name: flood}, spec: {replicas: 3, selector: \
                 {app: flood}, template: {metadata: {labels: {app: flood}}, spec: {securityContext: {sysctls: [{name: \
                 kernel.msgmax, value: \"1\"}]}, containers: [{name: c, image: luksa/kubia}]}}}}";
    send(&cluster, "create -f -", flood).ok();
    // Not a wait for something: the time in which a loop would have made hundreds.
    std::thread::sleep(Duration::from_secs(6));
    let failed = k(&cluster, "get pods -l app=flood --no-headers");
    assert!(failed.lines().all(|line| line.contains("SysctlForbidden")), "{failed}");
    assert!((3..10).contains(&failed.lines().count()), "{failed}");
    let events = k(&cluster, "get events --field-selector involvedObject.name=flood,reason=BackOff");
    assert!(events.contains("they end soon after they are created"), "{events}");
    // A pod for another operating system is refused with the reason.
    let windows = "{apiVersion: v1, kind: Pod, metadata: {name: windows}, spec: {os: {name: windows}, containers: \
                   [{name: c, image: luksa/kubia}]}}";
    send(&cluster, "create -f -", windows).ok();
    k(&cluster, "wait pod/windows --timeout=60s --for=jsonpath={.status.reason}=PodOSNotSupported");
    // One for containers that nobody has here is refused at once.
    let sandboxed = "{apiVersion: v1, kind: Pod, metadata: {name: sandboxed}, spec: {runtimeClassName: gvisor, \
                     containers: [{name: c, image: luksa/kubia}]}}";
    let refused = send(&cluster, "create -f -", sandboxed).fails();
    assert!(
        refused.contains("pods \"sandboxed\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found"),
        "{refused}"
    );
}

#[test]
fn what_was_accepted_can_be_read_and_changed_again() {
    let cluster = tenant();
    send(&cluster, "create service clusterip frozen --tcp=80", "").ok();
    let status = r#"{"status":{"conditions":[{"type":"A","status":"True","reason":"R","message":"m","lastTransitionTime":null}]}}"#;
    cluster.k(&format!("-n shop patch service frozen --subresource=status --type=merge -p {status}"));
    k(&cluster, "label service frozen thawed=yes");
    assert!(k(&cluster, "get service frozen -o jsonpath={.metadata.labels.thawed}").contains("yes"));
    // The Service is still served by everything that watches Services.
    send(
        &cluster,
        "create -f -",
        "{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: frozen}}, spec: \
        {containers: [{name: c, image: luksa/kubia, imagePullPolicy: IfNotPresent}]}}",
    )
    .ok();
    k(&cluster, "wait pod/web --timeout=60s --for=condition=Ready");
    let slice = "get endpointslices -l kubernetes.io/service-name=frozen -o jsonpath={.items[0].endpoints[0].targetRef.name}";
    k(
        &cluster,
        "wait endpointslices -l kubernetes.io/service-name=frozen --timeout=60s --for=jsonpath={.endpoints[0].targetRef.name}=web",
    );
    assert_eq!(k(&cluster, slice), "web");
    // A client that does not know of the default tolerations may write its pod again.
    let mut command =
        cluster.kubectl_command(Kubectl::New, "--as=tenant -n shop patch pod web --type=json -p");
    Output::of(command.arg(r#"[{"op": "remove", "path": "/spec/tolerations"}]"#)).ok();
    assert!(
        k(&cluster, "get pod web -o jsonpath={.spec.tolerations[*].key}")
            .contains("node.kubernetes.io/unreachable")
    );

    // Server-side apply keeps the order of the list it was given, and takes no key twice.
    let ordered = |new: &str| {
        format!(
            "{{apiVersion: v1, kind: ReplicationController, metadata: {{name: ordered}}, spec: {{replicas: 0, selector: {{app: o}}, \
             template: {{metadata: {{labels: {{app: o}}}}, spec: {{containers: [{{name: c, image: i, env: [{new}{{name: URL, \
             value: $(BASE)/x}}]}}]}}}}}}}}"
        )
    };
    send(&cluster, "apply --server-side -f -", &ordered("")).ok();
    send(&cluster, "apply --server-side -f -", &ordered("{name: BASE, value: b}, ")).ok();
    let names = "get rc ordered -o jsonpath={.spec.template.spec.containers[0].env[*].name}";
    assert_eq!(k(&cluster, names), "BASE URL");
    let twice = ordered("{name: URL, value: other}, ");
    let refused = send(&cluster, "apply --server-side -f -", &twice).fails();
    let why = ".spec.template.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"URL\"]";
    assert!(refused.contains(why), "{refused}");
}

#[test]
fn output_arrives_as_it_was_written() {
    let cluster = tenant();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: bytes}, spec: {restartPolicy: Never, containers: [{name: c, image: \
               luksa/kubia, imagePullPolicy: IfNotPresent, terminationMessagePolicy: FallbackToLogsOnError, command: [bash, -c, \
               \"printf 'one\\\\nDONE'; exit 3\"]}]}}";
    send(&cluster, "create -f -", pod).ok();
    k(&cluster, "wait pod/bytes --timeout=60s --for=jsonpath={.status.phase}=Failed");
    assert_eq!(k(&cluster, "logs bytes"), "one\nDONE");
    assert_eq!(
        k(&cluster, "get pod bytes -o jsonpath={.status.containerStatuses[0].state.terminated.message}"),
        "one\nDONE"
    );

    let run = |name: &str, flags: &str, script: &str| {
        let kubectl = program("SKIFF_TEST_KUBECTL_NEW");
        Output::of(&mut cluster.shell(&format!(
            "echo answer | timeout 60 {} -n shop run {name} {flags} --restart=Never --image=luksa/kubia \
             --image-pull-policy=IfNotPresent --command -- bash -c '{script}'",
            kubectl.display()
        )))
    };
    // What was written before the client was there, and all of what was written last.
    let shown = run(
        "early",
        "-i --rm",
        "echo early; read line; echo got $line; for i in {1..20000}; do echo line $i; done",
    )
    .ok();
    assert!(shown.starts_with("early\n"), "{}", &shown[..shown.len().min(200)]);
    assert!(shown.contains("got answer\n") && shown.contains("\nline 20000\n"), "{} bytes", shown.len());
    // The client's part ends with its input, the program goes on.
    let shown =
        run("open", "--attach --stdin --leave-stdin-open", "read line; echo got $line; exec sleep 1000").ok();
    assert!(shown.contains("got answer"), "{shown}");
    assert_eq!(k(&cluster, "get pod open -o jsonpath={.status.phase}"), "Running");
    k(&cluster, "delete pod open --now");
}
