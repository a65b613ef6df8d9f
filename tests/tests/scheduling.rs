//! Which pods get a node, by whom, and what a node runs of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::Cluster;

const PROFILES: &str = "
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: picky
  plugins:
    postFilter: {disabled: [{name: '*'}]}
  pluginConfig:
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
          - matchExpressions: [{key: pool, operator: In, values: [batch]}]
";

fn pod(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{{spec}, terminationGracePeriodSeconds: 1, \
         containers: [{{name: c, image: luksa/kubia}}]}}}}\n"
    )
}

/// Who told what of a pod, which may be gone, for this reason; waited for.
fn events(cluster: &Cluster, pod: &str, reason: &str) -> String {
    let selector = format!("get events --field-selector involvedObject.name={pod},reason={reason}");
    let script = format!(
        "for i in {{1..300}}; do out=$($KUBECTL {selector} -o jsonpath='{{.items[*].reportingComponent}} {{.items[*].message}}'); \
         [ -n \"${{out// /}}\" ] && echo \"$out\" && exit 0; sleep 0.2; done; exit 1"
    );
    let mut command = cluster.shell(&script);
    command.env("KUBECTL", skiff_tests::program("SKIFF_TEST_KUBECTL_NEW"));
    skiff_tests::Output::of(&mut command).ok()
}

#[test]
fn profiles_decide_about_the_pods_that_ask_for_them() {
    let cluster = Cluster::stopped();
    let file = cluster.host().directory().join("scheduler.yaml");
    let up = ["up", "--node-name", "node-1", "--scheduler-config", file.to_str().unwrap()];
    std::fs::write(&file, PROFILES.replace("picky", "default-scheduler")).unwrap();
    let refused = cluster.skiff(up).fails();
    assert!(refused.contains("profiles[1].schedulerName: Duplicate value"), "{refused}");
    assert!(cluster.host().processes().is_empty(), "nothing was started");
    std::fs::write(&file, PROFILES).unwrap();
    cluster.skiff(up).ok();
    let image = skiff_tests::program("SKIFF_TEST_IMAGE");
    cluster.skiff(["image", "load", &image.to_string_lossy()]).ok();

    cluster.apply(&pod("picky", "schedulerName: picky"));
    cluster.apply(&pod("strange", "schedulerName: somebody"));
    cluster.apply(&pod("plain", "nodeSelector: {}"));
    cluster.k("wait pod/plain --for=condition=Ready --timeout=60s");
    assert!(events(&cluster, "plain", "Scheduled").starts_with("default-scheduler "));
    assert_eq!(
        events(&cluster, "picky", "FailedScheduling").trim(),
        "picky 0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity."
    );
    cluster.k("label node node-1 pool=batch");
    cluster.k("wait pod/picky --for=condition=Ready --timeout=60s");
    let strange =
        cluster.k("get pod strange -o jsonpath={.spec.nodeName}{.status.phase}{.status.conditions}");
    assert_eq!(strange, "Pending", "nobody of ours says anything of it");
    let other = up.iter().take(3).copied().chain(["--scheduler-config", "/other.yaml"]);
    let differs = cluster.skiff(other).fails();
    assert!(differs.contains("--scheduler-config /other.yaml, and not"), "{differs}");
}

const CLASSES: &str = "
{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: usual}, handler: runc,
 overhead: {podFixed: {memory: 16Mi, cpu: 50m}}}
---
{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: foreign}, handler: vm}
";

#[test]
fn a_node_runs_the_classes_that_it_has() {
    let cluster = Cluster::up();
    cluster.apply(CLASSES);
    cluster.apply(&pod("usual", "runtimeClassName: usual"));
    cluster.apply(&pod("foreign", "runtimeClassName: foreign"));
    cluster.k("wait pod/usual --for=condition=Ready --timeout=60s");
    let overhead = cluster.k("get pod usual -o jsonpath={.spec.overhead.memory}");
    assert_eq!(overhead, "16Mi");
    let told = events(&cluster, "foreign", "FailedCreatePodSandBox");
    assert!(told.contains("Failed to create pod sandbox: "), "{told}");
    assert!(told.contains("no runtime for \"vm\" is configured"), "{told}");
    assert_eq!(cluster.k("get pod foreign -o jsonpath={.status.phase}"), "Pending");
    let handlers = cluster.k("get node node-1 -o jsonpath={.status.runtimeHandlers[*].name}");
    assert_eq!(handlers.split_whitespace().collect::<Vec<_>>(), ["runc", "skiff"]);
    // Once the class asks for what is here, the pod runs: a handler cannot be changed, the class can.
    cluster.k("delete runtimeclass foreign");
    cluster
        .apply("{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: foreign}, handler: skiff}");
    cluster.k("wait pod/foreign --for=condition=Ready --timeout=120s");
}

#[test]
fn what_others_say_that_the_node_has_is_given_to_pods_and_taken_for_more_important_ones() {
    let cluster = Cluster::up();
    let capacity = r#"{"status":{"capacity":{"example.com/seat":"5"}}}"#;
    let mut command = cluster
        .kubectl_command(skiff_tests::Kubectl::New, "patch node node-1 --subresource=status --type=merge -p");
    skiff_tests::Output::of(command.arg(capacity)).ok();
    cluster.k("wait node/node-1 --timeout=60s --for=jsonpath={.status.allocatable.example\\.com/seat}=5");
    cluster.apply(
        "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 1000}",
    );
    let seated = |name: &str, class: &str, seats: u32| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{{class} terminationGracePeriodSeconds: 1, \
             containers: [{{name: c, image: luksa/kubia, resources: {{limits: {{example.com/seat: {seats}}}}}}}]}}}}"
        )
    };
    cluster.apply(&seated("low", "", 4));
    cluster.k("wait pod/low --for=condition=Ready --timeout=60s");
    cluster.apply(&seated("waits", "", 2));
    assert_eq!(
        events(&cluster, "waits", "FailedScheduling").trim(),
        "default-scheduler 0/1 nodes are available: 1 Insufficient example.com/seat. no new claims to deallocate, \
         preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    );
    cluster.apply(&seated("high", "priorityClassName: high,", 3));
    cluster.k("wait pod/high --for=condition=Ready --timeout=60s");
    cluster.k("wait pod/waits --for=condition=Ready --timeout=60s");
    let told = events(&cluster, "low", "Preempted");
    let uid = cluster.k("get pod high -o jsonpath={.metadata.uid}");
    assert!(told.contains(&format!("Preempted by pod {uid} on node node-1")), "{told}");
}
