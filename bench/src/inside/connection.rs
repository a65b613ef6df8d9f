//! Connections to the API server with nothing around them: a client library takes as much processor time for a small request as
//! the server, and both share the machine.

use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use kube::Config;
use kube::client::ConfigExt as _;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens one that speaks this protocol.
pub(super) async fn open(config: &Config, protocol: &[u8]) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut tls = config.rustls_client_config()?;
    tls.alpn_protocols = vec![protocol.to_vec()];
    let host = config.cluster_url.host().context("the server's host")?.to_owned();
    let port = config.cluster_url.port_u16().context("the server's port")?;
    let tcp = TcpStream::connect((host.as_str(), port)).await?;
    tcp.set_nodelay(true)?;
    Ok(TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(host)?, tcp).await?)
}

/// One by HTTP/1.1, for one request after the other.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    pub(super) async fn new(config: &Config) -> anyhow::Result<Self> {
        let stream = open(config, b"http/1.1").await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let authority = config.cluster_url.authority().context("the server's address")?.to_string();
        Ok(Self { sender, authority })
    }

    /// Sends JSON; the answer, which has to have this status.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        expected: StatusCode,
    ) -> anyhow::Result<Bytes> {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        Ok(self.begin(request, body, expected).await?.into_body().collect().await?.to_bytes())
    }

    /// Sends a request; the beginning of its answer, which has to have this status. The next request can be sent when the answer
    /// has been read.
    pub(super) async fn begin(
        &mut self,
        request: Builder,
        body: Bytes,
        expected: StatusCode,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = request.header(HOST, &self.authority).body(Full::new(body))?;
        let asked = format!("{} {}", request.method(), request.uri());
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        if status != expected {
            let answer = response.into_body().collect().await?.to_bytes();
            bail!("{asked}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(response)
    }
}
