//! The story, point by point, with the real kubectl.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use skiff_tests::{Cluster, Kubectl, Terminal};

const CLIENTS: [Kubectl; 3] = [Kubectl::New, Kubectl::Old, Kubectl::Skiff];

/// Lines of a table as words.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn row<'a>(rows: &'a [Vec<&'a str>], name: &str) -> &'a [&'a str] {
    rows.iter().find(|row| row.first() == Some(&name)).unwrap_or_else(|| panic!("no row {name} in {rows:?}"))
}

/// Point 2: create from one file, and Kubernetes' own tables.
#[test]
fn create_and_get_all() {
    let cluster = Cluster::up();
    for client in CLIENTS {
        cluster.create_kubia(client);
        let text = cluster.kubectl(client, "get all").ok();
        let rows = table(&text);
        let headers: Vec<&Vec<&str>> = rows.iter().filter(|row| row.first() == Some(&"NAME")).collect();
        assert_eq!(*headers[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"], "{text}");
        assert_eq!(*headers[1], ["NAME", "DESIRED", "CURRENT", "READY", "AGE"], "{text}");
        assert_eq!(*headers[2], ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"], "{text}");
        let pods: Vec<&Vec<&str>> =
            rows.iter().filter(|row| row.first().is_some_and(|n| n.starts_with("pod/kubia-"))).collect();
        assert_eq!(pods.len(), 3, "{text}");
        assert!(pods.iter().all(|pod| pod[1..4] == ["1/1", "Running", "0"]), "{text}");
        assert_eq!(row(&rows, "replicationcontroller/kubia")[1..4], ["3", "3", "3"], "{text}");
        assert_eq!(row(&rows, "service/kubernetes")[1..5], ["ClusterIP", "10.96.0.1", "<none>", "443/TCP"]);
        assert_eq!(row(&rows, "service/kubia")[4], "80/TCP", "{text}");
        cluster.kubectl(client, "delete rc,svc kubia").ok();
        assert_eq!(cluster.k("get rc,svc -l app=kubia -o name"), "");
    }
}

/// Point 3: exec and the ClusterIP, from a pod and from the node.
#[test]
fn every_pod_answers_through_the_cluster_ip() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let pods = cluster.pods();
    let ip = cluster.cluster_ip("kubia");
    // People look with other programs too.
    let rules = cluster.sh("nft list ruleset").ok();
    assert!(rules.contains(&format!("{ip} . tcp . 80 : goto n3")) && !rules.contains("invalid"), "{rules}");
    for client in CLIENTS {
        let answer = cluster.kubectl(client, &format!("exec {} -- curl -s http://{ip}", pods[0])).ok();
        assert!(pods.iter().any(|pod| answer == format!("You've hit {pod}\n")), "{answer:?}");
    }
    let script = format!("for i in {{1..100}}; do curl -sS http://{ip} || exit 1; done");
    let from_pod = {
        let mut command = cluster.kubectl_command(Kubectl::New, &format!("exec {} -- bash -c", pods[0]));
        skiff_tests::Output::of(command.arg(&script)).ok()
    };
    let from_node = cluster.sh(&script).ok();
    for text in [from_pod, from_node] {
        let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
        for line in text.lines() {
            *hits.entry(line.strip_prefix("You've hit ").unwrap()).or_default() += 1;
        }
        assert_eq!(hits.values().sum::<usize>(), 100);
        assert_eq!(hits.keys().copied().collect::<Vec<_>>(), sorted(&pods), "every pod answers: {hits:?}");
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Point 3: with `--` a command's flags reach the command, without it kubectl reads them.
#[test]
fn two_dashes_end_kubectls_flags() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let pod = &cluster.pods()[0];
    for client in CLIENTS {
        let with = cluster.kubectl(client, &format!("exec {pod} -- bash -c exit\\ 0 -s")).code;
        assert_eq!(with, Some(127), "bash looked for the command `exit\\`: its flags reached it");
        // Without the dashes, -s is kubectl's own --server, or the command is refused altogether.
        let without = cluster.kubectl(client, &format!("exec {pod} curl -s http://127.0.0.1:8080"));
        assert_eq!(
            (without.code, without.stdout.as_str()),
            (without.code.filter(|code| *code != 0), ""),
            "{without}"
        );
        let code = cluster.kubectl(client, &format!("exec {pod} -- ls /missing"));
        assert_eq!(code.code, Some(2), "the command's exit code: {code}");
    }
}

/// Point 4: a real terminal.
#[test]
fn exec_it_is_a_real_shell() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let pod = &cluster.pods()[0];
    for client in CLIENTS {
        let mut shell = Terminal::start(&cluster.kubectl_command(client, &format!("exec -it {pod} -- bash")));
        let prompt = format!("root@{pod}:/# ");
        let _greeting = shell.expect(&prompt);
        shell.send("id\r");
        let shown = shell.expect(&prompt);
        assert!(shown.contains("uid=0(root) gid=0(root) groups=0(root)"), "{shown:?}");
        shell.send("stty size; tty\r");
        let shown = shell.expect(&prompt);
        assert!(shown.contains("24 80") && shown.contains("/dev/pts/"), "{shown:?}");
        shell.resize(132, 43);
        // The shell draws its prompt again when the size changes, so what is waited for is a word of its own.
        shell.send("until [ \"$(stty size)\" = '43 132' ]; do sleep 0.05; done; echo re''sized\r");
        let _shown = shell.expect("resized");
        let _shown = shell.expect(&prompt);
        // It says when it runs: a ^C before that would be the shell's.
        shell.send("bash -c \"echo slee''ping; exec sleep 1000\"\r");
        let _echo = shell.expect("sleeping");
        shell.send("\u{3}");
        let shown = shell.expect(&prompt);
        assert!(shown.contains("^C"), "{shown:?}");
        // Line editing: the left arrow moves, so the X goes before the last letter.
        shell.send("echo ab\u{1b}[DX\r");
        let shown = shell.expect(&prompt);
        assert!(shown.contains("aXb"), "{shown:?}");
        shell.send("ls --color=auto -d /tmp\r");
        let shown = shell.expect(&prompt);
        assert!(shown.contains("\u{1b}["), "colours: {shown:?}");
        shell.send("(exit 7)\r");
        let _again = shell.expect(&prompt);
        shell.send("\u{4}");
        assert_eq!(
            shell.finish(),
            Some(7),
            "{client:?}: ^D ends the shell with the last command's exit code"
        );
    }
}

/// Point 4: logs and attach.
#[test]
fn logs_follow_and_attach() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let pod = &cluster.pods()[0];
    for client in CLIENTS {
        assert!(
            cluster.kubectl(client, &format!("logs {pod}")).ok().starts_with("Kubia server starting...\n")
        );
        let mut follow =
            Terminal::start(&cluster.kubectl_command(client, &format!("logs -f --tail=1 {pod}")));
        let ip = cluster.k(&format!("get pod {pod} -o jsonpath={{.status.podIP}}"));
        cluster.sh(&format!("curl -s http://{ip}:8080")).ok();
        let _line = follow.expect("Received request from");
    }
    for client in [Kubectl::New, Kubectl::Old] {
        let mut attach = Terminal::start(&cluster.kubectl_command(client, &format!("attach {pod}")));
        let _hint = attach.expect("If you don't see a command prompt");
        let ip = cluster.k(&format!("get pod {pod} -o jsonpath={{.status.podIP}}"));
        // The streams are connected some time after the hint; requests go on until one shows.
        let curls = format!("for i in {{1..50}}; do curl -s http://{ip}:8080 >/dev/null; sleep 0.1; done");
        cluster.sh(&curls).ok();
        let _line = attach.expect("Received request from");
    }
}

/// Point 5: pods come and go, the ClusterIP stays.
#[test]
fn a_killed_pod_is_replaced_behind_the_same_address() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let ip = cluster.cluster_ip("kubia");
    let before = cluster.pods();
    cluster.k(&format!("delete pod {} --wait=true", before[0]));
    cluster.wait_ready_replicas(3);
    let after = cluster.pods();
    assert_eq!(after.len(), 3);
    assert!(!after.contains(&before[0]));
    assert_eq!(cluster.cluster_ip("kubia"), ip);
    let text = cluster.sh(&format!("for i in {{1..60}}; do curl -sS http://{ip} || exit 1; done")).ok();
    for pod in &after {
        assert!(text.contains(pod.as_str()), "{pod} answers too");
    }
    assert!(!text.contains(before[0].as_str()), "the old pod answers no more");

    // Its process: the container is started again in the same pod. `kill` shares its fate if the kernel is faster.
    let victim = &after[0];
    let killed = cluster.kubectl(Kubectl::New, &format!("exec {victim} -- kill 1"));
    assert!(matches!(killed.code, Some(0 | 137)), "{killed}");
    cluster.k(&format!(
        "wait pod/{victim} --timeout=30s --for=jsonpath={{.status.containerStatuses[0].restartCount}}=1"
    ));
    cluster.wait_ready_replicas(3);
    assert_eq!(cluster.cluster_ip("kubia"), ip);
}

/// Point 5: scale and delete.
#[test]
fn scale_up_down_and_delete() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    for (client, replicas) in [(Kubectl::New, 5), (Kubectl::Old, 2), (Kubectl::Skiff, 4)] {
        cluster.kubectl(client, &format!("scale rc kubia --replicas={replicas}")).ok();
        cluster.wait_ready_replicas(replicas);
    }
    cluster.k("delete rc,svc kubia");
    cluster.k("wait pod -l app=kubia --for=delete --timeout=30s");
    assert_eq!(cluster.k("get all -o name"), "service/kubernetes\n");
}

/// Point 6: environment variables of Services that were there first.
#[test]
fn environment_names_earlier_services_only() {
    let cluster = Cluster::up();
    cluster.k("run early --image=luksa/kubia");
    cluster.k("wait pod/early --for=condition=Ready --timeout=30s");
    cluster.create_kubia(Kubectl::New);
    let ip = cluster.cluster_ip("kubia");
    let late = cluster.pods()[0].clone();
    let environment = |pod: &str| cluster.k(&format!("exec {pod} -- env"));
    let late = environment(&late);
    for line in [
        format!("KUBIA_SERVICE_HOST={ip}"),
        "KUBIA_SERVICE_PORT=80".to_owned(),
        format!("KUBIA_PORT=tcp://{ip}:80"),
        format!("KUBIA_PORT_80_TCP=tcp://{ip}:80"),
        "KUBIA_PORT_80_TCP_PROTO=tcp".to_owned(),
        "KUBIA_PORT_80_TCP_PORT=80".to_owned(),
        format!("KUBIA_PORT_80_TCP_ADDR={ip}"),
        "KUBERNETES_SERVICE_HOST=10.96.0.1".to_owned(),
        "KUBERNETES_SERVICE_PORT=443".to_owned(),
        "KUBERNETES_SERVICE_PORT_HTTPS=443".to_owned(),
    ] {
        assert!(late.lines().any(|l| l == line), "{line} is missing in\n{late}");
    }
    let early = environment("early");
    assert!(!early.contains("KUBIA_"), "{early}");
    assert!(early.contains("KUBERNETES_SERVICE_HOST=10.96.0.1"), "{early}");
}

/// Point 7: names.
#[test]
fn pods_find_services_by_name() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let pod = cluster.pods()[0].clone();
    let dns = cluster.k("get pods -n kube-system -l k8s-app=kube-dns --no-headers");
    assert!(dns.contains("1/1") && dns.contains("Running"), "{dns}");
    let row = cluster.k("get service -n kube-system kube-dns --no-headers");
    assert!(row.contains("10.96.0.10") && row.contains("53/UDP,53/TCP"), "{row}");
    assert_eq!(cluster.k(&format!("exec {pod} -- cat /etc/hostname")), format!("{pod}\n"));
    let resolv = cluster.k(&format!("exec {pod} -- cat /etc/resolv.conf"));
    assert!(resolv.contains("nameserver 10.96.0.10"), "{resolv}");
    assert!(resolv.contains("search default.svc.cluster.local svc.cluster.local cluster.local"), "{resolv}");
    assert!(resolv.contains("options ndots:5"), "{resolv}");

    let names = ["kubia", "kubia.default", "kubia.default.svc", "kubia.default.svc.cluster.local"];
    let hit = |pod: &str, name: &str| {
        cluster.kubectl(Kubectl::New, &format!("exec {pod} -- curl -sS http://{name}"))
    };
    for name in names {
        assert!(hit(&pod, name).ok().starts_with("You've hit kubia-"), "{name}");
    }
    cluster.k("create namespace other");
    cluster.k("run -n other far --image=luksa/kubia");
    cluster.k("wait -n other pod/far --for=condition=Ready --timeout=30s");
    for name in &names[1..] {
        assert!(
            hit("-n other far", name).ok().starts_with("You've hit kubia-"),
            "{name} from another namespace"
        );
    }
    let unknown = hit("-n other far", "kubia").fails();
    assert!(unknown.contains("Could not resolve host"), "{unknown}");
    let reverse = cluster.cluster_ip("kubia");
    let text = cluster.k(&format!("exec {pod} -- nslookup {reverse}"));
    assert!(text.contains("name = kubia.default.svc.cluster.local."), "{text}");
}

/// Point 8: a ClusterIP means something only together with a port.
#[test]
fn a_cluster_ip_answers_only_on_its_ports() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let pod = cluster.pods()[0].clone();
    let ip = cluster.cluster_ip("kubia");
    // A pod that has just reached itself through the Service is told all the same.
    let script =
        "for i in {1..200}; do curl -s http://kubia | grep -q $HOSTNAME && exec ping -c 1 -W 5 kubia; done";
    let mut command = cluster.kubectl_command(Kubectl::New, &format!("exec {pod} -- bash -c"));
    let ping = skiff_tests::Output::of(command.arg(script));
    assert!(ping.stdout.contains(&format!("PING kubia.default.svc.cluster.local ({ip})")), "{ping}");
    assert!(ping.stdout.contains("Destination Port Unreachable"), "{ping}");
    assert_eq!(ping.code, Some(1), "{ping}");

    let refused = |url: &str| {
        let output = cluster.kubectl(Kubectl::New, &format!("exec {pod} -- curl -sS -m 5 {url}"));
        assert_eq!(output.code, Some(7), "connection refused, at once: {output}");
        let output = cluster.sh(&format!("curl -sS -m 5 {url}"));
        assert_eq!(output.code, Some(7), "from the node as well: {output}");
    };
    refused(&format!("http://{ip}:81"));
    cluster.k("create service clusterip empty --tcp=80:8080");
    let empty = cluster.cluster_ip("empty");
    refused(&format!("http://{empty}"));
}
