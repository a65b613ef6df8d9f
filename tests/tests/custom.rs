//! CustomResourceDefinitions as a user of kubectl meets them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Kubectl};

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations: [{rule: "self.least <= self.replicas", message: "too few replicas"}]
            properties:
              cronSpec: {type: string, description: When it runs.}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
              least: {type: integer, default: 0}
          status: {type: object, properties: {replicas: {type: integer}}}
"#;

const OBJECT: &str = r#"
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine}
spec: {cronSpec: "* * * * */5", replicas: 3}
"#;

/// No waiting between the definition and its first object: whoever was told that a kind is there finds it.
#[test]
fn a_kind_is_defined_used_and_taken_away() {
    let cluster = Cluster::empty();
    cluster.apply(DEFINITION);
    cluster.k("wait --for=condition=Established crd/crontabs.stable.example.com --timeout=30s");
    cluster.apply(OBJECT);
    for client in [Kubectl::New, Kubectl::Old] {
        let k = |arguments: &str| cluster.kubectl(client, arguments).ok();
        let table = k("get ct");
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [vec!["NAME", "SPEC", "REPLICAS"], vec!["mine", "*", "*", "*", "*", "*/5", "3"]]);
        assert!(k("get all").contains("crontab.stable.example.com/mine"));
        let explained = k("explain crontab.spec.cronSpec");
        assert!(explained.contains("When it runs."), "{client:?}: {explained}");
        k("scale --replicas=5 crontab/mine");
        assert_eq!(k("get ct mine -o jsonpath={.spec.replicas}"), "5");
        k("scale --replicas=3 crontab/mine");
        let refused =
            cluster.kubectl(client, r#"patch ct mine --type=merge -p {"spec":{"least":9}}"#).fails();
        assert!(refused.contains("too few replicas"), "{client:?}: {refused}");
    }

    // A namespace and an owner that go take objects of the kind, and those that it owns, along.
    cluster.k("create namespace temp");
    cluster.apply(&OBJECT.replace("name: mine", "name: mine, namespace: temp"));
    cluster.k("delete namespace temp --timeout=60s");
    assert!(!cluster.k("get ct -A").contains("temp"));
    cluster.k("create configmap owned");
    let uid = cluster.k("get ct mine -o jsonpath={.metadata.uid}");
    let owner =
        format!(r#"{{"apiVersion":"stable.example.com/v1","kind":"CronTab","name":"mine","uid":"{uid}"}}"#);
    cluster.k(&format!(r#"patch cm owned --type=merge -p {{"metadata":{{"ownerReferences":[{owner}]}}}}"#));
    cluster.k("delete ct mine");
    cluster.k("wait --for=delete cm/owned --timeout=60s");

    cluster.apply(OBJECT);
    cluster.k("delete crd crontabs.stable.example.com --timeout=60s");
    let gone = cluster.kubectl(Kubectl::New, "get crontabs.v1.stable.example.com").fails();
    assert!(gone.contains("the server doesn't have a resource type") || gone.contains("NotFound"), "{gone}");
    assert_eq!(cluster.k("get crd -o name"), "");
}
