//! A little HTTPS server that answers JSON with JSON, as webhooks do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

type Answer = dyn Fn(&Value) -> Value + Send + Sync;

pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    /// As in `caBundle`.
    pub(crate) ca: String,
    asked: Arc<Mutex<Vec<Value>>>,
    _task: DropGuard,
}

impl Hook {
    /// Answers each body with what `answer` makes of it, as 127.0.0.1 and as `hook.default.svc`.
    pub(crate) async fn start(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        let names = vec!["127.0.0.1".to_owned(), "hook.default.svc".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ended) = (Arc::default(), CancellationToken::new());
        let serve =
            serve(listener, TlsAcceptor::from(Arc::new(config)), Arc::new(answer), Arc::clone(&asked));
        let stop = ended.clone();
        tokio::spawn(async move { stop.run_until_cancelled(serve).await });
        let ca = base64::engine::general_purpose::STANDARD.encode(made.cert.pem());
        Self { address, ca, asked, _task: ended.drop_guard() }
    }

    /// `clientConfig` by URL.
    pub(crate) fn client(&self) -> Value {
        json!({"url": format!("https://{}/hook", self.address), "caBundle": self.ca})
    }

    /// What it was asked since the last time, in order.
    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, answer: Arc<Answer>, asked: Arc<Mutex<Vec<Value>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, answer, asked) = (tls.clone(), answer.clone(), asked.clone());
        tokio::spawn(async move {
            // Some tests do not trust it.
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (answer, asked) = (answer.clone(), asked.clone());
                async move {
                    assert_eq!(request.headers()["content-type"], "application/json");
                    let body = request.into_body().collect().await?.to_bytes();
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    let said = answer(&body);
                    asked.lock().unwrap().push(body);
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
