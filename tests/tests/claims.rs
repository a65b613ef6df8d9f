//! Claims on a whole cluster: volumes of the node that are made for them, outlive pods and agents, are as large as was asked
//! for, grow, and end with their claim.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use skiff_tests::{Cluster, Kubectl, Output};

const CLASS: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local-path}
provisioner: skiff.internal/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
allowVolumeExpansion: true
";

/// Runs kubectl with these arguments, which may have spaces in them.
fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Output {
    Output::of(cluster.kubectl_command(Kubectl::New, "").args(arguments))
}

/// A claim of so much, whose pods are to run on the only node, and the name of its volume once that is there.
fn claim(cluster: &Cluster, name: &str, size: &str, more: &str) -> String {
    cluster.apply(&format!(
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}
  annotations:
    volume.kubernetes.io/selected-node: node-1
    volume.kubernetes.io/storage-provisioner: skiff.internal/local-path
spec: {{storageClassName: local-path, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: {size}}}}} {more}}}
"
    ));
    let uid = cluster.k(&format!("get pvc {name} -o jsonpath={{.metadata.uid}}"));
    let volume = format!("pvc-{uid}");
    cluster.k(&format!("wait pv/{volume} --for=create --timeout=60s"));
    volume
}

/// Binds a claim and a volume, as the binder does.
fn bind(cluster: &Cluster, claim: &str, volume: &str, size: &str) {
    let patch = |arguments: &str, change: &str| {
        cluster.k(&format!("patch {arguments} --type=merge -p {change}"));
    };
    patch(&format!("pvc {claim}"), &format!(r#"{{"spec":{{"volumeName":"{volume}"}}}}"#));
    patch(&format!("pv {volume} --subresource=status"), r#"{"status":{"phase":"Bound"}}"#);
    let status = format!(r#"{{"status":{{"phase":"Bound","capacity":{{"storage":"{size}"}}}}}}"#);
    patch(&format!("pvc {claim} --subresource=status"), &status);
}

/// A pod that runs a shell command where the claim is mounted at `/data`.
fn pod(cluster: &Cluster, name: &str, claim: &str, script: &str, more: &str) {
    cluster.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  {more}
  containers:
  - name: main
    image: luksa/kubia
    command: [bash, -c, {script:?}]
    volumeMounts: [{{name: data, mountPath: /data}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]
"
    ));
}

/// What the node's kernel has of volumes: mounts and block devices.
fn left(cluster: &Cluster) -> String {
    let data = cluster.data_dir().display().to_string();
    cluster
        .sh(&format!("grep {data}/staged /proc/self/mountinfo; losetup -l | grep {data}/volumes; true"))
        .ok()
}

fn kill_server(cluster: &Cluster) {
    let processes = cluster.host().processes();
    let server = processes.iter().find(|line| line.contains("skiff server")).unwrap();
    let pid = server.split_whitespace().next().unwrap();
    let gone = format!("for i in {{1..500}}; do [ -e /proc/{pid} ] || exit 0; sleep 0.01; done; exit 1");
    cluster.sh(&format!("kill -9 {pid}; {gone}")).ok();
    // The keeper starts the next one.
    cluster.sh("for i in {1..600}; do skiff_up=$(curl -sk https://127.0.0.1:6443/readyz) && [ \"$skiff_up\" = ok ] && exit 0; sleep 0.1; done; exit 1").ok();
}

#[test]
fn data_outlives_pods_and_agents_and_ends_with_its_claim() {
    let cluster = Cluster::up();
    cluster.apply(CLASS);
    let volume = claim(&cluster, "data", "32Mi", "");
    bind(&cluster, "data", &volume, "32Mi");
    let fill = "echo kept > /data/file; head -c 64M /dev/zero > /data/big || { rm /data/big; echo full >> /data/file; }";
    pod(&cluster, "writer", "data", fill, "");
    cluster.k("wait pod/writer --timeout=60s --for=jsonpath={.status.phase}=Succeeded");
    cluster.k("delete pod writer --timeout=60s");
    assert_eq!(left(&cluster), "", "nobody uses it");

    let user = "securityContext: {runAsUser: 1000, fsGroup: 2000}";
    pod(&cluster, "reader", "data", "cat /data/file && touch /data/mine && exec sleep 1000", user);
    cluster.k("wait pod/reader --timeout=60s --for=condition=Ready");
    assert_eq!(cluster.k("logs reader"), "kept\nfull\n", "it is no larger than was asked for");
    let owners = cluster.k("exec reader -- stat -c %g /data /data/file /data/mine");
    assert_eq!(owners, "2000\n2000\n2000\n");
    kill_server(&cluster);
    cluster.k("exec reader -- cat /data/file");
    let summary = cluster.k("get --raw /api/v1/nodes/node-1/proxy/stats/summary");
    assert!(summary.contains(r#""pvcRef":{"name":"data","namespace":"default"}"#), "{summary}");
    let metrics = cluster.k("get --raw /api/v1/nodes/node-1/proxy/metrics");
    let used = "kubelet_volume_stats_used_bytes{namespace=\"default\",persistentvolumeclaim=\"data\"}";
    assert!(metrics.contains(used), "{metrics}");
    cluster.k("delete pod reader --timeout=60s");
    assert_eq!(left(&cluster), "", "the next agent knew of it");

    let kept = cluster.data_dir().join("volumes").join(&volume);
    assert!(kept.join("disk").exists());
    cluster.k(&format!(
        r#"patch pv {volume} --type=merge -p {{"spec":{{"persistentVolumeReclaimPolicy":"Retain"}}}}"#
    ));
    cluster.k(&format!("wait pv/{volume} --timeout=60s --for=jsonpath={{.metadata.finalizers}}=[\"kubernetes.io/pv-protection\"]"));
    cluster.k("delete pvc data --timeout=60s");
    release(&cluster, &volume);
    assert!(kept.join("disk").exists(), "it was retained");
    cluster.k(&format!(
        r#"patch pv {volume} --type=merge -p {{"spec":{{"persistentVolumeReclaimPolicy":"Delete"}}}}"#
    ));
    cluster.k(&format!("wait pv/{volume} --for=delete --timeout=60s"));
    assert!(!kept.exists(), "its data went with it");
}

/// Says of a volume that its claim is gone, as the binder does.
fn release(cluster: &Cluster, volume: &str) {
    cluster.k(&format!(
        r#"patch pv {volume} --subresource=status --type=merge -p {{"status":{{"phase":"Released"}}}}"#
    ));
}

/// Whether file systems may grow while they are mounted: a container may lack `CAP_SYS_RESOURCE`.
fn may_grow_mounted() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & (1 << 24) != 0
}

#[test]
fn a_claim_grows_under_its_pod() {
    let cluster = Cluster::up();
    cluster.apply(CLASS);
    let volume = claim(&cluster, "data", "32Mi", "");
    bind(&cluster, "data", &volume, "32Mi");
    pod(&cluster, "user", "data", "exec sleep 1000", "");
    cluster.k("wait pod/user --timeout=60s --for=condition=Ready");
    let grow = r#"patch pvc data -p {"spec":{"resources":{"requests":{"storage":"96Mi"}}}}"#;
    cluster.k(grow);
    if !may_grow_mounted() {
        // Then it waits for its pod to end.
        cluster.k("wait pvc/data --timeout=60s --for=condition=FileSystemResizePending");
        cluster.k("delete pod user --timeout=60s");
    }
    cluster.k("wait pvc/data --timeout=60s --for=jsonpath={.status.capacity.storage}=96Mi");
    if !may_grow_mounted() {
        pod(&cluster, "user", "data", "exec sleep 1000", "");
        cluster.k("wait pod/user --timeout=60s --for=condition=Ready");
    }
    let bytes = cluster.k("exec user -- df --output=size -B1M /data");
    let size: u32 = bytes.split_whitespace().last().unwrap().parse().unwrap();
    assert!((64..=96).contains(&size), "{bytes}");
    assert_eq!(cluster.k(&format!("get pv {volume} -o jsonpath={{.spec.capacity.storage}}")), "96Mi");
    assert_eq!(cluster.k("get pvc data -o jsonpath={.status.conditions}"), "");
    cluster.k("wait --for=create --timeout=30s event --field-selector=reason=FileSystemResizeSuccessful");
    cluster.skiff(["down"]).ok();
    assert_eq!(left(&cluster), "", "nothing of it is left in the kernel");
    cluster.start();
    cluster.k("wait pod/user --timeout=60s --for=condition=Ready");
}

#[test]
fn pods_get_devices_and_hear_what_they_wait_for() {
    let cluster = Cluster::up();
    cluster.apply(CLASS);
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: raw}
spec:
  terminationGracePeriodSeconds: 1
  nodeName: node-1
  containers:
  - name: main
    image: luksa/kubia
    command: [bash, -c, \"head -c 8M /dev/zero | tr '\\\\0' x > /dev/disk; sleep 1000\"]
    volumeDevices: [{name: disk, devicePath: /dev/disk}]
  volumes: [{name: disk, persistentVolumeClaim: {claimName: raw}}]
",
    );
    cluster.k("wait event --timeout=60s --for=create --field-selector=reason=FailedMount");
    let events = cluster.k("get events -o jsonpath={.items[?(@.reason==\"FailedMount\")].message}");
    let reason = "error processing PVC default/raw: failed to fetch PVC from API server: persistentvolumeclaims \"raw\" not found";
    assert!(events.contains(reason), "{events}");
    let volume = claim(&cluster, "raw", "8Mi", ", volumeMode: Block");
    bind(&cluster, "raw", &volume, "8Mi");
    cluster.k("wait pod/raw --timeout=60s --for=condition=Ready");
    let disk = cluster.data_dir().join("volumes").join(&volume).join("disk");
    let written = format!(
        "for i in {{1..300}}; do sync -f {0}; [ \"$(head -c 3 {0})\" = xxx ] && exit 0; sleep 0.1; done; exit 1",
        disk.display()
    );
    cluster.sh(&written).ok();
    cluster.k("delete pod raw --timeout=60s");
    assert_eq!(left(&cluster), "");

    cluster.apply(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {name: elsewhere}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], storageClassName: none, nfs: {server: 192.0.2.1, path: /}, claimRef: {namespace: default, name: far}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: far}
spec: {storageClassName: none, accessModes: [ReadWriteMany], volumeName: elsewhere, resources: {requests: {storage: 1Gi}}}
",
    );
    let uid = cluster.k("get pvc far -o jsonpath={.metadata.uid}");
    cluster.k(&format!(r#"patch pv elsewhere --type=merge -p {{"spec":{{"claimRef":{{"uid":"{uid}"}}}}}}"#));
    let bound = r#"patch pvc far --subresource=status --type=merge -p {"status":{"phase":"Bound"}}"#;
    cluster.k(bound);
    pod(&cluster, "far", "far", "true", "nodeName: node-1");
    cluster.k(
        "wait event --timeout=60s --for=create --field-selector=involvedObject.name=far,reason=FailedMount",
    );
    let message = kubectl(
        &cluster,
        &[
            "get",
            "events",
            "--field-selector=involvedObject.name=far,reason=FailedMount",
            "-o",
            "jsonpath={.items[0].message}",
        ],
    )
    .ok();
    assert!(
        message.starts_with("MountVolume.SetUp failed for volume \"elsewhere\" : no volume plugin matched")
            && message.ends_with("not nfs"),
        "{message}"
    );
}
