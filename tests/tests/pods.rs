//! What a pod's specification asks for is what its containers find.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Kubectl};

const PARTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, motd: "hello from a file"}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: xyzzy}
---
apiVersion: v1
kind: Pod
metadata: {name: parts, labels: {app: parts}}
spec:
  terminationGracePeriodSeconds: 5
  initContainers:
  - name: first
    image: luksa/kubia
    command: [bash, -c, "umask 0; echo begin >> /work/order; sleep 1; echo end >> /work/order"]
    volumeMounts: [{name: work, mountPath: /work}]
  - name: sidecar
    image: luksa/kubia
    restartPolicy: Always
    command: [bash, -c, "echo sidecar >> /work/order; exec sleep 1000"]
    volumeMounts: [{name: work, mountPath: /work}]
  - name: second
    image: luksa/kubia
    command: [bash, -c, "sleep 1; echo second >> /work/order"]
    volumeMounts: [{name: work, mountPath: /work}]
  containers:
  - name: main
    image: luksa/kubia
    command: [bash, -c]
    args: ["echo main >> /work/order; echo $(COLOUR) $(POD) $(IP) $(MEMORY) '$$(COLOUR)'; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    workingDir: /work
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: secret, key: password}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    resources: {limits: {memory: 64Mi}}
    securityContext:
      runAsUser: 1234
      runAsGroup: 1234
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    lifecycle:
      postStart: {exec: {command: [bash, -c, "echo post-start >> /work/order"]}}
      preStop: {exec: {command: [bash, -c, "echo pre-stop > /node/pre-stop"]}}
    readinessProbe: {exec: {command: [test, -e, /work/ready]}, periodSeconds: 1}
    volumeMounts:
    - {name: work, mountPath: /work}
    - {name: settings, mountPath: /settings}
    - {name: secret, mountPath: /secret}
    - {name: downward, mountPath: /downward}
    - {name: node, mountPath: /node}
    - {name: token, mountPath: /token}
  volumes:
  - {name: work, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - {name: secret, secret: {secretName: secret, defaultMode: 0444}}
  - {name: downward, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: node, hostPath: {path: NODE, type: Directory}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token, audience: tests}}]}}
"#;

#[test]
fn containers_get_what_the_pod_asks_for() {
    let cluster = Cluster::up();
    let node = cluster.host().directory().join("node");
    std::fs::create_dir(&node).unwrap();
    std::fs::set_permissions(&node, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    cluster.apply(&PARTS.replace("NODE", &node.display().to_string()));
    let running = "--for=jsonpath={.status.initContainerStatuses[2].state.running.startedAt}";
    cluster.k(&format!("wait pod/parts --timeout=30s {running}"));
    assert!(cluster.k("get pod parts --no-headers").contains("Init:2/3"), "the last init container runs");
    cluster.k("wait pod/parts --timeout=30s --for=condition=Initialized");
    let started = "--for=jsonpath={.status.containerStatuses[0].started}=true";
    cluster.k(&format!("wait pod/parts --timeout=30s {started}"));
    let sh = |script: &str| {
        let mut command = cluster.kubectl_command(Kubectl::New, "exec parts -c main -- bash -c");
        skiff_tests::Output::of(command.arg(script))
    };

    let order = sh("cat order").ok();
    assert_eq!(
        order.lines().take(4).collect::<Vec<_>>(),
        ["begin", "end", "sidecar", "second"],
        "an init container ends before the next container starts: {order}"
    );
    let mut rest: Vec<&str> = order.lines().skip(4).collect();
    rest.sort_unstable();
    assert_eq!(rest, ["main", "post-start"]);

    let ip = cluster.k("get pod parts -o jsonpath={.status.podIP}");
    assert_eq!(cluster.k("logs parts -c main"), format!("blue parts {ip} 64 $(COLOUR)\n"));
    assert_eq!(sh("id -u; id -g; pwd; echo $PASSWORD").ok(), "1234\n1234\n/work\nxyzzy\n");
    let files = "cat /settings/motd; echo; cat /secret/password; echo; cat /downward/labels; echo; cut -d. -f1 /token/token";
    let text = sh(files).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["hello from a file", "xyzzy", "app=\"parts\""]);
    assert!(lines[3].starts_with("ey"), "a token: {text}");
    assert!(sh("touch /file").fails().contains("Read-only file system"));
    assert!(sh("grep CapEff /proc/self/status").ok().contains("0000000000000000"));

    assert!(cluster.k("get pod parts --no-headers").contains("1/2"), "not ready before its probe says so");
    sh("touch /work/ready").ok();
    cluster.k("wait pod/parts --timeout=30s --for=condition=Ready");
    assert_eq!(cluster.k("get pod parts -o jsonpath={.metadata.generation}"), "1");

    // A changed ConfigMap arrives in the volume, not in the environment.
    cluster.k("patch configmap settings -p {\"data\":{\"motd\":\"changed\"}}");
    sh("for i in {1..100}; do grep -q changed /settings/motd && exit 0; sleep 0.1; done; exit 1").ok();

    cluster.k("delete pod parts");
    assert_eq!(std::fs::read_to_string(node.join("pre-stop")).unwrap(), "pre-stop\n");
}

/// A pod with a port of the node.
const PORTS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: open}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: luksa/kubia
    ports: [{containerPort: 8080, hostPort: 8081}]
"#;

#[test]
fn a_port_of_the_node_leads_to_its_pod() {
    let cluster = Cluster::up();
    cluster.apply(PORTS);
    cluster.k("wait pod/open --timeout=30s --for=condition=Ready");
    let node = cluster.k("get pod open -o jsonpath={.status.hostIP}");
    // The pod is ready a moment before its port is in the kernel.
    let ask =
        format!("for i in {{1..50}}; do curl -sS -m 5 http://{node}:8081 && exit 0; sleep 0.1; done; exit 1");
    assert!(cluster.sh(&ask).ok().contains("You've hit open"));
    let name = cluster.k("get nodes -o jsonpath={.items[0].metadata.name}");
    cluster.apply(&PORTS.replace("open", "late").replace("spec:", &format!("spec:\n  nodeName: {name}")));
    cluster.k("wait pod/late --timeout=30s --for=jsonpath={.status.phase}=Failed");
    assert_eq!(cluster.k("get pod late -o jsonpath={.status.reason}"), "NodePorts");
    cluster.k("delete pod open late");
    let again = PORTS.replace("open", "again");
    cluster.apply(&again);
    cluster.k("wait pod/again --timeout=30s --for=condition=Ready");
    let follows = ask.replace("http://", "-f http://").replace("8081 &&", "8081 | grep again &&");
    cluster.sh(&follows).ok();
}

/// A pod whose first container takes new resources as it runs, and whose second is started anew for memory.
const SIZED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: sized}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: luksa/kubia
    resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}
  - name: anew
    image: luksa/kubia
    command: [sleep, "1000"]
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
    resources: {requests: {memory: 32Mi}, limits: {memory: 64Mi}}
"#;

/// Asks for other resources of a container of the pod `sized`.
fn resize(cluster: &Cluster, container: &str, resources: &str) {
    let patch = format!(r#"{{"spec":{{"containers":[{{"name":"{container}","resources":{resources}}}]}}}}"#);
    cluster.k(&format!("patch pod sized --subresource=resize -p {patch}"));
}

#[test]
fn a_pod_is_resized_while_it_runs() {
    let cluster = Cluster::up();
    cluster.apply(SIZED);
    cluster.k("wait pod/sized --timeout=30s --for=condition=Ready");
    let until = |path: &str, value: &str| {
        cluster.k(&format!("wait pod/sized --timeout=30s --for=jsonpath={{.status.{path}}}={value}"))
    };
    let limit = |container: &str, files: &str| {
        let mut command =
            cluster.kubectl_command(Kubectl::New, &format!("exec sized -c {container} -- bash -c"));
        let script = format!("cd /sys/fs/cgroup; cat {files} 2>/dev/null | head -1");
        skiff_tests::Output::of(command.arg(script)).ok().trim().to_owned()
    };

    resize(&cluster, "main", r#"{"requests":{"cpu":"150m"},"limits":{"cpu":"300m","memory":"256Mi"}}"#);
    until("containerStatuses[0].resources.limits.memory", "256Mi");
    until("containerStatuses[0].resources.limits.cpu", "300m");
    assert_eq!(limit("main", "memory.max memory/memory.limit_in_bytes"), (256 << 20).to_string());
    assert!(limit("main", "cpu.max cpu/cpu.cfs_quota_us").starts_with("30000"));
    assert_eq!(cluster.k("get pod sized -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    let events =
        cluster.k("get events --field-selector involvedObject.name=sized -o jsonpath={.items[*].reason}");
    assert!(events.contains("ResizeStarted") && events.contains("ResizeCompleted"), "{events}");

    resize(&cluster, "anew", r#"{"limits":{"memory":"96Mi"}}"#);
    until("containerStatuses[1].resources.limits.memory", "96Mi");
    until("containerStatuses[1].restartCount", "1");
    cluster.k("wait pod/sized --timeout=30s --for=condition=Ready");
    assert_eq!(limit("anew", "memory.max memory/memory.limit_in_bytes"), (96 << 20).to_string());

    // More than is free, though not more than there is: the DNS pod has some of it.
    let all = cluster.k("get nodes -o jsonpath={.items[0].status.allocatable.cpu}");
    resize(&cluster, "main", &format!(r#"{{"requests":{{"cpu":"{all}"}},"limits":{{"cpu":"{all}"}}}}"#));
    cluster.k("wait pod/sized --timeout=30s --for=condition=PodResizePending");
    let pending =
        "get pod sized -o jsonpath={.status.conditions[?(@.type==\"PodResizePending\")]['reason','message']}";
    let pending = cluster.k(pending);
    assert!(pending.contains("Deferred Node didn't have enough resource: cpu"), "{pending}");
    assert_eq!(cluster.k("get pod sized -o jsonpath={.status.allocatedResources.cpu}"), "150m");
    resize(&cluster, "main", r#"{"requests":{"cpu":"150m"},"limits":{"cpu":"300m"}}"#);
    let pending = "wait pod/sized --timeout=30s --for=jsonpath={.status.observedGeneration}=5";
    cluster.k(pending);
    let conditions = cluster.k("get pod sized -o jsonpath={.status.conditions[*].type}");
    assert!(!conditions.contains("PodResize"), "{conditions}");
}

/// `full` writes more than it may, `anew` is started anew as a whole once, and finds a
/// variable in the file that this leaves each time.
const ENDS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: full}
spec:
  terminationGracePeriodSeconds: 30
  containers:
  - name: main
    image: luksa/kubia
    command: [bash, -c, "head -c 20M /dev/zero > /data/zeros; exec sleep 1000"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {sizeLimit: 10Mi}}]
---
apiVersion: v1
kind: Pod
metadata: {name: anew}
spec:
  restartPolicy: Never
  initContainers:
  - name: count
    image: luksa/kubia
    command: [bash, -c, "echo >> /data/runs; echo \"RUNS='$(grep -c '' /data/runs)'\" > /data/env"]
    volumeMounts: [{name: data, mountPath: /data}]
  containers:
  - name: main
    image: luksa/kubia
    command: [bash, -c, "echo $RUNS; test $RUNS -ge 2 && exit; until test -e /data/idle; do sleep 0.1; done; exit 42"]
    env: [{name: RUNS, valueFrom: {fileKeyRef: {volumeName: data, path: env, key: RUNS}}}]
    volumeMounts: [{name: data, mountPath: /data}]
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]
  - name: idle
    image: luksa/kubia
    command: [bash, -c, "trap 'exit 0' TERM; touch /data/idle; test $RUNS -ge 2 || while :; do sleep 0.1; done"]
    env: [{name: RUNS, valueFrom: {fileKeyRef: {volumeName: data, path: env, key: RUNS}}}]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
"#;

#[test]
fn pods_end_and_begin_anew_as_their_limits_and_rules_say() {
    let cluster = Cluster::up();
    cluster.apply(ENDS);
    cluster.k("wait pod/anew --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    assert_eq!(cluster.k("logs anew -c main"), "2\n");
    let of = |field: &str| cluster.k(&format!("get pod anew -o jsonpath={{.status{field}}}"));
    assert_eq!(of(".containerStatuses[*].restartCount"), "1 1");
    assert_eq!(of(".initContainerStatuses[0].restartCount"), "1");
    let last = ".containerStatuses[1].lastState.terminated.reason";
    assert_eq!(of(last), "RestartingAllContainers", "it was killed with the others");
    cluster.k("wait pod/full --for=jsonpath={.status.reason}=Evicted --timeout=60s");
    cluster.k("wait pod/full --for=jsonpath={.status.phase}=Failed --timeout=60s");
    let message = cluster.k("get pod full -o jsonpath={.status.message}");
    assert_eq!(message, "Usage of EmptyDir volume \"data\" exceeds the limit \"10Mi\". ");
    let events = cluster.k("get events --field-selector involvedObject.name=full,reason=Evicted -o name");
    assert_eq!(events.lines().count(), 1, "{events}");
}
