//! Watches and logs over WebSocket.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::StreamExt as _;
use http::HeaderValue;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A WebSocket, or the status of the refusal.
async fn open(
    tls: Arc<ClientConfig>,
    address: SocketAddr,
    path: &str,
    protocols: &str,
) -> Result<(Socket, Option<String>), u16> {
    let mut request = format!("wss://{address}{path}").into_client_request().unwrap();
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(protocols).unwrap());
    }
    match tokio_tungstenite::client_async(request, dial(tls, address).await).await {
        Ok((socket, response)) => {
            let protocol = response.headers().get("sec-websocket-protocol");
            Ok((socket, protocol.map(|protocol| protocol.to_str().unwrap().to_owned())))
        }
        Err(Error::Http(refusal)) => Err(refusal.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

async fn next(socket: &mut Socket) -> Message {
    socket.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn each_event_of_a_watch_is_a_message() {
    let api = Api::start().await;
    let (address, shutdown) = serve(&api).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let tls = api.pki.kubelet_client_tls().unwrap();
    let watch = format!("{maps}?watch=1&fieldSelector=metadata.name=a");
    let (mut socket, protocol) = open(tls.clone(), address, &watch, "").await.unwrap();
    assert_eq!(protocol, None);
    for name in ["a", "b"] {
        api.post(maps, common::config_map(name)).await.expect(201);
    }
    api.delete(&format!("{maps}/a"), json!({})).await.expect(200);
    for expected in ["ADDED", "DELETED"] {
        let Message::Text(text) = next(&mut socket).await else { panic!("no text") };
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!(expected), &json!("a")));
    }
    shutdown.cancel();
    assert!(matches!(next(&mut socket).await, Message::Close(_)), "the server's end is an end in order");
}

#[tokio::test]
async fn subprotocols_and_refusals_are_kubernetes_own() {
    let api = Api::start().await;
    let (address, _shutdown) = serve(&api).await;
    let tls = api.pki.kubelet_client_tls().unwrap();
    let nodes = "/api/v1/nodes?watch=1";
    for protocol in ["binary.k8s.io", "base64.binary.k8s.io"] {
        let (_, taken) = open(tls.clone(), address, nodes, protocol).await.unwrap();
        assert_eq!(taken.as_deref(), Some(protocol));
    }
    let refused = |path: &'static str, protocols: &'static str| {
        let tls = tls.clone();
        async move { open(tls, address, path, protocols).await.err() }
    };
    assert_eq!(refused(nodes, "a, b").await, Some(400));
    assert_eq!(refused("/api/v1/nodes?watch=1&fieldSelector=none=1", "").await, Some(400));
    assert_eq!(refused("/api/v1/nones?watch=1", "").await, Some(404));
    assert_eq!(refused("/api/v1/nodes", "").await, Some(200), "a list is no stream");
}

#[tokio::test]
async fn a_token_in_a_subprotocol_says_who_asks() {
    let api = Api::start().await;
    let (address, _shutdown) = serve(&api).await;
    let token = BASE64_URL_SAFE_NO_PAD.encode(api.editor_token().await);
    let protocols = format!("base64url.bearer.authorization.k8s.io.{token}, binary.k8s.io");
    let maps = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps?watch=1");
    let (_, taken) = open(stranger(&api), address, &maps("default"), &protocols).await.unwrap();
    assert_eq!(taken.as_deref(), Some("binary.k8s.io"), "the token is not shown again");
    let elsewhere = open(stranger(&api), address, &maps("kube-system"), &protocols).await;
    assert_eq!(elsewhere.err(), Some(403), "known, without rights");
    let nobody = open(stranger(&api), address, &maps("default"), "binary.k8s.io").await;
    assert_eq!(nobody.err(), Some(403));
}

#[tokio::test]
async fn logs_are_sent_as_bytes() {
    let api = Api::start().await;
    pod_on(&api, fake_node(&api).await).await;
    let (address, _shutdown) = serve(&api).await;
    let tls = api.pki.kubelet_client_tls().unwrap();
    let log = format!("{PODS}/p/log?container=main&follow=true");
    let expected = api.get(&log).await.expect(200).text;
    let (mut socket, _) = open(tls.clone(), address, &log, "").await.unwrap();
    assert_eq!(next(&mut socket).await, Message::binary(""));
    assert_eq!(next(&mut socket).await, Message::binary(expected.clone()));
    assert!(matches!(next(&mut socket).await, Message::Close(_)));
    let (mut socket, taken) = open(tls.clone(), address, &log, "base64.binary.k8s.io").await.unwrap();
    assert_eq!(taken.as_deref(), Some("base64.binary.k8s.io"));
    assert_eq!(next(&mut socket).await, Message::text(""));
    let encoded = base64::prelude::BASE64_STANDARD.encode(expected);
    assert_eq!(next(&mut socket).await, Message::text(encoded));
    assert_eq!(open(tls.clone(), address, &log, "channel.k8s.io").await.err(), Some(403));
    let bad = format!("{PODS}/p/log?container=bad");
    assert_eq!(open(tls, address, &bad, "").await.err(), Some(400));
}
