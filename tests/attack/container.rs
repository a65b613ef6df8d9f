//! From inside a container: what it may use, see and do, and that what isolates it is either there or refused.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use skiff_tests::{Cluster, Kubectl, Output};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: attacker}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: luksa/kubia
    command: [sleep, "1000"]
    resources: {limits: {cpu: 500m, memory: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: strict}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, runAsGroup: 3000, supplementalGroups: [4000]}
  containers:
  - name: main
    image: luksa/kubia
    command: [sleep, "1000"]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Pod
metadata: {name: bounded}
spec:
  terminationGracePeriodSeconds: 0
  resources: {limits: {memory: 96Mi}, requests: {cpu: 250m}}
  containers:
  - name: first
    image: luksa/kubia
    command: [sleep, "1000"]
  - name: second
    image: luksa/kubia
    command: [sleep, "1000"]
---
apiVersion: v1
kind: Pod
metadata: {name: share}
spec:
  terminationGracePeriodSeconds: 0
  shareProcessNamespace: true
  containers:
  - name: a
    image: luksa/kubia
    command: [bash, -c, "trap 'echo reloaded' HUP; while :; do sleep 0.1; done"]
  - name: b
    image: luksa/kubia
    command: [sleep, "1000"]
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: luksa/kubia
    command: [bash, -c, "tail /dev/zero; sleep 1000"]
    resources: {limits: {memory: 32Mi}}
"#;

/// Pods with user namespaces; the second sees all of `/proc` and administers its own network.
const APART: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {key: value}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {key: secret}
---
apiVersion: v1
kind: Pod
metadata: {name: apart}
spec:
  terminationGracePeriodSeconds: 0
  hostUsers: false
  securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: hidden, secret: {secretName: hidden}}
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: node, hostPath: {path: DIRECTORY}}
  containers:
  - name: main
    image: luksa/kubia
    command: [bash, -c, "echo out; exec sleep 1000"]
    readinessProbe: {exec: {command: [test, -w, /disk]}}
    volumeMounts: &volumes
    - {name: settings, mountPath: /settings}
    - {name: hidden, mountPath: /hidden}
    - {name: disk, mountPath: /disk}
    - {name: memory, mountPath: /memory}
    - {name: node, mountPath: /node}
  - name: root
    image: luksa/kubia
    command: [sleep, "1000"]
    securityContext: {runAsUser: 0}
    volumeMounts: *volumes
---
apiVersion: v1
kind: Pod
metadata: {name: open}
spec:
  terminationGracePeriodSeconds: 0
  hostUsers: false
  shareProcessNamespace: true
  containers:
  - name: main
    image: luksa/kubia
    command: [sleep, "1000"]
    securityContext: {procMount: Unmasked, capabilities: {add: [NET_ADMIN]}}
"#;

/// A pod with a user namespace whose first container serves, with all privileges there, and whose second echoes its input.
const SERVED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: served}
spec:
  terminationGracePeriodSeconds: 0
  hostUsers: false
  containers:
  - name: main
    image: luksa/kubia
    securityContext: {privileged: true}
  - name: talk
    image: luksa/kubia
    stdin: true
    command: [bash, -c, "while read line; do echo got $line; done; sleep 1000"]
"#;

/// Pods that must not run without what they ask for: name, the part of the specification, the reason.
const REFUSED: [(&str, &str, &str, &str); 2] = [
    ("armour", "hostUsers: true", "{appArmorProfile: {type: RuntimeDefault}}", "AppArmor"),
    ("sysctl", "securityContext: {sysctls: [{name: kernel.msgmax, value: \"1\"}]}", "{}", "SysctlForbidden"),
];

#[test]
fn a_container_stays_inside() {
    let cluster = Cluster::up();
    cluster.apply(PODS);
    for (name, spec, context, _) in REFUSED {
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n  containers:\n  - name: main\n    \
             image: luksa/kubia\n    securityContext: {context}\n"
        ));
    }
    let unmasked =
        r#"{"spec":{"containers":[{"name":"c","image":"i","securityContext":{"procMount":"Unmasked"}}]}}"#;
    let mut run = cluster.kubectl_command(Kubectl::New, "run open --image=i --overrides");
    let refused = Output::of(run.arg(unmasked)).fails();
    assert!(refused.contains("`hostUsers` must be false to use `Unmasked`"), "{refused}");
    cluster.k("wait pod/attacker pod/strict pod/bounded pod/share --for=condition=Ready --timeout=60s");
    limits_hold(&cluster);
    nothing_of_the_host(&cluster);
    users_are_as_asked(&cluster);
    the_pods_own_limits(&cluster);
    shared_processes(&cluster);
    for (name, _, _, reason) in REFUSED {
        cluster.k(&format!("wait pod/{name} --for=jsonpath={{.status.phase}}=Failed --timeout=30s"));
        assert_eq!(cluster.k(&format!("get pod {name} -o jsonpath={{.status.reason}}")), reason);
    }
    cluster.k("wait pod/greedy --for=jsonpath={.status.phase}=Failed --timeout=60s");
    let end = "get pod greedy -o jsonpath={.status.containerStatuses[0].state.terminated.reason}";
    assert_eq!(cluster.k(end), "OOMKilled", "the child's end was the container's");
}

/// Runs a script in a container.
fn inside(cluster: &Cluster, pod: &str, script: &str) -> String {
    let (pod, container) = pod.split_once('/').unwrap_or((pod, "main"));
    let arguments = format!("exec {pod} -c {container} -- bash -c");
    let output =
        Output::of(cluster.kubectl_command(Kubectl::New, &arguments).arg(format!("{script}\nexit 0")));
    output.ok()
}

/// The first of these files that is there, as a container or the node sees them.
const LIMIT: &str = "memory.max memory/memory.limit_in_bytes";

fn limits_hold(cluster: &Cluster) {
    let script = format!(
        "cd /sys/fs/cgroup; \
         for f in {LIMIT}; do [ -e $f ] && echo limit $(cat $f); (echo 1073741824 > $f) 2>/dev/null && echo raised; done; \
         for d in . */; do mkdir $d/mine 2>/dev/null && echo made $d; done; \
         for p in cgroup.procs */cgroup.procs */tasks; do (echo 1 > $p) 2>/dev/null && echo moved $p; done"
    );
    assert_eq!(inside(cluster, "attacker", &script), "limit 67108864\n", "only read");
}

fn nothing_of_the_host(cluster: &Cluster) {
    let masked = "for f in kcore keys latency_stats timer_list timer_stats sched_debug interrupts; do \
                    [ -e /proc/$f ] && [ -n \"$(head -c1 /proc/$f | tr '\\0' x)\" ] && echo read $f; done; \
                  for d in /proc/acpi /proc/asound /proc/scsi /sys/firmware /sys/devices/virtual/powercap \
                    /sys/devices/system/cpu/cpu0/thermal_throttle; do [ -d $d ] && ls -A $d; done";
    assert_eq!(inside(cluster, "attacker", masked), "", "masked paths are empty");
    let writes = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/drop_caches \
                    /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run /proc/irq/default_smp_affinity; do \
                    [ -e $f ] && (echo 1 > $f) 2>/dev/null && echo wrote $f; done";
    assert_eq!(inside(cluster, "attacker", writes), "", "kernel settings are read-only");
    let devices = inside(cluster, "attacker", "ls /dev | grep -v core | tr '\\n' ' '");
    let wanted =
        "fd full mqueue null ptmx pts random shm stderr stdin stdout termination-log tty urandom zero ";
    assert_eq!(devices, wanted, "the devices of containerd's default");
    // Nodes of any device can be made; using one is what the device rules forbid.
    let disk = "rm -f /tmp/d; mknod /tmp/d b 254 0 && head -c1 /tmp/d 2>&1; mknod /tmp/m c 1 1 && head -c1 /tmp/m 2>&1; \
                mknod /tmp/t c 10 200 && head -c1 /tmp/t 2>&1";
    let refused = inside(cluster, "attacker", disk);
    assert_eq!(refused.matches("Operation not permitted").count(), 3, "{refused}");
    let status =
        inside(cluster, "attacker", "grep -E 'Cap(Eff|Bnd|Amb|Inh)|Seccomp:|NoNewPrivs' /proc/self/status");
    for line in
        ["CapInh:\t0000000000000000", "CapEff:\t00000000a80425fb", "CapBnd:\t00000000a80425fb", "Seccomp:\t2"]
    {
        assert!(status.contains(line), "{line} in {status}");
    }
    let processes = inside(cluster, "attacker", "ps -eo args= | grep -vE '^(sleep|bash|ps|grep) ?'");
    assert_eq!(processes, "", "no processes but the container's");
    let own = inside(cluster, "attacker", "ls /proc/1/root/ | tr '\\n' ' '; ls / | tr '\\n' ' '");
    assert_eq!(own[..own.len() / 2], own[own.len() / 2..], "the first process has the container's root");
}

fn users_are_as_asked(cluster: &Cluster) {
    let script = "id -u; id -g; grep -E 'Groups|NoNewPrivs|CapBnd' /proc/self/status";
    let text = inside(cluster, "strict", script);
    assert!(text.starts_with("1000\n3000\n"), "{text}");
    for line in ["Groups:\t3000 4000", "NoNewPrivs:\t1", "CapBnd:\t0000000000000000"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let user = cluster.k("get pod strict -o jsonpath={.status.containerStatuses[0].user.linux}");
    let user: serde_json::Value = serde_json::from_str(&user).unwrap();
    assert_eq!(user, serde_json::json!({"uid": 1000, "gid": 3000, "supplementalGroups": [3000, 4000]}));
}

fn the_pods_own_limits(cluster: &Cluster) {
    for container in ["bounded/first", "bounded/second"] {
        let script = format!("cd /sys/fs/cgroup; for f in {LIMIT}; do [ -e $f ] && cat $f; done");
        assert_eq!(inside(cluster, container, &script), "100663296\n", "the pod's limit bounds {container}");
    }
    let uid = cluster.k("get pod bounded -o jsonpath={.metadata.uid}");
    let find = format!(
        "find /sys/fs/cgroup -path '*/burstable/{uid}/memory.max' -o -path '*/burstable/{uid}/memory.limit_in_bytes' | \
         xargs cat"
    );
    assert_eq!(cluster.sh(&find).ok(), "100663296\n", "both together have no more than the pod");
    let weight = format!(
        "find /sys/fs/cgroup -path '*/burstable/{uid}/cpu.weight' -o -path '*/burstable/{uid}/cpu.shares' | xargs cat"
    );
    assert!(["256\n", "35\n"].contains(&cluster.sh(&weight).ok().as_str()), "{}", cluster.sh(&weight));
}

fn shared_processes(cluster: &Cluster) {
    assert_eq!(inside(cluster, "share/b", "cat /proc/1/comm"), "pause\n");
    let signal =
        "kill -HUP $(ps -eo pid=,args= | grep '[r]eloaded' | while read pid rest; do echo $pid; break; done)";
    inside(cluster, "share/b", signal);
    let mut log = cluster.kubectl_command(Kubectl::New, "logs share -c a --follow");
    let mut log = log.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(log.stdout.take().unwrap()).read_line(&mut line).unwrap();
    log.kill().unwrap();
    log.wait().unwrap();
    assert_eq!(line, "reloaded\n", "a neighbour's signal arrives");
    // A debugger sees its target, in a pod whose containers have process namespaces of their own.
    let debug = "debug attacker --image=luksa/kubia --image-pull-policy=IfNotPresent --target=main --container=debugger -- \
                 cat /proc/1/cmdline";
    cluster.k(debug);
    let ended = "wait pod/attacker --timeout=60s --for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0";
    cluster.k(ended);
    assert_eq!(cluster.k("logs attacker -c debugger").trim_end(), "sleep\x001000\0");
}

#[test]
fn user_namespaces_hold() {
    let cluster = Cluster::up();
    let directory = cluster.host().directory().join("shared");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("file"), "of the node").unwrap();
    cluster.apply(&APART.replace("DIRECTORY", directory.to_str().unwrap()));
    cluster.k("wait pod/apart pod/open --for=condition=Ready --timeout=90s");
    let first = ids_are_its_own(&cluster, "apart");
    assert_ne!(first, ids_are_its_own(&cluster, "open"), "no two pods have the same IDs");
    volumes_have_their_owners(&cluster);
    let user = cluster.k("get pod apart -o jsonpath={.status.containerStatuses[0].user.linux}");
    let user: serde_json::Value = serde_json::from_str(&user).unwrap();
    assert_eq!(user, serde_json::json!({"uid": 1000, "gid": 3000, "supplementalGroups": [3000, 2000]}));
    assert_eq!(cluster.k("logs apart -c main"), "out\n");
    let connect = "exec 3<>/dev/tcp/$KUBERNETES_SERVICE_HOST/$KUBERNETES_SERVICE_PORT && echo connected";
    assert_eq!(inside(&cluster, "apart", connect), "connected\n");
    let handler = "get node -o jsonpath={.items[0].status.runtimeHandlers[0].features.userNamespaces}";
    assert_eq!(cluster.k(handler), "true");

    assert_eq!(inside(&cluster, "open", "cat /proc/1/comm"), "pause\n");
    let masked = "grep -E ' /proc/[^ ]+ ' /proc/self/mountinfo";
    assert_eq!(inside(&cluster, "open", masked), "", "nothing of /proc is masked");
    let settings = "cd /proc/sys; for f in net/ipv4/ip_forward kernel/core_pattern vm/drop_caches kernel/panic; do \
                    (echo 1 > $f) 2>/dev/null && echo wrote $f; done";
    assert_eq!(inside(&cluster, "open", settings), "wrote net/ipv4/ip_forward\n", "its own, not the node's");
    let debug = "debug apart --image=luksa/kubia --image-pull-policy=IfNotPresent --target=main --container=debugger -- \
                 bash -c";
    let mut command = cluster.kubectl_command(Kubectl::New, debug);
    Output::of(command.arg("tr '\\0' ' ' < /proc/1/cmdline; cat /proc/self/uid_map")).ok();
    let ended = "wait pod/apart --timeout=60s --for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0";
    cluster.k(ended);
    let log = cluster.k("logs apart -c debugger");
    assert!(log.starts_with("sleep 1000 ") && log.contains(&first), "{log}");

    let processes = cluster.host().processes();
    let server = processes.iter().find(|line| line.contains("skiff server")).unwrap();
    let pid = server.split_whitespace().next().unwrap();
    let gone = format!("for i in {{1..500}}; do [ -e /proc/{pid} ] || exit 0; sleep 0.01; done; exit 1");
    cluster.sh(&format!("kill -9 {pid}; {gone}")).ok();
    cluster.start();
    assert_eq!(ids_are_its_own(&cluster, "apart"), first, "a server after this one finds the same");
    volumes_have_their_owners(&cluster);
}

#[test]
fn a_pod_with_a_user_namespace_is_reached_like_others() {
    let cluster = Cluster::up();
    cluster.apply(SERVED);
    cluster.k("wait pod/served --for=condition=Ready --timeout=90s");
    let first = ids_are_its_own(&cluster, "served");
    for (client, port) in [(Kubectl::New, 7070), (Kubectl::Old, 7071)] {
        attached(&cluster, client);
        forwarded(&cluster, client, port);
    }
    let privileges = "id -u; while read name value; do [ $name = CapEff: ] && echo $value; done < /proc/self/status; \
                      (echo 1 > /proc/sys/net/ipv4/ip_forward) && echo forwards; \
                      for f in kernel/panic vm/swappiness; do (echo 1 > /proc/sys/$f) 2>/dev/null && echo wrote $f; done; \
                      mknod /null c 1 3 2>/dev/null && echo made; \
                      for d in /dev/*; do [ -b $d ] && head -c1 $d >/dev/null 2>&1 && echo read $d; done";
    let all = cluster.sh("grep CapBnd /proc/self/status | cut -f2").ok();
    let own = format!("0\n{all}forwards\n");
    assert_eq!(inside(&cluster, "served", privileges), own, "everything, in its own namespaces only");

    assert_eq!(inside(&cluster, "served", "touch /layer && ls /layer"), "/layer\n");
    // `kill` shares its fate if the kernel is faster.
    let killed = cluster.kubectl(Kubectl::New, "exec served -c main -- kill 1");
    assert!(matches!(killed.code, Some(0 | 137)), "{killed}");
    let again = "wait pod/served --timeout=60s --for=jsonpath={.status.containerStatuses[0].restartCount}=1";
    cluster.k(again);
    cluster.k("wait pod/served --for=condition=Ready --timeout=60s");
    assert_eq!(
        ids_are_its_own(&cluster, "served"),
        first,
        "a container that is started again has the same IDs"
    );
    assert_eq!(inside(&cluster, "served", "ls /layer 2>/dev/null; id -u"), "0\n", "and files of its own");
    forwarded(&cluster, Kubectl::New, 7072);
}

/// Types a line to the second container of [`SERVED`] and reads what it says to it.
fn attached(cluster: &Cluster, client: Kubectl) {
    let mut command = cluster.kubectl_command(client, "attach served -c talk -i");
    let mut attach = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    attach.stdin.as_mut().unwrap().write_all(b"a line\n").unwrap();
    let mut line = String::new();
    BufReader::new(attach.stdout.take().unwrap()).read_line(&mut line).unwrap();
    attach.kill().unwrap();
    attach.wait().unwrap();
    assert_eq!(line, "got a line\n", "{client:?}");
}

/// Asks the server of [`SERVED`] through a port of the client's machine.
fn forwarded(cluster: &Cluster, client: Kubectl, port: u16) {
    let mut command = cluster.kubectl_command(client, &format!("port-forward pod/served {port}:8080"));
    let mut forward = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Kept open: kubectl ends when it cannot say what it forwards.
    let mut output = BufReader::new(forward.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let answer = cluster.sh(&format!("curl -sS http://127.0.0.1:{port}"));
    forward.kill().unwrap();
    forward.wait().unwrap();
    assert!(line.contains(&format!("Forwarding from 127.0.0.1:{port} -> 8080")), "{client:?}: {line}");
    assert_eq!(answer.ok(), "You've hit served\n", "{client:?}");
}

/// Checks what a pod's processes are on the node; returns the first of its IDs there.
fn ids_are_its_own(cluster: &Cluster, pod: &str) -> String {
    let map = inside(cluster, pod, "cat /proc/self/uid_map /proc/self/gid_map");
    let maps: Vec<Vec<&str>> = map.lines().map(|line| line.split_whitespace().collect()).collect();
    let first: u32 = maps[0][1].parse().unwrap();
    assert_eq!(maps, [["0", maps[0][1], "65536"], ["0", maps[0][1], "65536"]]);
    assert!(first >= 65_536 && first.is_multiple_of(65_536), "{first}");
    let uid = cluster.k(&format!("get pod {pod} -o jsonpath={{.metadata.uid}}"));
    let processes = format!(
        "find /sys/fs/cgroup -path '*/{uid}/*/cgroup.procs' | xargs cat | sort -u | while read pid; do \
           stat -c %u /proc/$pid; done 2>/dev/null"
    );
    let users = cluster.sh(&processes).ok();
    let own = users.lines().map(|user| user.parse::<u32>().unwrap());
    assert!(users.lines().count() >= 1 && own.clone().all(|user| user / 65_536 == first / 65_536), "{users}");
    first.to_string()
}

fn volumes_have_their_owners(cluster: &Cluster) {
    let owners = "stat -L -c '%n %u:%g' /etc/hosts /etc/resolv.conf /settings/key /hidden /hidden/key /disk /memory /node/file \
                  /var/run/secrets/kubernetes.io/serviceaccount/token /dev/termination-log";
    let expected = "/etc/hosts 0:0\n/etc/resolv.conf 0:0\n/settings/key 0:2000\n/hidden 0:2000\n/hidden/key 0:2000\n\
                    /disk 0:2000\n/memory 0:2000\n/node/file 0:0\n\
                    /var/run/secrets/kubernetes.io/serviceaccount/token 0:2000\n/dev/termination-log 0:0\n";
    assert_eq!(inside(cluster, "apart/main", owners), expected);
    let use_them = "cat /settings/key /hidden/key; echo; touch /disk/f /memory/f && stat -c %u:%g /disk/f /memory/f; \
                    (echo > /node/file) 2>/dev/null && echo wrote; echo > /dev/termination-log && echo ended; \
                    test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token";
    let used = "valuesecret\n1000:2000\n1000:2000\nended\ntoken\n";
    assert_eq!(inside(cluster, "apart/main", use_them), used);
    // Its root may what root may with the files of the node's path that the pod was given, and nothing else.
    let as_root = "id -u; echo more >> /node/file && echo wrote; stat -c %u:%g /disk/f";
    assert_eq!(inside(cluster, "apart/root", as_root), "0\nwrote\n1000:2000\n");
}
