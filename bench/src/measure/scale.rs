//! Many clients, many Services.

use anyhow::Context;
use skiff_tests::Cluster;

use super::{inside, number, program};
use crate::report::Result as Row;

/// kube-apiserver and etcd on this kind of machine, 64 clients, measured once for comparison.
const UPSTREAM_CREATES: f64 = 1700.0;

pub(crate) fn creates() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::empty();
    let answer = inside(&cluster, &["creates", "64", "5"])?;
    let (rate, p99) = (number(&answer, "perSecond"), number(&answer, "p99") * 1000.0);
    let ratio = rate / UPSTREAM_CREATES;
    Ok(vec![Row {
        promise: "durable creates of 1 KB objects, 64 clients",
        bound: "≥ 5 × upstream's 1,700/s".to_owned(),
        measured: format!("{rate:.0}/s ({ratio:.1} ×), p99 {p99:.0} ms"),
        holds: Some(ratio >= 5.0),
    }])
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
