//! Requests that are passed on, and why some are not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::json;
use skiff_apiserver::{Limits, UserInfo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::common::{self, Api};
use super::extension::Extension;
use super::{FLUNDERS, GROUP, NAME, SERVICES, aggregate, aggregated, endpoint, lead_to, registration, until};

#[tokio::test]
async fn the_other_server_is_told_who_asks_and_by_nobody_else() {
    let (api, extension) = aggregated().await;
    let user = UserInfo {
        uid: "7".to_owned(),
        groups: vec!["a".to_owned(), "system:masters".to_owned()],
        extra: [("example.com/scopes".to_owned(), vec!["x".to_owned(), "y".to_owned()])].into(),
        name: "alice".to_owned(),
    };
    let request = Request::builder()
        .method("POST")
        .uri(format!("{FLUNDERS}?dryRun=All"))
        .header("content-type", "application/json")
        .header("authorization", "Bearer secret")
        .header("x-remote-user", "admin")
        .header("x-remote-group", "system:masters")
        .header("x-remote-extra-scopes", "z")
        .header("connection", "x-remote-user")
        .body(Full::from(r#"{"kind":"Flunder"}"#))
        .unwrap();
    extension.asked();
    let answer = common::read(api.open(user, request).await).await.expect(201);
    assert_eq!(answer.text, r#"{"kind":"Flunder"}"#);
    assert_eq!(answer.headers["x-own"], "1");
    assert_eq!(answer.headers.get_all("audit-id").iter().count(), 1);
    assert_ne!(answer.headers["audit-id"], "theirs");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let asked = extension.asked();
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((&*one.method, &*one.path), ("POST", &*format!("{FLUNDERS}?dryRun=All")));
    assert_eq!(one.body, r#"{"kind":"Flunder"}"#);
    assert_eq!(one.all("x-remote-user"), ["alice"]);
    assert_eq!(one.all("x-remote-uid"), ["7"]);
    assert_eq!(one.all("x-remote-group"), ["a", "system:masters"]);
    assert_eq!(one.all("x-remote-extra-example.com%2fscopes"), ["x", "y"]);
    for name in ["x-remote-extra-scopes", "authorization", "connection"] {
        assert_eq!(one.all(name), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn who_may_not_ask_here_is_not_passed_on() {
    let (api, extension) = aggregated().await;
    extension.asked();
    let get = |path: &str| Request::builder().uri(path).body(Full::<Bytes>::default()).unwrap();
    let bob = || UserInfo::authenticated("bob", []);
    let refused = common::read(api.open(bob(), get(FLUNDERS)).await).await.expect(403);
    assert_eq!(
        refused.message(),
        "flunders.wardle.example.com is forbidden: User \"bob\" cannot list resource \"flunders\" in API group \"wardle.example.com\" in the namespace \"default\""
    );
    assert!(extension.asked().is_empty());
    // Everybody who is known may ask what there is.
    common::read(api.open(bob(), get("/apis/wardle.example.com/v1alpha1")).await).await.expect(200);
    assert_eq!(extension.asked().len(), 1);
}

#[tokio::test]
async fn watches_and_upgrades_flow_through() {
    let (api, _extension) = aggregated().await;
    let mut events = api.watch(&format!("{FLUNDERS}?watch=1"), "application/json").await;
    assert_eq!(events.next_name().await, "ADDED f");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(api.server.clone().serve(listener, shutdown.clone()));
    let stream = TcpStream::connect(address).await.unwrap();
    let tls = TlsConnector::from(api.pki.kubelet_client_tls().unwrap());
    let stream = tls.connect(address.ip().into(), stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::post(format!("{FLUNDERS}/f/exec"))
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"HELLO");
}

/// What a client over TLS shows: nothing but a token.
fn stranger(api: &Api) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls_pki_types::pem::PemObject::from_pem_slice(api.pki.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn a_server_that_hangs_takes_no_place_of_requests_that_are_served_here() {
    let limits = Limits { reads: 1, ..Limits::default() };
    let api = Api::with_limits(limits).await;
    let (extension, token) = (aggregate(&api).await, api.editor_token().await);
    let rule = json!({"apiGroups": [GROUP], "resources": ["*"], "verbs": ["*"]});
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    api.post(roles, json!({"metadata": {"name": "flunders"}, "rules": [rule]})).await.expect(201);
    let binding = json!({
        "metadata": {"name": "flunders"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "flunders"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    });
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.expect(201);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(api.server.clone().serve(listener, CancellationToken::new()));
    let ask = async |path: String| {
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = TlsConnector::from(stranger(&api)).connect(address.ip().into(), stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::<Bytes>::default())
            .unwrap();
        sender.send_request(request).await.unwrap().status()
    };
    let mut hanging = std::pin::pin!(ask(format!("{FLUNDERS}/hang")));
    let mut others = std::pin::pin!(async {
        // Until the other server has it.
        while !extension.asked().iter().any(|asked| asked.path.ends_with("/hang")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ask("/api/v1/namespaces/default/pods".to_owned()).await
    });
    let answered = tokio::time::timeout(Duration::from_secs(10), async {
        tokio::select! {
            status = &mut hanging => panic!("it hangs, and does not answer {status}"),
            status = &mut others => status,
        }
    });
    assert_eq!(answered.await.expect("an answer in time"), 200);
}

#[tokio::test]
async fn redirections_are_not_passed_back() {
    let (api, _extension) = aggregated().await;
    let answer = api.get("/apis/wardle.example.com/v1alpha1/moved").await.expect(502);
    assert_eq!(answer.text, "the backend attempted to redirect this request, which is not permitted\n");
}

#[tokio::test]
async fn what_cannot_be_used_says_why_and_answers_503() {
    let api = Api::start().await;
    let extension = Extension::start(api.pki.front_proxy_ca_pem()).await;
    let mut service = registration("v1alpha1", &extension);
    api.post(SERVICES, service.clone()).await.expect(201);
    assert_eq!(until(&api, NAME, "ServiceNotFound").await, "service/ext in \"default\" is not present");
    let answer = api.get(FLUNDERS).await.expect(503);
    assert_eq!(answer.text, "service unavailable\n");
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    // A sign of change is enough; nobody waits for the next look.
    lead_to(&api, &extension).await;
    until(&api, NAME, "Passed").await;
    api.get(FLUNDERS).await.expect(200);
    let metrics = api.get("/metrics").await.text;
    let unavailable = format!("aggregator_unavailable_apiservice{{name={NAME:?}}} 0");
    assert!(metrics.contains(&unavailable), "{metrics}");
    let reason = format!("{{name={NAME:?},reason=\"ServiceNotFound\"}} 1");
    assert!(metrics.contains(&reason), "{metrics}");

    // Somebody else's certificate: whether it answers does not depend on that, but nothing is passed on.
    api.delete(&format!("{SERVICES}/{NAME}"), json!(null)).await.expect(200);
    let stranger = Extension::start(api.pki.front_proxy_ca_pem()).await;
    service["spec"]["caBundle"] = json!(stranger.ca);
    api.post(SERVICES, service.clone()).await.expect(201);
    until(&api, NAME, "Passed").await;
    let answer = api.get(FLUNDERS).await.expect(503);
    let expected = "error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority\n";
    assert_eq!(answer.text, expected);

    // Whoever says so may trust anybody.
    api.delete(&format!("{SERVICES}/{NAME}"), json!(null)).await.expect(200);
    service["spec"]["caBundle"] = json!(null);
    service["spec"]["insecureSkipTLSVerify"] = json!(true);
    api.post(SERVICES, service).await.expect(201);
    until(&api, NAME, "Passed").await;
    api.get(FLUNDERS).await.expect(200);
}

#[tokio::test]
async fn one_that_fails_holds_nobody_up() {
    let (api, extension) = aggregated().await;
    extension.breaks(Some(500));
    // A change of its endpoints has it looked at again.
    endpoint(&api, extension.address.port(), 2).await;
    let message = until(&api, NAME, "FailedDiscoveryCheck").await;
    let url = format!("https://{}/apis/wardle.example.com/v1alpha1", extension.address);
    assert_eq!(message, format!("failing or missing response from {url}: bad status from {url}: 500"));
    let apis = async { (api.get("/apis").await.expect(200), api.get("/openapi/v2").await.expect(200)) };
    tokio::time::timeout(Duration::from_secs(5), apis).await.expect("what is here is told at once");
    extension.breaks(None);
    // It is asked again without a sign of change.
    until(&api, NAME, "Passed").await;
    let port = extension.address.port();
    drop(extension);
    endpoint(&api, port, 3).await;
    let message = until(&api, NAME, "FailedDiscoveryCheck").await;
    assert!(message.contains("connect: connection refused"), "{message}");
}
