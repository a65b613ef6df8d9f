//! A little API server of another's, over TLS, which notes who asks it what.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Answers everything with this code.
    broken: Option<u16>,
    /// What it answers to GET, by path.
    documents: std::collections::BTreeMap<String, (u16, Value)>,
}

/// A running server; it ends with this.
pub(crate) struct Extension {
    pub(crate) address: SocketAddr,
    /// As in `caBundle`.
    pub(crate) ca: String,
    state: Arc<Mutex<State>>,
    _task: DropGuard,
}

impl Extension {
    /// Serves as `ext.default.svc` whoever shows a certificate of these authorities, in PEM.
    pub(crate) async fn start(front_proxy_ca: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["ext.default.svc".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(front_proxy_ca.as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let ended = CancellationToken::new();
        let (stop, serve) =
            (ended.clone(), serve(listener, TlsAcceptor::from(Arc::new(config)), state.clone()));
        tokio::spawn(async move { stop.run_until_cancelled(serve).await });
        let ca = base64::engine::general_purpose::STANDARD.encode(made.cert.pem());
        let extension = Self { address, ca, state, _task: ended.drop_guard() };
        extension.serves("v1alpha1");
        extension
    }

    /// Tells of flunders in this version, in the old way of discovery.
    pub(crate) fn serves(&self, version: &str) {
        let gv = format!("wardle.example.com/{version}");
        let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": [{
            "name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
            "verbs": ["create", "delete", "get", "list", "watch"],
        }]});
        self.document(&format!("/apis/{gv}"), 200, list);
    }

    pub(crate) fn document(&self, path: &str, code: u16, body: Value) {
        self.state.lock().unwrap().documents.insert(path.to_owned(), (code, body));
    }

    pub(crate) fn breaks(&self, code: Option<u16>) {
        self.state.lock().unwrap().broken = code;
    }

    /// What it was asked since the last time, but for what the API server asks for itself.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let all = std::mem::take(&mut self.state.lock().unwrap().asked);
        all.into_iter()
            .filter(|one| one.headers.get("user-agent").is_none_or(|a| a != "kube-aggregator"))
            .collect()
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            // Some tests do not trust it.
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(state.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            connection.await.ok();
        });
    }
}

async fn answer(state: Arc<Mutex<State>>, mut request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let headers = request.headers().clone();
    if headers.contains_key("upgrade") {
        state.lock().unwrap().asked.push(Asked { method, path, headers, body: String::new() });
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(shout(upgrade));
        let response =
            Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "SPDY/3.1");
        return Ok(response.body(full("")).unwrap());
    }
    let body = request.into_body().collect().await?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    let (broken, document) = {
        let mut state = state.lock().unwrap();
        let document = state.documents.get(path.split('?').next().unwrap()).cloned();
        state.asked.push(Asked { method: method.clone(), path: path.clone(), headers, body: body.clone() });
        (state.broken, document)
    };
    if let Some(code) = broken {
        return Ok(Response::builder().status(code).body(full("broken")).unwrap());
    }
    if path.contains("/hang") {
        return std::future::pending().await;
    }
    if path.contains("watch=") {
        return Ok(Response::builder().header("content-type", "application/json").body(watch()).unwrap());
    }
    if path.contains("/moved") {
        let moved = Response::builder().status(302).header("location", "https://elsewhere/");
        return Ok(moved.body(full("")).unwrap());
    }
    let (code, text) = match (method.as_str(), document) {
        ("GET", Some((code, document))) => (code, document.to_string()),
        ("POST", _) => (201, body),
        ("GET", None) if path.contains("/flunders") => (200, json!({"kind": "FlunderList"}).to_string()),
        _ => (404, "404 page not found".to_owned()),
    };
    let response = Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .header("audit-id", "theirs")
        .header("access-control-allow-origin", "*")
        .header("x-own", "1");
    Ok(response.body(full(&text)).unwrap())
}

fn full(text: &str) -> BoxBody<Bytes, Infallible> {
    Full::from(text.to_owned()).boxed()
}

/// One event, and then nothing for ever.
fn watch() -> BoxBody<Bytes, Infallible> {
    let event = Bytes::from("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"f\"}}}\n");
    let events =
        futures::stream::iter([Ok::<_, Infallible>(Frame::data(event))]).chain(futures::stream::pending());
    http_body_util::BodyExt::boxed(StreamBody::new(events))
}

async fn shout(upgrade: hyper::upgrade::OnUpgrade) {
    let mut stream = TokioIo::new(upgrade.await.unwrap());
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => stream.write_all(&buffer[..n].to_ascii_uppercase()).await.unwrap(),
        }
    }
}
