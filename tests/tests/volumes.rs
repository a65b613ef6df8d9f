//! Claims, volumes and classes on a whole cluster, as kubectl shows them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use skiff_tests::Cluster;

/// A volume of this node, of a class that waits for pods, and two claims: of that class, and of none.
const OBJECTS: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: by-hand}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: by-hand
  local: {path: /var/tmp}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node-1]}]
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: anywhere}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteMany]
  hostPath: {path: /var/tmp}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: waiting}
spec: {storageClassName: by-hand, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: plain}
spec: {storageClassName: '', accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  containers: [{name: user, image: luksa/kubia}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: waiting}}]
";

#[test]
fn claims_are_bound_with_their_pods_and_leave_their_volumes() {
    let cluster = Cluster::up();
    let classes = cluster.k("get storageclass");
    assert!(classes.contains("local-path (default)"), "{classes}");
    assert!(classes.contains("WaitForFirstConsumer"), "{classes}");
    cluster.apply(OBJECTS);
    let bound = "--timeout=60s --for=jsonpath={.status.phase}=Bound";
    cluster.k(&format!("wait pvc/plain {bound}"));
    assert!(cluster.k("get pvc plain").contains("anywhere"));
    assert_eq!(cluster.k("get pvc waiting -o jsonpath={.status.phase}"), "Pending");
    cluster.apply(POD);
    cluster.k(&format!("wait pvc/waiting {bound}"));
    cluster.k("wait pod/user --for=condition=PodScheduled --timeout=60s");
    assert!(cluster.k("describe pvc waiting").contains("user"));
    cluster.k("delete pvc plain --timeout=60s");
    cluster.k("wait pv/anywhere --timeout=60s --for=jsonpath={.status.phase}=Released");
}

#[test]
fn a_class_that_users_take_away_stays_away() {
    let cluster = Cluster::up();
    cluster.k("delete storageclass local-path");
    cluster.skiff(["down"]).ok();
    cluster.start();
    assert_eq!(cluster.k("get storageclass -o name"), "");
}

/// A program with a volume of its own for each of its pods, and one that lives as long as the pod.
const DATABASE: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
      - name: db
        image: luksa/kubia
        volumeMounts: [{name: data, mountPath: /data}, {name: scratch, mountPath: /scratch}]
      volumes:
      - name: scratch
        ephemeral:
          volumeClaimTemplate:
            spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
";

#[test]
fn each_pod_of_a_set_has_a_volume_that_outlives_it() {
    let cluster = Cluster::up();
    cluster.apply(DATABASE);
    cluster.k("rollout status statefulset/db --timeout=60s");
    cluster.k("exec db-1 -- touch /data/kept /scratch/lost");
    cluster.k("delete pod db-1 --timeout=60s");
    cluster.k("rollout status statefulset/db --timeout=60s");
    let files = cluster.k("exec db-1 -- ls /data/kept /scratch");
    assert!(files.starts_with("/data/kept\n") && files.lines().all(|file| file != "lost"), "{files}");
    cluster.k("scale statefulset db --replicas=1");
    cluster.k("wait pvc/data-db-1 --for=delete --timeout=60s");
    cluster.k("wait pvc/db-1-scratch --for=delete --timeout=60s");
    let left = cluster.k("get pvc -o name");
    assert_eq!(left.split_whitespace().count(), 2, "{left}");
}
