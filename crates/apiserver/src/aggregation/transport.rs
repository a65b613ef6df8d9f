//! Connections to extension servers: to the address of their Service, over TLS, with the front proxy's certificate.
//!
//! Each request has a connection of its own, as calls of webhooks have, so that none goes to where a Service was a while
//! ago, and one that is upgraded is nobody else's; TLS configurations, and with them TLS sessions, are kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls_pki_types::ServerName;
use skiff_auth::front_proxy;
use skiff_identity::UserInfo;
use skiff_machinery::Namespace;
use skiff_recent::Recent;
use skiff_store::{Revision, Store};
use thiserror::Error;
use tokio_rustls::TlsConnector;

use super::registration::Target;
use crate::http::body::{self, Body};
use crate::webhooks::dial::{broken, dial};
use crate::webhooks::trust::Trust;
use crate::webhooks::{resolve, tls};

/// A server that does not answer by then is taken for dead.
const CONNECT: Duration = Duration::from_secs(10);
/// So many TLS configurations are kept.
const KEPT: usize = 200;

/// Why an extension server was not reached.
#[derive(Debug, Error)]
pub(super) enum Unreached {
    /// The Service leads nowhere.
    #[error("{0}")]
    Service(String),
    /// The APIService says whom to trust in a way that makes no sense.
    #[error("{0}")]
    Trust(String),
    /// Nobody is there, or somebody else.
    #[error("{0}")]
    Dial(String),
}

/// The one who dials.
pub(super) struct Transport {
    store: Arc<dyn Store>,
    shown: Arc<dyn ResolvesClientCert>,
    configs: Recent<Trust, Arc<ClientConfig>>,
}

/// An answer that was read to its end.
pub(super) struct Fetched {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What is asked of an extension server for the server itself.
pub(super) struct Question<'q> {
    pub(super) path: &'q str,
    pub(super) accept: &'q str,
    /// What is known already.
    pub(super) etag: Option<&'q HeaderValue>,
    pub(super) user: UserInfo,
    /// The largest answer, in bytes.
    pub(super) most: usize,
    pub(super) timeout: Duration,
}

impl Fetched {
    pub(super) fn etag(&self) -> Option<&HeaderValue> {
        self.headers.get(ETAG)
    }

    pub(super) fn is_json(&self) -> bool {
        let media = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        media.split(';').next().is_some_and(|media| media.trim() == "application/json")
    }
}

impl Transport {
    pub(super) fn new(store: Arc<dyn Store>, shown: Arc<dyn ResolvesClientCert>) -> Self {
        Self { store, shown, configs: Recent::new(KEPT) }
    }

    /// The newest revision of what it finds Services in.
    pub(super) fn revision(&self) -> Revision {
        self.store.revision()
    }

    /// Where the target is at present: host and port.
    pub(super) async fn place(&self, target: &Target) -> Result<(String, u16), Unreached> {
        let place =
            resolve::service(&*self.store, Namespace::new(&target.namespace), &target.name, target.port)
                .await;
        place.map_err(Unreached::Service)
    }

    /// A fresh connection, over which one request can be sent.
    pub(super) async fn connect(
        &self,
        target: &Target,
        trust: &Trust,
    ) -> Result<SendRequest<Body>, Unreached> {
        let config = self.config(trust).map_err(Unreached::Trust)?;
        let (host, port) = self.place(target).await?;
        let opening = async {
            let stream = dial(&host, port).await?;
            // A stream's small messages do not wait for more.
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let name = ServerName::try_from(target.host()).map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(config).connect(name, stream).await;
            stream.map_err(|error| tls::explain(&error))
        };
        let late = |_| Unreached::Dial(format!("dial tcp {host}:{port}: i/o timeout"));
        let stream = tokio::time::timeout(CONNECT, opening).await.map_err(late)?.map_err(Unreached::Dial)?;
        let opened = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| Unreached::Dial(broken(&error)))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to an extension server ended");
            }
        });
        Ok(sender)
    }

    /// Asks for a document and reads it.
    pub(super) async fn fetch(
        &self,
        target: &Target,
        trust: &Trust,
        question: Question<'_>,
    ) -> Result<Fetched, String> {
        let timeout = question.timeout;
        let exchange = async {
            let mut sender = self.connect(target, trust).await.map_err(|error| error.to_string())?;
            let mut request = Request::get(question.path)
                .header(HOST, target.host())
                .header(ACCEPT, question.accept)
                .header(USER_AGENT, "kube-aggregator")
                .body(body::full(Bytes::new()))
                .map_err(|error| error.to_string())?;
            let headers = request.headers_mut();
            headers.extend(question.etag.map(|etag| (IF_NONE_MATCH, etag.clone())));
            front_proxy::vouch(headers, &question.user).map_err(|error| error.to_string())?;
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let (head, incoming) = response.into_parts();
            let body = Limited::new(incoming, question.most).collect().await;
            let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?.to_bytes();
            Ok(Fetched { status: head.status, headers: head.headers, body })
        };
        let late = |_| "context deadline exceeded".to_owned();
        tokio::time::timeout(timeout, exchange).await.map_err(late)?
    }

    fn config(&self, trust: &Trust) -> Result<Arc<ClientConfig>, String> {
        if let Some(known) = self.configs.get(trust) {
            return Ok(known);
        }
        let made = Arc::new(tls::config(trust, Some(self.shown.clone()))?);
        self.configs.insert(trust.clone(), made.clone());
        Ok(made)
    }
}

/// Whom this server is when it asks extension servers for itself, with the rights to ask everything.
pub(super) fn aggregator(name: &str) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        groups: vec![skiff_identity::MASTERS.to_owned()],
        ..UserInfo::default()
    }
}
