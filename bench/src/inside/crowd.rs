//! Nodes and pods that nobody runs.

use serde_json::{Value, json};

const ZONES: u32 = 3;
/// ReplicaSets that the pods are of: by these they are spread.
pub(super) const SETS: u32 = 30;

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What the pods are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Crowd {
    /// None asks for more than room.
    Plain,
    /// Of each five ReplicaSets one has such pods, one has pods that must be spread over zones and nodes, one has pods that must not
    /// share a node, one has pods that must share a zone and would rather not share a node, and one has pods with volumes of a zone.
    Mixed,
}

impl Crowd {
    /// Those of so many pods that have a volume, by number.
    pub(super) fn with_volumes(self, pods: u32) -> impl Iterator<Item = u32> {
        (0..pods).filter(move |number| self == Self::Mixed && of_set(*number) % 5 == 4)
    }

    pub(super) fn pod(self, number: u32) -> Value {
        let set = of_set(number);
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("app-{set}"),
                           "uid": "00000000-0000-4000-8000-000000000000", "controller": true});
        let mut pod = json!({
            "metadata": {"name": format!("pod-{number:05}"), "namespace": "default", "labels": labels(set),
                         "ownerReferences": [owner]},
            "spec": {
                "schedulerName": "default-scheduler",
                "containers": [{"name": "main", "image": "registry.example.com/team/application:v1.2.3",
                                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}],
            },
        });
        if self == Self::Mixed {
            let spec = &mut pod["spec"];
            match set % 5 {
                1 => spec["topologySpreadConstraints"] = json!([spread(set, ZONE), spread(set, HOSTNAME)]),
                2 => spec["affinity"] = json!({"podAntiAffinity": {(REQUIRED): [term(set, HOSTNAME)]}}),
                3 => {
                    let wish = json!({"weight": 100, "podAffinityTerm": term(set, HOSTNAME)});
                    spec["affinity"] = json!({
                        "podAffinity": {(REQUIRED): [term(set, ZONE)]}, "podAntiAffinity": {(PREFERRED): [wish]},
                    });
                }
                4 => {
                    let claim = json!({"claimName": name_of_volume(number)});
                    spec["volumes"] = json!([{"name": "data", "persistentVolumeClaim": claim}]);
                }
                _ => {}
            }
        }
        pod
    }

    /// The claim of a pod that has a volume, which is bound.
    pub(super) fn claim(self, number: u32) -> Value {
        json!({
            "metadata": {"name": name_of_volume(number), "namespace": "default",
                         "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": name_of_volume(number), "storageClassName": "", "accessModes": ["ReadWriteOnce"],
                     "resources": {"requests": {"storage": "1Gi"}}},
        })
    }

    /// Its volume.
    pub(super) fn volume(self, number: u32) -> Value {
        let zone =
            json!({"key": ZONE, "operator": "In", "values": [format!("zone-{}", number / SETS % ZONES)]});
        json!({
            "metadata": {"name": name_of_volume(number)},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": "default",
                             "name": name_of_volume(number)},
                "nfs": {"server": "disks.example.com", "path": "/"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}},
            },
        })
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The ReplicaSet of a pod.
fn of_set(pod: u32) -> u32 {
    pod % SETS
}

fn labels(set: u32) -> Value {
    json!({"app": format!("app-{set}"), "pod-template-hash": format!("{set:08x}")})
}

fn name_of_volume(pod: u32) -> String {
    format!("data-{pod:05}")
}

fn spread(set: u32, key: &str) -> Value {
    json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
           "labelSelector": {"matchLabels": {"app": format!("app-{set}")}}})
}

fn term(set: u32, key: &str) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": format!("app-{set}")}}})
}

pub(super) fn node(number: u32) -> Value {
    let (name, zone) = (format!("node-{number:05}"), format!("zone-{}", number % ZONES));
    json!({
        "metadata": {"name": name, "labels": {
            (HOSTNAME): name, (ZONE): zone, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64", "node.kubernetes.io/instance-type": "large",
        }},
        "status": {
            "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"},
            "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

pub(super) fn replica_set(number: u32) -> Value {
    let labels = labels(number);
    json!({
        "metadata": {"name": format!("app-{number}"), "namespace": "default"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "app:v1"}]},
        }},
    })
}
