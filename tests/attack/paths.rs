//! Paths that a container can write, while root works with them on the node: nothing of the host is read, written, mounted
//! or removed through them.
//!
//! Where an attack is a race, the swapping is done by this process in the very directory that the containers have mounted:
//! a renaming is the same from either side, and this side is faster.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rustix::fs::{CWD, RenameFlags};
use skiff_tests::{Cluster, Kubectl, Output};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Pod
metadata: {name: config}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {fsGroup: 3000}
  containers:
  - name: main
    image: luksa/kubia
    command: [sleep, "1000"]
    securityContext: {runAsUser: 1000}
    volumeMounts: [{name: token, mountPath: /token, readOnly: false}]
  - name: root
    image: luksa/kubia
    command: [sleep, "1000"]
    securityContext: {runAsUser: 1000}
    volumeMounts:
    - {name: settings, mountPath: /config, readOnly: false}
    - {name: all, mountPath: /all}
    - {name: work, mountPath: /work}
    - {name: work, mountPath: /shown, subPath: shown, readOnly: true}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token}}]}}
  - {name: all, projected: {sources: [{configMap: {name: settings}}]}}
  - {name: work, emptyDir: {}}
---
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - {name: link, image: luksa/kubia, command: [bash, -c, "echo said; until [ -e /go/now ]; do sleep 0.1; done"], volumeMounts: [{name: go, mountPath: /go}]}
  - {name: pipe, image: luksa/kubia, command: [bash, -c, "echo said; until [ -e /go/now ]; do sleep 0.1; done"], volumeMounts: [{name: go, mountPath: /go}]}
  volumes:
  - {name: go, hostPath: {path: NODE}}
---
apiVersion: v1
kind: Pod
metadata: {name: intruder}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: luksa/kubia, command: [sleep, "1000"], volumeMounts: [{name: pods, mountPath: /pods}]}
  volumes:
  - {name: pods, hostPath: {path: PODS, type: Directory}}
"#;

/// A pod whose containers say what they find in a directory that somebody swaps.
const RACER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: racer}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: v, hostPath: {path: PATH, type: Directory}}
  containers:
"#;
const CONTAINER: &str = "  - {name: NAME, image: luksa/kubia, command: [bash, -c, 'ls /m'], volumeMounts: [{name: v, mountPath: /m SUBPATH}]}\n";
/// Where each racer's volume is, and what its containers mount of it.
const RACERS: [(&str, &str); 3] =
    [("linked", ", subPath: dir"), ("linked", ", subPathExpr: dir/."), ("typed/dir", "")];
const CONTAINERS: usize = 8;

/// A directory of the host that no pod was given.
struct Host(PathBuf);

impl Host {
    fn new(cluster: &Cluster) -> Self {
        let path = cluster.host().directory().join("host");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("secret"), "host secret").unwrap();
        Self(path)
    }

    fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read_to_string(self.0.join("secret")).unwrap(), "host secret");
    }
}

/// Something that goes on in the background until it is stopped.
struct Attack {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    fn start(mut step: impl FnMut() + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                step();
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn sh(cluster: &Cluster, pod: &str, container: &str, script: &str) -> Output {
    let mut command = cluster.kubectl_command(Kubectl::New, &format!("exec {pod} -c {container} -- bash -c"));
    Output::of(command.arg(script))
}

fn pod_directory(cluster: &Cluster, pod: &str) -> PathBuf {
    let uid = cluster.k(&format!("get pod {pod} -o jsonpath={{.metadata.uid}}"));
    cluster.data_dir().join("pods").join(uid)
}

#[test]
fn root_follows_no_path_that_a_container_can_write() {
    let cluster = Cluster::up();
    let host = Host::new(&cluster);
    let node = cluster.host().directory().join("node");
    fs::create_dir_all(&node).unwrap();
    let pods = cluster.data_dir().join("pods");
    cluster.apply(
        &CONFIG.replace("NODE", &node.display().to_string()).replace("PODS", &pods.display().to_string()),
    );
    cluster.k("wait pod/config pod/talker pod/intruder --for=condition=Ready --timeout=60s");

    objects_are_shown_read_only(&cluster);
    an_update_stays_in_its_volume(&cluster, &host);
    messages_and_logs_are_files(&cluster, &host, &node);
    what_is_mounted_was_checked(&cluster, &host);
    a_deep_tree_is_removed(&cluster);
    host.assert_untouched();
}

fn objects_are_shown_read_only(cluster: &Cluster) {
    for volume in ["config", "all"] {
        let tried = sh(cluster, "config", "root", &format!("ln -sfn /etc /{volume}/..data")).fails();
        assert!(tried.contains("Read-only file system"), "{tried}");
        let tried = sh(cluster, "config", "root", &format!("touch /{volume}/new")).fails();
        assert!(tried.contains("Read-only file system"), "{tried}");
    }
    let modes =
        sh(cluster, "config", "main", "stat -L -c '%a %u %g' /token/token; cut -c1-2 /token/token").ok();
    assert_eq!(modes, "640 1000 3000\ney\n");
    let shown =
        "echo x > /work/shown/x && cat /shown/x && ! touch /shown/y 2>/dev/null && stat -c %a:%g /work/shown";
    assert_eq!(sh(cluster, "config", "root", shown).ok(), "x\n2777:3000\n");
    let mounts = cluster.sh("cat /proc/self/mountinfo").ok();
    let left: Vec<_> =
        mounts.lines().filter(|line| line.contains("/sources") || line.contains("shown")).collect();
    assert!(left.is_empty(), "a subPath is mounted in its container alone: {left:?}");
}

/// Even if a container could write the volume: links and swapped directories do not lead the agent out of it.
fn an_update_stays_in_its_volume(cluster: &Cluster, host: &Host) {
    let volume = pod_directory(cluster, "config").join("volumes/settings");
    let change = |colour: &str| {
        cluster.k(&format!("patch configmap settings -p {{\"data\":{{\"colour\":\"{colour}\"}}}}"));
        let seen = format!(
            "for i in {{1..200}}; do grep -q {colour} /config/colour && exit 0; sleep 0.1; done; exit 1"
        );
        sh(cluster, "config", "root", &seen).ok();
    };
    fs::remove_file(volume.join("..data")).unwrap();
    symlink(&host.0, volume.join("..data")).unwrap();
    change("red");
    host.assert_untouched();

    // Every new directory of files is at once exchanged for a link.
    let (place, target) = (volume.clone(), host.0.clone());
    let swapping = Attack::start(move || {
        let names = fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path());
        let current = fs::read_link(place.join("..data")).unwrap_or_default();
        let link = place.join(".link");
        for set in names.filter(|path| path.is_dir() && !path.is_symlink() && !path.ends_with(&current)) {
            drop(symlink(&target, &link));
            // It may be gone already.
            let _too_late = rustix::fs::renameat_with(CWD, &link, CWD, &set, RenameFlags::EXCHANGE);
            drop(fs::remove_dir_all(&link).or_else(|_| fs::remove_file(&link)));
        }
    });
    for round in 0..10 {
        cluster.k(&format!("patch configmap settings -p {{\"data\":{{\"colour\":\"c{round}\"}}}}"));
        std::thread::sleep(Duration::from_millis(200));
        host.assert_untouched();
    }
    drop(swapping);
    change("green");
    host.assert_untouched();
}

/// A pod that was given the agent's directory by a hostPath volume.
fn messages_and_logs_are_files(cluster: &Cluster, host: &Host, node: &Path) {
    let uid = cluster.k("get pod talker -o jsonpath={.metadata.uid}");
    let secret = host.0.join("secret");
    let script = format!(
        "cd /pods/{uid}; ln -sf {secret} containers/link/0; rm containers/pipe/0; mknod containers/pipe/0 p; \
         ln -sf {secret} logs/link/0.log; rm logs/pipe/0.log; mknod logs/pipe/0.log p",
        secret = secret.display()
    );
    sh(cluster, "intruder", "main", &script).ok();
    for container in ["link", "pipe"] {
        let logs =
            cluster.kubectl(Kubectl::New, &format!("logs talker -c {container} --request-timeout=20s"));
        assert!(!logs.stdout.contains("secret") && !logs.stdout.contains("said"), "{logs}");
    }
    fs::write(node.join("now"), "").unwrap();
    cluster.k("wait pod/talker --for=jsonpath={.status.phase}=Succeeded --timeout=30s");
    let status = cluster.k("get pod talker -o jsonpath={.status.containerStatuses[*].state.terminated}");
    assert!(!status.contains("secret"), "{status}");
    cluster.k("delete pod talker --timeout=30s");
    host.assert_untouched();
}

/// While directories are swapped for links out of the volume, or for files, a container sees the volume's own directory or
/// does not start.
fn what_is_mounted_was_checked(cluster: &Cluster, host: &Host) {
    let shared = cluster.host().directory().join("shared");
    for place in ["linked", "typed"] {
        fs::create_dir_all(shared.join(place).join("dir")).unwrap();
        fs::write(shared.join(place).join("dir/own"), "").unwrap();
    }
    symlink(&host.0, shared.join("linked/other")).unwrap();
    fs::write(shared.join("typed/other"), "").unwrap();
    let swap = |place: &Path| {
        let (one, other) = (place.join("dir"), place.join("other"));
        rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
    };
    let (linked, typed) = (shared.join("linked"), shared.join("typed"));
    let swapping = Attack::start(move || {
        swap(&linked);
        swap(&typed);
    });
    let racers = RACERS.iter().enumerate().map(|(n, (path, sub_path))| {
        let path = shared.join(path).display().to_string();
        let container = |c: usize| CONTAINER.replace("NAME", &format!("c{c}")).replace("SUBPATH", sub_path);
        let pod = RACER.replace("NAME", &format!("racer-{n}")).replace("PATH", &path);
        pod + &(0..CONTAINERS).map(container).collect::<String>() + "---\n"
    });
    cluster.apply(&racers.collect::<String>());
    wait_until_tried(cluster);
    drop(swapping);
    for place in ["linked", "typed"].map(|place| shared.join(place)) {
        if !place.join("dir/own").exists() {
            swap(&place);
        }
    }
    cluster.k("wait pod -l app=racer --for=jsonpath={.status.phase}=Succeeded --timeout=90s");
    for n in 0..RACERS.len() {
        let seen = cluster.k(&format!("logs racer-{n} --all-containers"));
        assert_eq!(seen, "own\n".repeat(CONTAINERS), "what the containers of racer-{n} saw");
    }
    cluster.k("delete pod -l app=racer --timeout=30s");
}

/// Waits, within bounds, until every container was started once, or could not be.
fn wait_until_tried(cluster: &Cluster) {
    let began = Instant::now();
    let columns = "custom-columns=N:.involvedObject.name,C:.involvedObject.fieldPath";
    let containers = (0..RACERS.len())
        .flat_map(|n| (0..CONTAINERS).map(move |c| (format!("racer-{n} "), format!("{{c{c}}}"))));
    let containers: Vec<_> = containers.collect();
    while began.elapsed() < Duration::from_secs(20) {
        let of = |reason: &str| {
            cluster.k(&format!("get events --no-headers -o {columns} --field-selector reason={reason}"))
        };
        let (tried, unmounted) = (of("Started") + &of("Failed"), of("FailedMount"));
        let is_tried = |(pod, container): &(String, String)| {
            unmounted.lines().any(|line| line.starts_with(pod))
                || tried.lines().any(|line| line.starts_with(pod) && line.contains(container))
        };
        if containers.iter().all(is_tried) {
            return;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// A tree deeper than descriptors and stacks reach, in a volume and in the container's own file system.
fn a_deep_tree_is_removed(cluster: &Cluster) {
    let deep = "p=$(printf 'd/%.0s' {1..1000}); for i in 1 2 3; do mkdir -p $p && cd -P $p || exit 1; done 2>/dev/null";
    sh(cluster, "config", "root", &format!("cd /work; {deep}")).ok();
    sh(cluster, "intruder", "main", &format!("cd /root; {deep}")).ok();
    let directories = ["config", "intruder"].map(|pod| pod_directory(cluster, pod));
    cluster.k("delete pod config intruder --timeout=90s");
    for directory in directories {
        let own = cluster.data_dir().join("containers").join(directory.file_name().unwrap());
        for place in [directory, own] {
            let gone = (0..300).any(|_| {
                let gone = !place.exists();
                if !gone {
                    std::thread::sleep(Duration::from_millis(100));
                }
                gone
            });
            assert!(gone, "{} is removed", place.display());
        }
    }
}
