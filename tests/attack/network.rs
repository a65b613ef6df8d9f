//! Other programs of the machine take the network away, and clients hold on to what is gone: Services go on working.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use skiff_tests::{Cluster, Kubectl, Output};

/// Attempts that a client makes, each of a second at most.
const ATTEMPTS: usize = 30;

/// A client in a pod that asks the cluster's DNS, with one UDP socket for all its questions.
struct Client {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    fn start(cluster: &Cluster, pod: &str) -> Self {
        // The name has no label of ten bytes: bash would send a datagram for each line.
        let question = r"\x53\x46\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08kube-dns\x0bkube-system\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";
        let script = format!(
            "exec 3<>/dev/udp/10.96.0.10/53; echo begin; \
             while read -r; do printf '{question}' >&3; timeout 1 head -c 12 <&3 | wc -c; done 2>/dev/null"
        );
        let mut command = cluster.kubectl_command(Kubectl::New, &format!("exec -i {pod} -- bash -c"));
        let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut client = Self { child, questions, answers };
        assert_eq!(client.line(), "begin");
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn is_answered(&mut self) -> bool {
        self.questions.write_all(b"\n").unwrap();
        self.line() == "12"
    }

    /// Asks until it is answered, or until it is not any more.
    fn until(&mut self, answered: bool, when: &str) {
        assert!((0..ATTEMPTS).any(|_| self.is_answered() == answered), "answered: {}, {when}", !answered);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // kubectl ends with its input, too; this is for a test that has failed.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Waits for an event with this reason and returns its message.
fn event(cluster: &Cluster, reason: &str) -> String {
    let arguments = format!(
        "get events --field-selector involvedObject.kind=Node,reason={reason} --watch --request-timeout=60s \
         --no-headers -o custom-columns=MESSAGE:.message"
    );
    let mut command = cluster.kubectl_command(Kubectl::New, &arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!line.is_empty(), "no event {reason}");
    line
}

#[test]
fn what_other_programs_take_from_the_network_comes_back() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let (pods, ip) = (cluster.pods(), cluster.cluster_ip("kubia"));
    let works = |when: &str| {
        let curl = format!("exec {} -- curl -sS --max-time 1 http://{ip}", pods[0]);
        let answered = |_| cluster.kubectl(Kubectl::New, &curl).stdout.starts_with("You've hit");
        assert!((0..ATTEMPTS).any(answered), "{when}: no answer through the ClusterIP");
        let from_node =
            cluster.sh(&format!("curl -sS --retry 9 --retry-all-errors --max-time 1 http://{ip}"));
        assert!(from_node.ok().starts_with("You've hit"), "{when}: from the node");
    };
    works("first");
    let damages = [
        "nft flush ruleset",
        "nft flush chain ip skiff prerouting",
        "ip route flush table main",
        "ip addr flush dev skiff0",
        "ip link del skiff0",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
        "for link in $(ip -o link | grep -o 'skiff-[0-9a-f]*' | sort -u); do ip link del $link; done",
    ];
    for damage in damages {
        cluster.sh(damage).ok();
        works(damage);
    }
    let table = event(&cluster, "ServiceTableRestored");
    assert!(table.contains("nft"), "{table}");
    assert!(event(&cluster, "NetworkRestored").contains("route to 10.96.0.0/12"));
    // What went while the server was away comes back with the next one, and the pods that it finds are guarded.
    let processes = cluster.host().processes();
    let server = processes.iter().find(|line| line.contains("skiff server")).unwrap();
    let pid = server.split_whitespace().next().unwrap();
    let gone = format!("for i in {{1..500}}; do [ -e /proc/{pid} ] || exit 0; sleep 0.01; done; exit 1");
    let link = "ip link del $(ip -o link | grep -o 'skiff-[0-9a-f]*' | head -1)";
    cluster.sh(&format!("kill -9 {pid}; {gone}")).ok();
    cluster.sh(&format!("nft flush ruleset; {link}")).ok();
    cluster.start();
    works("removed while there was no server");
    cluster.sh(link).ok();
    works("after a restart of the server");
}

#[test]
fn clients_that_keep_their_udp_socket_follow_the_service() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let mut client = Client::start(&cluster, &cluster.pods()[0]);
    client.until(true, "first");
    // The pod that answers is replaced by another.
    let pods = "-n kube-system -l k8s-app=kube-dns";
    let before = cluster.k(&format!("get pods {pods} -o name"));
    cluster.k(&format!("delete pods {pods} --timeout=60s"));
    client.until(true, "its pod is replaced");
    assert_ne!(cluster.k(&format!("get pods {pods} -o name")), before);
    // The Service loses its endpoints, and gets them back; the pod lives on.
    let select = |app: &str| {
        let patch = format!(r#"{{"spec":{{"selector":{{"k8s-app":"{app}"}}}}}}"#);
        let mut command = cluster.kubectl_command(Kubectl::New, "-n kube-system patch service kube-dns -p");
        Output::of(command.arg(patch)).ok();
    };
    select("nobody");
    client.until(false, "no endpoints");
    select("kube-dns");
    client.until(true, "endpoints again");
    // It is deleted; the pod lives on.
    cluster.k("-n kube-system delete service kube-dns");
    client.until(false, "deleted");
}
