//! A little HTTPS server that answers JSON with JSON, as webhooks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a call says of who makes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) authorization: Option<String>,
    pub(crate) has_certificate: bool,
}

type Answer = dyn Fn(Value) -> BoxFuture<'static, Value> + Send + Sync;

/// What there was of calls.
#[derive(Clone, Default)]
struct Heard {
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<Value>>>,
    callers: Arc<Mutex<Vec<Caller>>>,
}

pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    /// As in `caBundle`.
    pub(crate) ca: String,
    /// A certificate that it knows clients by, and its key, in PEM.
    pub(crate) client_identity: (String, String),
    heard: Heard,
    _task: DropGuard,
}

impl Hook {
    /// Answers each body with what `answer` makes of it, as 127.0.0.1 and as `hook.default.svc`.
    pub(crate) async fn start(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::start_slow(move |body| std::future::ready(answer(&body)).boxed()).await
    }

    /// The same, but it may take its time.
    pub(crate) async fn start_slow(
        answer: impl Fn(Value) -> BoxFuture<'static, Value> + Send + Sync + 'static,
    ) -> Self {
        let names = vec!["127.0.0.1".to_owned(), "hook.default.svc".to_owned()];
        let (certificate, key) = own_authority(names);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        let mut clients = RootCertStore::empty();
        clients.add(client.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider.clone());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, ended) = (Heard::default(), CancellationToken::new());
        let serve = serve(listener, TlsAcceptor::from(Arc::new(config)), Arc::new(answer), heard.clone());
        let stop = ended.clone();
        tokio::spawn(async move { stop.run_until_cancelled(serve).await });
        let ca = base64::engine::general_purpose::STANDARD.encode(certificate.pem());
        let client_identity = (client.cert.pem(), client.signing_key.serialize_pem());
        Self { address, ca, client_identity, heard, _task: ended.drop_guard() }
    }

    /// `clientConfig` by URL.
    pub(crate) fn client(&self) -> Value {
        json!({"url": format!("https://{}/hook", self.address), "caBundle": self.ca})
    }

    /// What it was asked since the last time, in order.
    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.heard.asked.lock().unwrap())
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.heard.connections.load(Ordering::Relaxed)
    }

    /// Who asked since the last time, in order.
    pub(crate) fn callers(&self) -> Vec<Caller> {
        std::mem::take(&mut *self.heard.callers.lock().unwrap())
    }
}

/// A certificate that many webhooks have: signed by itself, it says that it is an authority's.
fn own_authority(names: Vec<String>) -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, answer: Arc<Answer>, heard: Heard) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, answer, heard) = (tls.clone(), answer.clone(), heard.clone());
        tokio::spawn(async move {
            // Some tests do not trust it.
            let Ok(stream) = tls.accept(stream).await else { return };
            heard.connections.fetch_add(1, Ordering::Relaxed);
            let has_certificate = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (answer, heard) = (answer.clone(), heard.clone());
                async move {
                    assert_eq!(request.headers()["content-type"], "application/json");
                    let authorization = request.headers().get("authorization");
                    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
                    heard.callers.lock().unwrap().push(Caller { authorization, has_certificate });
                    let body = request.into_body().collect().await?.to_bytes();
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    let said = answer(body.clone()).await;
                    heard.asked.lock().unwrap().push(body);
                    Ok::<_, hyper::Error>(respond(&said))
                }
            });
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

/// The answer; one with `httpCode` is that status, with its `text`.
fn respond(said: &Value) -> http::Response<Full<Bytes>> {
    match said["httpCode"].as_u64() {
        Some(code) => {
            let text = said["text"].as_str().unwrap_or_default().to_owned();
            http::Response::builder()
                .status(u16::try_from(code).unwrap())
                .header("content-type", "text/plain")
                .header("location", "https://127.0.0.1:1/")
                .body(Full::from(text))
                .unwrap()
        }
        None => http::Response::new(Full::from(said.to_string())),
    }
}
