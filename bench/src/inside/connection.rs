//! Connections to the API server with nothing around them: a client library takes as much processor time for a small request as
//! the server, and both share the machine.

use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
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

    /// Sends a request; the answer, which has to have this status.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        expected: StatusCode,
    ) -> anyhow::Result<Bytes> {
        let request = Request::builder().method(&method).uri(path).header("host", &self.authority);
        let request = request.header("content-type", "application/json").body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status == expected, "{method} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }
}
