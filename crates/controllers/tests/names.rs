//! Cluster DNS against the real API server and controllers.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Cluster, pod, service};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use serde_json::json;
use skiff_apiserver::UserInfo;
use skiff_dns::DnsConfig;
use tokio::net::UdpSocket;

/// Addresses on loopback that are free now.
fn free_address() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> String {
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(server).await.unwrap();
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    client.send(&message.to_vec().unwrap()).await.unwrap();
    let mut buffer = vec![0; 512];
    let received = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
    let length = received.expect("an answer in time").unwrap();
    let message = Message::from_vec(&buffer[..length]).unwrap();
    let mut answers: Vec<_> = message.answers.iter().map(|record| record.data.to_string()).collect();
    answers.sort();
    format!("{:?} {}", message.metadata.response_code, answers.join(" "))
}

async fn is_ready(address: SocketAddr) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return false };
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn names_follow_services_and_pods() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let web: Service = cluster.create(service("web")).await;
    let mut headless = service("db");
    headless["spec"]["clusterIP"] = "None".into();
    headless["spec"]["ports"] = json!([{"name": "web", "port": 80, "targetPort": "web"}]);
    cluster.create::<Service>(headless).await;
    let mut bound = pod("db-0", "db");
    bound["spec"]["nodeName"] = "n1".into();
    bound["spec"]["hostname"] = "db-0".into();
    bound["spec"]["subdomain"] = "db".into();
    cluster.create::<Pod>(bound).await;
    cluster.run_pod("db-0", "10.244.0.5", true).await;
    let ready = |slice: &EndpointSlice| {
        slice.name_any().starts_with("db-") && slice.endpoints.as_ref().is_some_and(|all| !all.is_empty())
    };
    cluster.until::<EndpointSlice>("default", |all| all.iter().any(ready)).await;

    let config = DnsConfig {
        client: cluster.server.client(UserInfo::service_account("kube-system", "coredns"), "coredns"),
        zone: "cluster.local".into(),
        listen: free_address(),
        upstream: "/nonexistent".into(),
        health: free_address(),
        ready: free_address(),
    };
    let (server, probe) = (config.listen, config.ready);
    let shutdown = cluster.shutdown.clone();
    tokio::spawn(async move { skiff_dns::run(config, shutdown).await.unwrap() });
    // The readiness endpoint is what a kubelet polls, too.
    while !is_ready(probe).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let address = web.spec.unwrap().cluster_ip.unwrap();
    assert_eq!(
        ask(server, "web.default.svc.cluster.local.", RecordType::A).await,
        format!("NoError {address}")
    );
    assert_eq!(
        ask(server, "kubernetes.default.svc.cluster.local.", RecordType::A).await,
        "NoError 10.96.0.1"
    );
    assert_eq!(ask(server, "db.default.svc.cluster.local.", RecordType::A).await, "NoError 10.244.0.5");
    assert_eq!(ask(server, "db-0.db.default.svc.cluster.local.", RecordType::A).await, "NoError 10.244.0.5");
    let srv = ask(server, "_web._tcp.db.default.svc.cluster.local.", RecordType::SRV).await;
    assert_eq!(srv, "NoError 0 100 8080 db-0.db.default.svc.cluster.local.");
    let ptr = ask(server, "1.0.96.10.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(ptr, "NoError kubernetes.default.svc.cluster.local.");
    assert_eq!(ask(server, "missing.default.svc.cluster.local.", RecordType::A).await, "NXDomain ");
    assert_eq!(ask(server, "example.org.", RecordType::A).await, "ServFail ");
}
