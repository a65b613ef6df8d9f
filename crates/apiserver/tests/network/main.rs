//! Over TLS: HTTP/1.1, HTTP/2 and WebSocket, and streams passed on to a node.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod busy;
#[path = "../common/mod.rs"]
mod common;
mod proxy;
mod secrets;
mod websocket;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use common::{Api, pod};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::json;
use skiff_pki::NodeSubject;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn serve(api: &Api) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(api.server.clone().serve(listener, shutdown.clone()));
    (address, shutdown)
}

async fn dial(tls: Arc<ClientConfig>, address: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(tls).connect(ServerName::from(address.ip()), stream).await.unwrap()
}

/// What a client needs that shows no certificate.
fn stranger(api: &Api) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = api.pki.ca_pem().as_bytes().to_vec();
    let ca = rustls_pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "localhost").body(Full::default()).unwrap()
}

/// A node that shouts back what it is sent on an upgraded connection, and answers its path otherwise.
async fn fake_node(api: &Api) -> SocketAddr {
    let subject = NodeSubject {
        name: "n".to_owned(),
        host_name: "n".to_owned(),
        addresses: vec![IpAddr::from([127, 0, 0, 1])],
    };
    let acceptor = TlsAcceptor::from(api.pki.node_serving_tls(&subject).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            assert!(stream.get_ref().1.peer_certificates().is_some(), "the API server shows a certificate");
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer_as_node))
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    address
}

async fn answer_as_node(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path().ends_with("/bad") {
        let text = "container \"bad\" in pod \"p\" is waiting to start: ContainerCreating";
        let response = Response::builder().status(400).body(Full::from(text)).unwrap();
        return Ok(response);
    }
    if !request.headers().contains_key("upgrade") {
        assert!(!request.headers().contains_key("authorization"));
        return Ok(Response::new(Full::from(request.uri().to_string())));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut buffer = [0; 64];
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => return,
                n => stream.write_all(&buffer[..n].to_ascii_uppercase()).await.unwrap(),
            }
        }
    });
    let response =
        Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "SPDY/3.1");
    Ok(response.header("x-stream-protocol-version", "v4.channel.k8s.io").body(Full::default()).unwrap())
}

/// Pod `p` with containers `main` and `bad`, bound to the fake node.
async fn pod_on(api: &Api, node: SocketAddr) {
    api.make_default_account("default").await;
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.expect(201);
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": node.ip().to_string()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": node.port()}},
    }});
    api.merge("/api/v1/nodes/n/status", status).await.expect(200);
    let mut body = pod("p");
    body["spec"]["containers"] = json!([{"name": "main", "image": "i"}, {"name": "bad", "image": "i"}]);
    api.post(PODS, body).await.expect(201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    api.post(&format!("{PODS}/p/binding"), binding).await.expect(201);
}

#[tokio::test]
async fn speaks_http_1_and_2() {
    let api = Api::start().await;
    let (address, shutdown) = serve(&api).await;
    let tls = api.pki.kubelet_client_tls().unwrap();
    let stream = dial(tls.clone(), address).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(get("/api/v1/namespaces/default")).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_11));

    let mut config = (*tls).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = dial(Arc::new(config), address).await;
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = get("/apis");
    *request.uri_mut() = "https://localhost/apis".parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    shutdown.cancel();
}

#[tokio::test]
async fn shutdown_ends_watches() {
    let api = Api::start().await;
    let (address, shutdown) = serve(&api).await;
    let stream = dial(api.pki.kubelet_client_tls().unwrap(), address).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(get("/api/v1/nodes?watch=1")).await.unwrap();
    shutdown.cancel();
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn streams_reach_the_node_byte_for_byte() {
    let api = Api::start().await;
    pod_on(&api, fake_node(&api).await).await;
    let (address, _shutdown) = serve(&api).await;
    let stream = dial(api.pki.kubelet_client_tls().unwrap(), address).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::post(format!("{PODS}/p/exec?container=main&command=cat&stdin=true"))
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["x-stream-protocol-version"], "v4.channel.k8s.io");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"HELLO");
}

#[tokio::test]
async fn logs_come_from_the_node() {
    let api = Api::start().await;
    pod_on(&api, fake_node(&api).await).await;
    let uid =
        api.get(&format!("{PODS}/p")).await.body["metadata"]["uid"].as_str().unwrap().replace('-', "%2D");
    // What the API does not name goes no further, least of all another pod's UID.
    let log =
        api.get(&format!("{PODS}/p/log?uid=other&container=main&tailLines=5&pretty=1")).await.expect(200);
    assert_eq!(log.text, format!("/containerLogs/default/p/main?tailLines=5&uid={uid}"));
    let which = api.get(&format!("{PODS}/p/log")).await.expect(400);
    assert_eq!(which.message(), "a container name must be specified for pod p, choose one of: [main bad]");
    let waiting = api.get(&format!("{PODS}/p/log?container=bad")).await.expect(400);
    assert_eq!(waiting.message(), "container \"bad\" in pod \"p\" is waiting to start: ContainerCreating");
    assert_eq!(waiting.body["reason"], "BadRequest");
    api.post(PODS, pod("q")).await.expect(201);
    let nowhere = api.post(&format!("{PODS}/q/exec?command=ls"), json!({})).await.expect(400);
    assert_eq!(nowhere.message(), "pod q does not have a host assigned");
}

#[tokio::test]
async fn proxies_to_nodes_but_not_to_this_machine() {
    let api = Api::start().await;
    pod_on(&api, fake_node(&api).await).await;
    let answer = api.get("/api/v1/nodes/n/proxy/a/b?c=d").await.expect(200);
    assert_eq!(answer.text, "/a/b?c=d");
    let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    api.merge(&format!("{PODS}/p/status"), status).await.expect(200);
    let refused = api.get(&format!("{PODS}/p:80/proxy/")).await.expect(400);
    assert_eq!(refused.message(), "address not allowed");
    let services = "/api/v1/namespaces/default/services";
    api.post(services, common::service("s")).await.expect(201);
    let unknown = api.get(&format!("{services}/s/proxy/")).await.expect(404);
    assert_eq!(unknown.message(), "services \"s\" not found");
    let slice = json!({"addressType": "IPv4", "endpoints": [], "metadata": {
        "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}}});
    api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await.expect(201);
    let none = api.get(&format!("{services}/s/proxy/")).await.expect(503);
    assert_eq!(none.message(), "no endpoints available for service \"s\"");
    api.get(&format!("{services}/none/proxy/")).await.expect(404);
}
