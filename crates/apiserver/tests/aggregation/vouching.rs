//! A proxy in front of this server that vouches for its users.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::common::Api;

/// Asks over TLS who the user is, with these headers.
async fn who(api: &Api, tls: ClientConfig, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(api.server.clone().serve(listener, CancellationToken::new()));
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(address.ip().into(), stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("host", "localhost")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    let response = sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    (status, answer["status"]["userInfo"].clone())
}

fn front_proxy(api: &Api) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls_pki_types::pem::PemObject::from_pem_slice(api.pki.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.unwrap().with_root_certificates(roots).with_client_cert_resolver(api.pki.front_proxy_client())
}

#[tokio::test]
async fn whoever_shows_the_front_proxys_certificate_speaks_for_others() {
    let api = Api::start().await;
    let headers = [
        ("x-remote-user", "alice"),
        ("x-remote-uid", "7"),
        ("x-remote-group", "a"),
        ("x-remote-group", "b"),
        ("x-remote-extra-example.com%2fscopes", "x"),
    ];
    let (status, user) = who(&api, front_proxy(&api), &headers).await;
    assert_eq!(status, 201);
    assert_eq!(
        user,
        json!({
            "username": "alice", "uid": "7", "groups": ["a", "b", "system:authenticated"],
            "extra": {"example.com/scopes": ["x"]},
        })
    );
    // It is nobody itself.
    assert_eq!(who(&api, front_proxy(&api), &[]).await.0, 401);
}

#[tokio::test]
async fn nobody_else_speaks_for_others() {
    let api = Api::start().await;
    let node = (*api.pki.node_client_tls("n").unwrap()).clone();
    let (status, user) = who(&api, node, &[("x-remote-user", "alice")]).await;
    assert_eq!((status, &user["username"]), (StatusCode::CREATED, &json!("system:node:n")));
}
