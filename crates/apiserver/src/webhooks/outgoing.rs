//! The one who calls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use skiff_admission::{CallError, ClientConfig, Target, Webhooks};
use skiff_machinery::Namespace;
use skiff_store::Store;
use tokio_rustls::TlsConnector;

use super::dial::{broken, dial};
use super::{resolve, tls};
use crate::http::body;

/// The largest answer about one object, in bytes: as large as a request may be.
pub(super) const MAX_ANSWER: usize = body::MAX_REQUEST;

/// The one who calls.
pub(crate) struct Outgoing {
    store: Arc<dyn Store>,
    tls: tls::Configs,
}

impl Outgoing {
    /// Finds Services in this store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, tls: tls::Configs::default() }
    }

    /// Posts JSON and reads an answer of at most `most` bytes.
    pub(super) async fn post(
        &self,
        client: &ClientConfig,
        body: Bytes,
        timeout: Duration,
        most: usize,
    ) -> Result<Bytes, CallError> {
        let post = move |uri: &Uri| request(uri, body);
        self.exchange(client, &client.url(timeout), post, timeout, most).await
    }

    /// Reads what is at a URL, of at most `most` bytes.
    pub(crate) async fn get(
        &self,
        client: &ClientConfig,
        url: &str,
        timeout: Duration,
        most: usize,
    ) -> Result<Bytes, CallError> {
        let get = |uri: &Uri| addressed(Request::get(target(uri)), uri).body(Full::default());
        self.exchange(client, url, get, timeout, most).await
    }

    async fn exchange(
        &self,
        client: &ClientConfig,
        url: &str,
        request: impl FnOnce(&Uri) -> Result<Request<Full<Bytes>>, http::Error>,
        timeout: Duration,
        most: usize,
    ) -> Result<Bytes, CallError> {
        let exchange = async {
            let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
            let mut sender = self.connect(client, &uri).await.map_err(CallError::Failed)?;
            let request = request(&uri).map_err(|error| failed(&error))?;
            let response = sender.send_request(request).await;
            read(response.map_err(|error| CallError::Failed(broken(&error)))?, most).await
        };
        let late = || CallError::Failed("context deadline exceeded".to_owned());
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    async fn connect(&self, client: &ClientConfig, uri: &Uri) -> Result<SendRequest<Full<Bytes>>, String> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let stream = match &client.target {
            Target::Service { namespace, name, port, .. } => {
                let (host, port) =
                    resolve::service(&*self.store, Namespace::new(namespace), name, *port).await?;
                dial(&host, port).await?
            }
            Target::Url(_) => dial(host, uri.port_u16().unwrap_or(443)).await?,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
        let config = self.tls.of(&client.ca_bundle)?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        let stream = stream.map_err(|error| tls::explain(&error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // It ends with the sender and the body of the answer.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a webhook ended");
            }
        });
        Ok(sender)
    }
}

#[async_trait]
impl Webhooks for Outgoing {
    async fn call(&self, client: &ClientConfig, body: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        self.post(client, body, timeout, MAX_ANSWER).await
    }
}

fn failed(why: &dyn std::fmt::Display) -> CallError {
    CallError::Failed(why.to_string())
}

fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

fn addressed(builder: http::request::Builder, uri: &Uri) -> http::request::Builder {
    let host = uri.authority().map_or("", |authority| authority.as_str());
    builder
        .header(HOST, host)
        .header(ACCEPT, "application/json, */*")
        .header(USER_AGENT, "kube-apiserver-admission")
}

fn request(uri: &Uri, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
    addressed(Request::post(target(uri)), uri).header(CONTENT_TYPE, "application/json").body(Full::new(body))
}

async fn read(response: Response<Incoming>, most: usize) -> Result<Bytes, CallError> {
    let code = response.status().as_u16();
    let media = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_text = media.is_none_or(|media| media.trim().is_empty() || media.starts_with("text/"));
    let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| {
        let is_large = error.is::<http_body_util::LengthLimitError>();
        CallError::Failed(if is_large {
            format!("the answer is larger than {most} bytes")
        } else {
            format!("unexpected error when reading response body. Please retry. Original error: {error}")
        })
    })?;
    let body = body.to_bytes();
    // As clients of Kubernetes see it.
    if (200..=206).contains(&code) { Ok(body) } else { Err(CallError::Status { code, body, is_text }) }
}
