//! Proxied requests, all the way through the server to a real backend. It has an address of its own, in a network of its own:
//! this machine's loopback is out of reach of proxies.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nix::sched::{CloneFlags, unshare};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;

use super::*;

const BACKEND: &str = "192.0.2.7";

/// Runs a test in a network of its own, where [`BACKEND`] is an address of this machine.
fn in_own_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("tests of proxies need root");
        for command in ["link set lo up", "addr add 192.0.2.7/32 dev lo"] {
            assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success(), "{command}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    thread.join().unwrap();
}

/// Answers what it was asked, and by an upgrade when it is asked for one.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let upgrades = header("upgrade").is_some();
    let seen = json!({
        "method": request.method().as_str(),
        "uri": request.uri().to_string(),
        "authorization": header("authorization"),
        "protocols": header("sec-websocket-protocol"),
    });
    let mut response = Response::builder().header("x-seen", seen.to_string()).header("allow", "GET, OPTIONS");
    if upgrades {
        response = response.status(101).header("connection", "Upgrade").header("upgrade", "websocket");
    }
    Ok(response.body(Full::default()).unwrap())
}

/// A backend and its port.
async fn backend(tls: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind((BACKEND, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = hyper::server::conn::http1::Builder::new();
            match &tls {
                None => tokio::spawn(
                    server.serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades(),
                ),
                Some(tls) => {
                    let stream = TlsAcceptor::from(tls.clone()).accept(stream).await.unwrap();
                    tokio::spawn(
                        server.serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades(),
                    )
                }
            };
        }
    });
    port
}

/// A certificate that nobody vouches for, for another name.
fn own_certificate() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["elsewhere.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.unwrap().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap())
}

/// Pod `web` at the backend, and Service `s` with its ports `plain` and `secure`.
async fn objects(api: &Api, plain: u16, secure: u16) {
    api.post(PODS, pod("web")).await.expect(201);
    let status = json!({"status": {"podIP": BACKEND, "podIPs": [{"ip": BACKEND}]}});
    api.merge(&format!("{PODS}/web/status"), status).await.expect(200);
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [
        {"name": "plain", "port": 80, "targetPort": plain}, {"name": "secure", "port": 443, "targetPort": secure}]}});
    api.post("/api/v1/namespaces/default/services", service).await.expect(201);
    let slice = json!({
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
        "ports": [{"name": "plain", "port": plain}, {"name": "secure", "port": secure}],
        "endpoints": [{"addresses": [BACKEND]}],
    });
    api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await.expect(201);
}

/// What the backend saw of a request.
fn seen(headers: &http::HeaderMap) -> serde_json::Value {
    serde_json::from_str(headers["x-seen"].to_str().unwrap()).unwrap()
}

#[test]
fn targets_are_reached_by_every_scheme_and_method() {
    in_own_network(|| async {
        let api = Api::start().await;
        api.make_default_account("default").await;
        let (plain, secure) = (backend(None).await, backend(Some(own_certificate())).await);
        objects(&api, plain, secure).await;
        let services = "/api/v1/namespaces/default/services";
        let targets = [
            format!("{PODS}/web:{plain}"),
            format!("{PODS}/http:web:{plain}"),
            format!("{PODS}/https:web:{secure}"),
            format!("{services}/s:plain"),
            format!("{services}/https:s:secure"),
            format!("{services}/https:s:443"),
        ];
        for target in targets {
            for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
                let path = format!("{target}/proxy/a%2Fb/c?d=e");
                let answer = api.send(method, &path, "text/plain", "").await.expect(200);
                let seen = seen(&answer.headers);
                assert_eq!(
                    (&seen["method"], &seen["uri"]),
                    (&json!(method), &json!("/a%2Fb/c?d=e")),
                    "{target}"
                );
                assert_eq!(answer.headers["allow"], "GET, OPTIONS");
            }
        }
        let wrong = api.get(&format!("{PODS}/https:web:{plain}/proxy/")).await.expect(503);
        assert!(wrong.message().starts_with("error trying to reach service: "), "{}", wrong.message());
    });
}

#[test]
fn backends_do_not_see_who_asks() {
    in_own_network(|| async {
        let api = Api::start().await;
        let token = api.editor_token().await;
        objects(&api, backend(None).await, backend(None).await).await;
        let (address, _shutdown) = serve(&api).await;
        let offered =
            format!("base64url.bearer.authorization.k8s.io.{}, chat", BASE64_URL_SAFE_NO_PAD.encode(&token));
        let path = "/api/v1/namespaces/default/services/s:plain/proxy/chat";
        let by_header = Request::get(path).header("authorization", format!("Bearer {token}"));
        let by_protocol = Request::get(path)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", offered);
        for (request, status, protocols) in [(by_header, 200, json!(null)), (by_protocol, 101, json!("chat"))]
        {
            let stream = dial(stranger(&api), address).await;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection.with_upgrades());
            let request = request.header("host", "localhost").body(Full::<Bytes>::default()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), status);
            let seen = seen(response.headers());
            assert_eq!((&seen["authorization"], &seen["protocols"]), (&json!(null), &protocols));
            assert!(!seen.to_string().contains(&token));
        }
    });
}
