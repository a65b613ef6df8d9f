//! Any process of skiff may be killed at any time: what was accepted stays, pods and connections go on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use skiff_tests::{Cluster, Kubectl};

/// Kills the process of this host whose command line contains `mark`, and waits until it is gone.
fn kill(cluster: &Cluster, mark: &str) {
    let processes = cluster.host().processes();
    let lines: Vec<&String> = processes.iter().filter(|line| line.contains(mark)).collect();
    let [line] = lines[..] else { panic!("one process {mark} in {processes:#?}") };
    let pid = line.split_whitespace().next().unwrap();
    let gone = format!("for i in {{1..500}}; do [ -e /proc/{pid} ] || exit 0; sleep 0.01; done; exit 1");
    cluster.sh(&format!("kill -9 {pid}; {gone}")).ok();
}

const SERVER: &str = "skiff server";

/// What must not change: each pod's identity, address, container, restarts, readiness, and start of the container.
fn pods(cluster: &Cluster) -> String {
    let columns = [
        "UID:.metadata.uid",
        "NAME:.metadata.name",
        "IP:.status.podIP",
        "CONTAINER:.status.containerStatuses[*].containerID",
        "RESTARTS:.status.containerStatuses[*].restartCount",
        "READY:.status.containerStatuses[*].ready",
        "STARTED:.status.containerStatuses[*].state.running.startedAt",
    ];
    cluster.k(&format!("get pods -A --no-headers -o custom-columns={}", columns.join(",")))
}

/// Processes of pods: supervisors and containers, by process id.
fn pod_processes(cluster: &Cluster) -> BTreeSet<String> {
    let mine = |line: &String| line.contains("pod-supervisor") || line.ends_with(" kubia");
    cluster.host().processes().into_iter().filter(mine).collect()
}

/// A program that answers each line of its input with one of its output.
struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Dialogue {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    fn line(&mut self) -> String {
        self.output.next().expect("the program goes on").unwrap()
    }

    fn ask(&mut self) -> String {
        self.input.as_ref().unwrap().write_all(b"\n").unwrap();
        self.line()
    }

    /// Closes its input and waits for its end.
    fn finish(mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// One connection that stays open; each question is an HTTP request on it.
fn connection(cluster: &Cluster, netns: Option<&str>, ip: &str) -> Dialogue {
    let script = format!(
        r"exec 3<>/dev/tcp/{ip}/80 || exit 1
        while read -r; do
            printf 'GET / HTTP/1.1\r\nHost: kubia\r\n\r\n' >&3
            while read -r -t 10 line <&3; do
                case $line in You*) echo $line; continue 2;; esac
            done
            exit 1
        done"
    );
    // The node's own network has a path like any pod's.
    let netns = netns.unwrap_or("/proc/self/ns/net");
    Dialogue::start(cluster.host().command("nsenter").args([
        &format!("--net={netns}"),
        "bash",
        "-c",
        &script,
    ]))
}

/// Thirty new connections, from the node and from a pod's network.
fn new_connections_work(cluster: &Cluster, netns: &str, ip: &str) {
    let curls = format!("for i in {{1..30}}; do curl -sS -m 5 http://{ip} || exit 1; done");
    for script in [curls.clone(), format!("nsenter --net={netns} bash -c '{curls}'")] {
        let text = cluster.sh(&script).ok();
        assert_eq!(text.matches("You've hit kubia-").count(), 30, "{text}");
    }
}

fn netns(cluster: &Cluster, pod: &str) -> String {
    let uid = cluster.k(&format!("get pod {pod} -o jsonpath={{.metadata.uid}}"));
    cluster.run_dir().join("netns").join(uid).display().to_string()
}

/// Exec, logs and the controllers work, and there are no more pods than wanted.
fn everything_works(cluster: &Cluster) {
    let names = cluster.pods();
    assert_eq!(names.len(), 3);
    for pod in &names {
        assert_eq!(cluster.k(&format!("exec {pod} -- hostname")), format!("{pod}\n"));
        assert!(cluster.k(&format!("logs {pod}")).starts_with("Kubia server starting...\n"));
    }
    let text = cluster.k(&format!("exec {} -- curl -sS http://kubia", names[0]));
    assert!(text.starts_with("You've hit kubia-"), "{text}");
}

#[test]
fn a_killed_server_leaves_pods_and_connections_alone() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let ip = cluster.cluster_ip("kubia");
    let names = cluster.pods();
    let netns = netns(&cluster, &names[0]);
    let mut from_node = connection(&cluster, None, &ip);
    let mut from_pod = connection(&cluster, Some(&netns), &ip);
    let hits = [from_node.ask(), from_pod.ask()];
    let (before, processes) = (pods(&cluster), pod_processes(&cluster));
    for _ in 0..2 {
        kill(&cluster, SERVER);
        assert_eq!([from_node.ask(), from_pod.ask()], hits, "open connections, while the server is down");
        new_connections_work(&cluster, &netns, &ip);
        cluster.start();
        assert_eq!([from_node.ask(), from_pod.ask()], hits, "open connections, after its return");
        new_connections_work(&cluster, &netns, &ip);
        assert_eq!(pods(&cluster), before);
        everything_works(&cluster);
        assert_eq!(pods(&cluster), before);
        assert_eq!(pod_processes(&cluster), processes, "the same processes");
    }
    // A pod that ends later is replaced as ever.
    cluster.k(&format!("delete pod {} --wait=true", names[0]));
    cluster.wait_ready_replicas(3);
    everything_works(&cluster);
}

#[test]
fn a_killed_supervisor_leaves_its_containers_alone() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let ip = cluster.cluster_ip("kubia");
    let pod = cluster.pods()[0].clone();
    let uid = cluster.k(&format!("get pod {pod} -o jsonpath={{.metadata.uid}}"));
    let pod_ip = cluster.k(&format!("get pod {pod} -o jsonpath={{.status.podIP}}"));
    let before = pods(&cluster);
    let mut open = connection(&cluster, None, &ip);
    let hit = open.ask();
    // The second time it is a successor that dies; the third time nobody is there to start one.
    for server_dies in [false, false, true] {
        if server_dies {
            kill(&cluster, SERVER);
        }
        kill(&cluster, &uid);
        cluster.sh(&format!("curl -sS -m 5 http://{pod_ip}:8080")).ok();
        assert_eq!(open.ask(), hit);
        if server_dies {
            cluster.start();
        }
        // Nobody waits for the successor: what comes before it is done by it.
        let lines = cluster.k(&format!("logs {pod}")).lines().count();
        cluster.sh(&format!("curl -sS -m 5 http://{pod_ip}:8080")).ok();
        let mut follow =
            Dialogue::start(&mut cluster.kubectl_command(Kubectl::New, &format!("logs -f {pod}")));
        for _ in 0..=lines {
            follow.line();
        }
        everything_works(&cluster);
        assert_eq!(pods(&cluster), before);
    }
    // The end of a container that is not the supervisor's child.
    // `kill` shares its fate if the kernel is faster.
    let killed = cluster.kubectl(Kubectl::New, &format!("exec {pod} -- kill 1"));
    assert!(matches!(killed.code, Some(0 | 137)), "{killed}");
    let restarted = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
    cluster.k(&format!("wait pod/{pod} --timeout=30s {restarted}"));
    cluster.wait_ready_replicas(3);
    assert!(cluster.k(&format!("logs --previous {pod}")).starts_with("Kubia server starting...\n"));
    everything_works(&cluster);
}

/// A pod that does not end when it is asked to.
const STUBBORN: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: luksa/kubia, command: [bash, -c, "trap '' TERM; while :; do sleep 0.1; done"]}
"#;

#[test]
fn a_pod_whose_supervisor_hangs_is_deleted_and_holds_up_no_other() {
    let cluster = Cluster::up();
    cluster.apply(STUBBORN);
    cluster.k("run other --image=luksa/kubia");
    cluster.k("wait pod/stubborn pod/other --for=condition=Ready --timeout=60s");
    let uid = cluster.k("get pod stubborn -o jsonpath={.metadata.uid}");
    let of_it = |line: &&String| line.contains("pod-supervisor") && line.contains(&uid);
    let processes = cluster.host().processes();
    let supervisor = processes.iter().find(of_it).unwrap().split_whitespace().next().unwrap();
    cluster.sh(&format!("kill -STOP {supervisor}")).ok();
    cluster.k("delete pod stubborn --wait=false");
    cluster.k("delete pod other --now --timeout=30s");
    cluster.k("run next --image=luksa/kubia");
    cluster.k("wait pod/next --for=condition=Ready --timeout=30s");
    cluster.k("wait pod/stubborn --for=delete --timeout=60s");
    assert_eq!(cluster.host().processes().iter().filter(of_it).count(), 0, "its supervisor is gone, too");
    let trapped = cluster.host().processes().into_iter().filter(|line| line.contains("trap '' TERM")).count();
    assert_eq!(trapped, 0, "nothing of it runs");
}

/// What there is when an agent is killed just after it has ended a sandbox, and just after it has made a volume: the next one clears
/// it away with the pod, and with the claim.
#[test]
fn what_a_killed_agent_had_no_time_to_free_is_freed() {
    let cluster = Cluster::up();
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: ended}, spec: {restartPolicy: Never, \
         containers: [{name: c, image: luksa/kubia, command: ['true']}]}}",
    );
    cluster.k("wait pod/ended --timeout=60s --for=jsonpath={.status.phase}=Succeeded");
    let uid = cluster.k("get pod ended -o jsonpath={.metadata.uid}");
    let gone = |path: &str| {
        cluster.sh(&format!("for i in {{1..300}}; do [ -e {path} ] || exit 0; sleep 0.1; done; exit 1")).ok();
    };
    let address = format!("run/network/{uid}");
    gone(&address);
    kill(&cluster, SERVER);
    let left = format!(
        "echo 10.244.0.77 >{address}; mkdir -p data/making data/volumes/pvc-x; touch data/making/pvc-x data/volumes/pvc-x/new"
    );
    cluster.sh(&left).ok();
    cluster.start();
    cluster.k("delete pod ended --timeout=60s");
    for path in [&*address, "data/volumes/pvc-x", "data/making/pvc-x"] {
        gone(path);
    }
}

/// Creates ConfigMaps and Services one after the other and prints the name of each that was accepted.
fn writer(cluster: &Cluster, name: &str) -> Dialogue {
    let script = format!(
        r#"{}
        for ((i = 0; ; i++)); do
            [ "$(post configmaps '{{"metadata":{{"name":"{name}-'$i'"}},"data":{{"i":"'$i'"}}}}')" = 201 ] \
                && echo "configmap/{name}-$i"
            [ "$(post services '{{"metadata":{{"name":"{name}-'$i'"}},"spec":{{"ports":[{{"port":80}}]}}}}')" = 201 ] \
                && echo "service/{name}-$i"
        done"#,
        skiff_tests::poster(name)
    );
    Dialogue::start(&mut cluster.shell(&script))
}

#[test]
fn every_accepted_write_survives() {
    const WRITERS: usize = 3;
    const ROUNDS: usize = 5;
    let cluster = Cluster::empty();
    let mut writers: Vec<Dialogue> = (0..WRITERS).map(|i| writer(&cluster, &format!("w{i}"))).collect();
    let mut accepted = BTreeSet::new();
    for round in 0..ROUNDS {
        for writer in &mut writers {
            accepted.extend((0..=round).map(|_| writer.line()));
        }
        kill(&cluster, SERVER);
        cluster.start();
    }
    for writer in &mut writers {
        accepted.extend((0..20).map(|_| writer.line()));
    }
    let names = cluster.k("get configmaps,services -o name");
    let there: BTreeSet<String> = names.lines().map(str::to_owned).collect();
    let lost: Vec<&String> = accepted.difference(&there).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let addresses = cluster.k("get services -o jsonpath={.items[*].spec.clusterIP}");
    let all: Vec<&str> = addresses.split_whitespace().collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "no address was given twice");
}

/// Server and agent die while pods are being made: each pod ends up with one sandbox, one container, no restart.
#[test]
fn a_server_killed_while_pods_start_starts_nothing_twice() {
    let cluster = Cluster::up();
    cluster.k("run first --image=luksa/kubia --restart=Never");
    cluster.k("wait pod/first --for=condition=Ready --timeout=30s");
    cluster.create_kubia_unready();
    for replicas in 4..9 {
        cluster.k(&format!("scale rc kubia --replicas={replicas}"));
        // Each round a little later in the life of the new pod.
        cluster.sh(&format!("sleep 0.0{}", (replicas - 4) * 2)).ok();
        kill(&cluster, SERVER);
        cluster.start();
    }
    cluster.wait_ready_replicas(8);
    let text = cluster.k("get pods -l app=kubia --no-headers");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.len() == 8 && rows.iter().all(|row| row[1..4] == ["1/1", "Running", "0"]), "{text}");
    let processes = pod_processes(&cluster);
    let containers = processes.iter().filter(|line| line.ends_with(" kubia")).count();
    assert_eq!(
        (containers, processes.len()),
        (9, 9 + 10),
        "one per pod, and the DNS pod's supervisor: {processes:#?}"
    );
    let ip = cluster.cluster_ip("kubia");
    let text = cluster.sh(&format!("for i in {{1..200}}; do curl -sS -m 5 http://{ip} || exit 1; done")).ok();
    assert_eq!(text.lines().collect::<BTreeSet<_>>().len(), 8, "each pod answers");
}

/// The server dies at each step of its start.
#[test]
fn a_server_killed_while_it_starts_starts_the_next_time() {
    let cluster = Cluster::stopped();
    let mut steps = 0;
    loop {
        let mut command = cluster.skiff_command();
        command.args(["up", "--node-name", "node-1"]).stderr(Stdio::piped());
        let mut up = command.spawn().unwrap();
        let mut lines = BufReader::new(up.stderr.take().unwrap()).lines();
        // The first step is that of `skiff up` itself.
        if lines.nth(steps + 1).is_none_or(|line| line.unwrap().starts_with("skiff is up")) {
            assert!(up.wait().unwrap().success());
            break;
        }
        kill(&cluster, SERVER);
        assert!(!up.wait().unwrap().success());
        steps += 1;
    }
    assert!(steps >= 4, "killed at {steps} steps");
    let dns = cluster.k("get pods -n kube-system --no-headers");
    assert!(dns.lines().count() == 1 && dns.contains("1/1"), "{dns}");
}

/// A process in the foreground; a failing test shows its log.
fn background(cluster: &Cluster, arguments: &str) -> Child {
    let name = arguments.split(' ').next().unwrap();
    let path = cluster.data_dir().with_file_name(format!("{name}.log"));
    let log = File::options().create(true).append(true).open(path).unwrap();
    let mut command = cluster.skiff_command();
    command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

#[test]
fn server_and_agent_are_killed_separately() {
    const AGENT: &str = "skiff agent";
    let cluster = Cluster::stopped();
    let server = || background(&cluster, "server --without-agent --node-name node-1");
    let agent = || background(&cluster, "agent --node-name node-1");
    let answers =
        "for i in {1..300}; do curl -sk https://127.0.0.1:6443/readyz && exit 0; sleep 0.1; done; exit 1";
    let mut children = vec![server(), agent()];
    cluster.sh(answers).ok();
    cluster
        .sh(&format!(
            "for i in {{1..300}}; do [ -s {} ] && exit 0; sleep 0.1; done; exit 1",
            cluster.kubeconfig().display()
        ))
        .ok();
    cluster.k("wait node/node-1 --for=create --timeout=30s");
    cluster.k("wait node/node-1 --for=condition=Ready --timeout=30s");
    // The agent's provisioner has its rights, wherever it is.
    cluster.k("auth can-i create pv --as=system:serviceaccount:kube-system:local-path-provisioner");
    cluster.skiff(["image", "load", &skiff_tests::program("SKIFF_TEST_IMAGE").to_string_lossy()]).ok();
    cluster.create_kubia(Kubectl::New);
    let ready = "wait -n kube-system rc --all --timeout=60s --for=jsonpath={.status.readyReplicas}=1";
    cluster.k(ready);
    let ip = cluster.cluster_ip("kubia");
    let netns = netns(&cluster, &cluster.pods()[0]);
    let mut open = connection(&cluster, Some(&netns), &ip);
    let hit = open.ask();
    let (before, processes) = (pods(&cluster), pod_processes(&cluster));

    kill(&cluster, AGENT);
    assert_eq!(open.ask(), hit);
    new_connections_work(&cluster, &netns, &ip);
    assert_eq!(pods(&cluster), before, "the API still serves");
    children.push(agent());
    let serves = "for i in {1..300}; do curl -sk https://127.0.0.1:10250/ -o /dev/null && exit 0; sleep 0.1; done; exit 1";
    cluster.sh(serves).ok();
    everything_works(&cluster);
    assert_eq!((open.ask(), pods(&cluster)), (hit.clone(), before.clone()));

    kill(&cluster, SERVER);
    assert_eq!(open.ask(), hit);
    new_connections_work(&cluster, &netns, &ip);
    children.push(server());
    cluster.sh(answers).ok();
    everything_works(&cluster);
    cluster.k("scale rc kubia --replicas=4");
    cluster.wait_ready_replicas(4);
    cluster.k("scale rc kubia --replicas=3");
    cluster.wait_ready_replicas(3);
    assert_eq!(open.ask(), hit);
    let kept: BTreeSet<String> = pod_processes(&cluster);
    assert!(
        processes.iter().filter(|line| kept.contains(*line)).count() >= processes.len() - 2,
        "{processes:#?} {kept:#?}"
    );

    // A pod that ends while there is no API to tell, and whose agent is killed then, does not run again.
    let notes = cluster.host().directory().join("notes");
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: once}}, spec: {{restartPolicy: Never, \
         containers: [{{name: c, image: luksa/kubia, volumeMounts: [{{name: notes, mountPath: /notes}}], \
         command: [bash, -c, 'echo ran >>/notes/ran; until [ -e /notes/go ]; do sleep 0.05; done']}}], \
         volumes: [{{name: notes, hostPath: {{path: {}, type: DirectoryOrCreate}}}}]}}}}",
        notes.display()
    ));
    cluster.k("wait pod/once --for=condition=Ready --timeout=60s");
    let uid = cluster.k("get pod once -o jsonpath={.metadata.uid}");
    kill(&cluster, SERVER);
    // As long as an agent would take that clears it away.
    let cleared =
        format!("touch notes/go; for i in {{1..20}}; do [ -e run/pods/{uid} ] || exit 0; sleep 0.1; done");
    cluster.sh(&cleared).ok();
    kill(&cluster, AGENT);
    children.extend([server(), agent()]);
    cluster.sh(answers).ok();
    cluster.k("wait pod/once --timeout=60s --for=jsonpath={.status.phase}=Succeeded");
    assert_eq!(std::fs::read_to_string(notes.join("ran")).unwrap(), "ran\n");

    open.finish();
    cluster.skiff(["down"]).ok();
    for mut child in children {
        child.wait().unwrap();
    }
    assert_eq!(cluster.host().processes(), Vec::<String>::new(), "skiff down ends both");
}
