//! Verbs of kubectl besides those of the story, and the same with `skiff kubectl`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use skiff_tests::{Cluster, Kubectl};

const CLIENTS: [Kubectl; 3] = [Kubectl::New, Kubectl::Old, Kubectl::Skiff];

#[test]
fn run_label_expose_describe_and_delete() {
    let cluster = Cluster::up();
    for client in CLIENTS {
        let k = |arguments: &str| cluster.kubectl(client, arguments).ok();
        k("run web --image=luksa/kubia --port=8080 --labels=app=web");
        cluster.k("wait pod/web --for=condition=Ready --timeout=30s");
        assert!(k("label pod web tier=front").contains("pod/web labeled"));
        assert_eq!(cluster.k("get pods -l tier=front -o name"), "pod/web\n");
        let refused = cluster.kubectl(client, "label pod web tier=back").fails();
        assert!(refused.contains("already has a value (front)"), "{client:?}: {refused}");
        k("label pod web tier-");
        assert_eq!(cluster.k("get pods -l tier -o name"), "");
        assert!(k("expose pod web --port=80 --target-port=8080").contains("service/web exposed"));
        let ip = cluster.cluster_ip("web");
        cluster.k("wait endpoints/web --for=jsonpath={.subsets[0].addresses[0].ip} --timeout=30s");
        let answer =
            cluster.sh(&format!("for i in {{1..50}}; do curl -s http://{ip} && exit 0; done; exit 1"));
        assert_eq!(answer.ok(), "You've hit web\n");
        let described = k("describe pod web");
        assert!(
            described.contains("luksa/kubia") && described.contains("Started"),
            "{client:?}: {described}"
        );
        let described = k("describe service web");
        assert!(described.contains(&ip), "{client:?}: {described}");
        k("delete pod,service web");
        let missing = cluster.kubectl(client, "get pod web").fails();
        assert!(missing.contains("Error from server (NotFound): pods \"web\" not found"), "{missing}");
    }
}

#[test]
fn apply_changes_only_what_changed() {
    let cluster = Cluster::empty();
    let path = cluster.host().directory().join("service.yaml");
    for (number, client) in CLIENTS.into_iter().enumerate() {
        let name = format!("s{number}");
        let manifest = |port: u16| {
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n    name: a\n"
            )
        };
        let apply = |port: u16| {
            std::fs::write(&path, manifest(port)).unwrap();
            cluster.kubectl(client, &format!("apply -f {}", path.display())).ok()
        };
        assert!(apply(80).contains(&format!("service/{name} created")));
        let ip = cluster.cluster_ip(&name);
        assert!(apply(80).contains("unchanged"), "{client:?}");
        assert!(apply(81).contains("configured"), "{client:?}");
        assert_eq!(cluster.cluster_ip(&name), ip, "the address stays");
        assert_eq!(cluster.k(&format!("get service {name} -o jsonpath={{.spec.ports[*].port}}")), "81");
    }
}

#[test]
fn port_forward_reaches_a_pod() {
    let cluster = Cluster::up();
    cluster.k("run web --image=luksa/kubia");
    cluster.k("wait pod/web --for=condition=Ready --timeout=30s");
    for (client, port) in [(Kubectl::New, 7070), (Kubectl::Old, 7071), (Kubectl::Skiff, 7072)] {
        let mut command = cluster.kubectl_command(client, &format!("port-forward pod/web {port}:8080"));
        let mut forward = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // Kept open: kubectl ends when it cannot say what it forwards.
        let mut output = BufReader::new(forward.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert!(line.contains(&format!("Forwarding from 127.0.0.1:{port} -> 8080")), "{client:?}: {line}");
        for _ in 0..3 {
            let answer = cluster.sh(&format!("curl -sS http://127.0.0.1:{port}"));
            assert_eq!(answer.ok(), "You've hit web\n", "{client:?}");
        }
        forward.kill().unwrap();
        forward.wait().unwrap();
    }
}

#[test]
fn explain_and_api_resources_read_the_servers_documents() {
    let cluster = Cluster::empty();
    for client in [Kubectl::New, Kubectl::Old] {
        let text = cluster.kubectl(client, "explain service.spec.clusterIP").ok();
        assert!(text.contains("clusterIP is the IP address of the service"), "{client:?}: {text}");
        let text = cluster.kubectl(client, "api-resources").ok();
        assert!(
            text.contains("replicationcontrollers") && text.contains("endpointslices"),
            "{client:?}: {text}"
        );
        let text = cluster.kubectl(client, "get apiservices").ok();
        let words = |line: &str| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
        let local = ["v1.rbac.authorization.k8s.io", "Local", "True"];
        assert!(text.lines().any(|line| words(line) == local), "{client:?}: {text}");
    }
}
