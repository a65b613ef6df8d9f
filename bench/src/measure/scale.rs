//! Many clients, many Services.

use anyhow::Context;
use serde_json::Value;
use skiff_tests::Cluster;

use super::idle::usage;
use super::{inside, number, program};
use crate::report::{Result as Row, percentile};

/// kube-apiserver and etcd on this kind of machine, 64 clients, measured once for comparison.
const UPSTREAM_CREATES: f64 = 1700.0;

/// How often numbers of clients take turns.
const TURNS: usize = 3;

/// Durable creates by few and many clients in turns, and what one waits for.
pub(crate) fn creates() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::empty();
    let single = inside(&cluster, &["single", "300"])?;
    let (created, read, synced) =
        (number(&single, "create"), number(&single, "get"), number(&single, "sync"));
    let (mut one, mut few, mut many) = (Rates::default(), Rates::default(), Rates::default());
    for _ in 0..TURNS {
        for (rates, clients) in [(&mut one, "1"), (&mut few, "16"), (&mut many, "64")] {
            let before = usage(&cluster)?.seconds();
            let answer = inside(&cluster, &["creates", clients, "3", "config-map"])?;
            rates.add(&answer, usage(&cluster)?.seconds() - before);
        }
    }
    let ratio = many.median() / UPSTREAM_CREATES;
    let told = |promise, rates: &mut Rates| Row::told(promise, rates.told());
    Ok(vec![
        Row::at_most(
            "a create by one client without the round trip of a read, of one fdatasync",
            (created - read) / synced,
            1.3,
            "×",
        ),
        told("durable creates of 1 KB objects, 1 client", &mut one),
        told("durable creates of 1 KB objects, 16 clients", &mut few),
        Row {
            promise: "durable creates of 1 KB objects, 64 clients",
            bound: "≥ 5 × upstream's 1,700/s".to_owned(),
            measured: format!("{} ({ratio:.1} ×)", many.told()),
            holds: Some(ratio >= 5.0),
        },
        Row::at_least("64 clients, of 16", many.median() / few.median(), 1.0, "×"),
        Row::told(
            "processor time of one of these creates",
            format!(
                "{:.0} µs of the server, {:.0} µs of the client",
                percentile(&mut many.server, 50),
                percentile(&mut many.clients, 50)
            ),
        ),
    ])
}

/// Reads by few and many clients, in turns.
pub(crate) fn reads() -> anyhow::Result<Vec<Row>> {
    const KINDS: [(&str, &str); 4] = [
        ("get json", "GETs of a 1 KB object, JSON"),
        ("get protobuf", "GETs of a 1 KB object, protobuf"),
        ("list json", "LISTs of 500 such objects, JSON"),
        ("list protobuf", "LISTs of 500 such objects, protobuf"),
    ];
    const CLIENTS: [&str; 3] = ["1", "16", "64"];
    let cluster = Cluster::empty();
    inside(&cluster, &["prepare"])?;
    let mut rates = vec![Vec::new(); KINDS.len() * CLIENTS.len()];
    for _ in 0..TURNS {
        for (place, clients) in CLIENTS.iter().enumerate() {
            let answer = inside(&cluster, &["reads", clients, "0.7"])?;
            for (kind, (name, _)) in KINDS.iter().enumerate() {
                rates[kind * CLIENTS.len() + place].push(number(&answer, name));
            }
        }
    }
    let rows = KINDS.iter().zip(rates.chunks_mut(CLIENTS.len()));
    Ok(rows
        .map(|((_, promise), rates)| {
            let medians: Vec<String> =
                rates.iter_mut().map(|rates| format!("{:.0}/s", percentile(rates, 50))).collect();
            Row::told(promise, format!("{} with {} clients", medians.join(", "), CLIENTS.join(", ")))
        })
        .collect())
}

/// What some turns measured.
#[derive(Default)]
struct Rates {
    per_second: Vec<f64>,
    p99: Vec<f64>,
    /// Microseconds of processor time for one, of the server and of its client.
    server: Vec<f64>,
    clients: Vec<f64>,
}

impl Rates {
    /// What clients measured while the server worked for so many seconds.
    fn add(&mut self, answer: &Value, server: f64) {
        let each = 1e6 / number(answer, "count");
        self.server.push(server * each);
        self.clients.push(number(answer, "clients") * each);
        self.per_second.push(number(answer, "perSecond"));
        self.p99.push(number(answer, "p99") * 1000.0);
    }

    fn median(&mut self) -> f64 {
        percentile(&mut self.per_second, 50)
    }

    fn told(&mut self) -> String {
        format!("{:.0}/s, p99 {:.0} ms", self.median(), percentile(&mut self.p99, 50))
    }
}

/// One Service, and as many as asked for: latency of a change, and traffic through a ClusterIP against direct.
pub(crate) fn services(services: u32) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::up();
    let pod_ip = start_server(&cluster)?;
    let mut rows = traffic(&cluster, &pod_ip, "1 Service")?;
    rows.extend(changes(&cluster, &pod_ip, "few Services")?);
    let filled = inside(&cluster, &["fill", &services.to_string()])?;
    let seconds = number(&filled, "seconds");
    let rate = f64::from(services) / seconds;
    rows.push(Row::told(
        "Services with 5 endpoints each, created through the API",
        format!("{services} in {seconds:.1} s ({rate:.0}/s)"),
    ));
    rows.extend(changes(&cluster, &pod_ip, "all Services")?);
    rows.extend(traffic(&cluster, &pod_ip, "all Services")?);
    Ok(rows)
}

/// The server's ports: for connections to its own address, through the Service, and through the Services of
/// `changes`. They are apart because a connection through a Service that took the source port of a direct one just
/// closed would meet its TIME_WAIT state in the pod, and wait a second for its SYN to be sent again.
const DIRECT: u16 = 9000;
const THROUGH: u16 = 9001;
const CHANGED: u16 = 9002;

/// A pod that runs this program's server, behind a Service.
fn start_server(cluster: &Cluster) -> anyhow::Result<String> {
    let program = program()?;
    let program = program.to_str().context("the program's path is text")?;
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: server, labels: {{app: server}}}}, spec: {{
            containers: [{{name: c, image: luksa/kubia, command: [/bench, inside, serve, '{DIRECT}', '{THROUGH}', '{CHANGED}'],
                readinessProbe: {{tcpSocket: {{port: {CHANGED}}}, periodSeconds: 1}},
                volumeMounts: [{{name: bench, mountPath: /bench}}]}}],
            volumes: [{{name: bench, hostPath: {{path: {program}, type: File}}}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: server}}, spec: {{selector: {{app: server}}, ports: [{{port: {THROUGH}}}]}}}}"
    ));
    cluster.k("wait pod/server --for=condition=Ready --timeout=30s");
    Ok(cluster.k("get pod server -o jsonpath={.status.podIP}"))
}

fn changes(cluster: &Cluster, pod_ip: &str, scale: &str) -> anyhow::Result<Vec<Row>> {
    let answer = inside(cluster, &["changes", "300", &format!("{pod_ip}:{CHANGED}")])?;
    let (p50, p99) = (number(&answer, "p50"), number(&answer, "p99"));
    Ok(vec![Row {
        promise: "endpoint accepted by the API → in force",
        bound: "p99 ≤ 10 ms".to_owned(),
        measured: format!("p50 {p50:.1} ms, p99 {p99:.1} ms with {scale}"),
        holds: Some(p99 <= 10.0),
    }])
}

fn traffic(cluster: &Cluster, pod_ip: &str, scale: &str) -> anyhow::Result<Vec<Row>> {
    let service = cluster.cluster_ip("server");
    let answer =
        inside(cluster, &["compare", &format!("{pod_ip}:{DIRECT}"), &format!("{service}:{THROUGH}")])?;
    let row = |promise, part: &str, unit: f64, name: &str| {
        let part = &answer[part];
        let (direct, service, ratio) =
            (number(part, "direct") / unit, number(part, "service") / unit, number(part, "ratio"));
        Row {
            promise,
            bound: "≥ 0.98 of direct".to_owned(),
            measured: format!("{ratio:.2} ({service:.1} of {direct:.1} {name}) with {scale}"),
            holds: Some(ratio >= 0.98),
        }
    };
    Ok(vec![
        row("new TCP connections through a ClusterIP", "connections", 1000.0, "k/s"),
        row("TCP throughput through a ClusterIP", "bytes", 1e9 / 8.0, "Gbit/s"),
    ])
}
