//! The one who calls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use rustls_pki_types::ServerName;
use skiff_admission::{CallError, ClientConfig, Target, Webhooks};
use skiff_machinery::Namespace;
use skiff_store::Store;
use tokio_rustls::TlsConnector;

use super::credentials::Credentials;
use super::dial::{broken, dial};
use super::idle::{Idle, Line, Secured};
use super::open::Open;
use super::trust::Trust;
use super::user::Shown;
use super::{resolve, tls};
use crate::http::body;

/// The largest answer about one object, in bytes: as large as a request may be.
pub(super) const MAX_ANSWER: usize = body::MAX_REQUEST;

/// Who is called.
pub(crate) struct Peer<'a> {
    pub(super) place: Place<'a>,
    pub(super) trust: Trust,
    pub(super) shown: &'a Shown,
}

/// Where one listens, besides what the URL says.
pub(super) enum Place<'a> {
    /// There, as whoever the URL or `name` names.
    Url { name: Option<&'a str> },
    /// Behind a port of a Service, as the host of the URL.
    Service { namespace: &'a str, name: &'a str, port: u16 },
}

impl<'a> Peer<'a> {
    /// Whom an object of the API names.
    pub(crate) fn of(client: &'a ClientConfig, shown: &'a Shown) -> Self {
        let place = match &client.target {
            Target::Service { namespace, name, port, .. } => Place::Service { namespace, name, port: *port },
            Target::Url(_) => Place::Url { name: None },
        };
        Self { place, trust: Trust::Bundle(client.ca_bundle.clone()), shown }
    }
}

/// The one who calls.
pub(crate) struct Outgoing {
    store: Arc<dyn Store>,
    tls: tls::Configs,
    idle: Idle,
}

impl Outgoing {
    /// Finds Services in this store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, tls: tls::Configs::default(), idle: Idle::default() }
    }

    /// Posts JSON to a URL of somebody, and reads an answer of at most `most` bytes.
    pub(super) async fn post(
        &self,
        to: &Peer<'_>,
        url: &str,
        body: Bytes,
        timeout: Duration,
        most: usize,
    ) -> Result<Bytes, CallError> {
        let post = move |uri: &Uri| request(uri, body);
        self.exchange(to, url, post, timeout, most).await
    }

    /// Reads what is at a URL of somebody, of at most `most` bytes.
    pub(crate) async fn get(
        &self,
        from: &Peer<'_>,
        url: &str,
        timeout: Duration,
        most: usize,
    ) -> Result<Bytes, CallError> {
        let get = |uri: &Uri| addressed(Request::get(target(uri)), uri).body(Full::default());
        self.exchange(from, url, get, timeout, most).await
    }

    async fn exchange(
        &self,
        peer: &Peer<'_>,
        url: &str,
        request: impl FnOnce(&Uri) -> Result<Request<Full<Bytes>>, http::Error>,
        timeout: Duration,
        most: usize,
    ) -> Result<Bytes, CallError> {
        let exchange = async {
            let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
            let line = self.line(peer, &uri).await.map_err(CallError::Failed)?;
            let mut request = request(&uri).map_err(|error| failed(&error))?;
            request.headers_mut().extend(peer.shown.headers.clone());
            let (mut open, response) = self.send(&line, request).await.map_err(CallError::Failed)?;
            let answer = open.read(read(response, most)).await;
            if let Ok(_) | Err(CallError::Status { .. }) = &answer {
                self.idle.keep(line, open);
            }
            answer
        };
        let late = || CallError::Failed("context deadline exceeded".to_owned());
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends over a connection that waits, or over a new one if there is none, or if it was closed before anything was sent.
    async fn send(
        &self,
        line: &Line,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Open, Response<Incoming>), String> {
        if let Some(mut open) = self.idle.take(line) {
            match open.send(request).await {
                Ok(response) => return Ok((open, response)),
                Err(mut unsent) => match unsent.take_message() {
                    Some(message) => request = message,
                    None => return Err(broken(unsent.error())),
                },
            }
        }
        let mut open = self.connect(line).await?;
        let response = open.send(request).await.map_err(|unsent| broken(unsent.error()))?;
        Ok((open, response))
    }

    /// Where somebody listens now.
    async fn line(&self, peer: &Peer<'_>, uri: &Uri) -> Result<Line, String> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_plain = uri.scheme_str() == Some("http");
        let ((host, port), name) = match peer.place {
            Place::Service { namespace, name, port } => {
                (resolve::service(&*self.store, Namespace::new(namespace), name, port).await?, host)
            }
            Place::Url { name } => {
                let usual = if is_plain { 80 } else { 443 };
                ((host.to_owned(), uri.port_u16().unwrap_or(usual)), name.unwrap_or(host))
            }
        };
        let secured = || Secured {
            name: name.to_owned(),
            trust: peer.trust.clone(),
            identity: peer.shown.identity.clone(),
        };
        Ok(Line { host, port, secured: (!is_plain).then(secured) })
    }

    async fn connect(&self, line: &Line) -> Result<Open, String> {
        let stream = dial(&line.host, line.port).await?;
        let Some(Secured { name, trust, identity }) = &line.secured else {
            return Open::begin(stream).await.map_err(|error| broken(&error));
        };
        let name = ServerName::try_from(name.clone()).map_err(|error| format!("{name}: {error}"))?;
        let config = self.tls.of(trust, identity.as_ref())?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        let stream = stream.map_err(|error| tls::explain(&error))?;
        Open::begin(stream).await.map_err(|error| broken(&error))
    }
}

/// Calls the webhooks of an admission plugin, in the name of the users that it is configured with.
pub(crate) struct Admission {
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) credentials: Credentials,
}

#[async_trait]
impl Webhooks for Admission {
    async fn call(&self, client: &ClientConfig, body: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        let began = std::time::Instant::now();
        // What is no address is told when it is asked for.
        let url = client.url(timeout);
        let uri = url.parse::<Uri>().unwrap_or_default();
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        let shown = self.credentials.shown(host, port).await.map_err(CallError::Failed)?;
        let answer = self.outgoing.post(&Peer::of(client, &shown), &url, body, timeout, MAX_ANSWER).await;
        crate::http::metrics::waited(began.elapsed());
        answer
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
