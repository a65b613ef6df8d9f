//! A client that sends exactly what a scenario says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::credentials::Server;
use super::scenario::Watch;

/// A server that has not answered after this is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
}

impl Call {
    /// A request with the usual headers and, perhaps, a body in JSON.
    pub(super) fn new(method: &str, path: &str, body: Option<&str>) -> Self {
        let mut headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        Self { method: method.to_owned(), path: path.to_owned(), headers, body: body.map(str::to_owned) }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One connection that is kept, and others for what cannot use it.
#[derive(Debug)]
pub(super) struct Client {
    server: Arc<Server>,
    kept: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, kept: None }
    }

    /// Sends a request as the kubeconfig's user.
    pub(super) async fn send(&mut self, call: &Call) -> Result<Answer, String> {
        let kept = self.kept.take().filter(|connection| !connection.is_closed());
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect(false).await?,
        };
        let answer = whole(exchange(&mut connection, &self.server.authority, call).await?).await?;
        // Closed connections are found out when the next request is due.
        self.kept = connection.ready().await.is_ok().then_some(connection);
        Ok(answer)
    }

    /// Sends a request as nobody in particular.
    pub(super) async fn send_anonymously(&self, call: &Call) -> Result<Answer, String> {
        let mut connection = self.connect(true).await?;
        whole(exchange(&mut connection, &self.server.authority, call).await?).await
    }

    /// The events of a watch as a list under `watch`; a refusal as it is.
    pub(super) async fn watch(&self, call: &Call, enough: Watch) -> Result<Answer, String> {
        let mut connection = self.connect(false).await?;
        let mut response = exchange(&mut connection, &self.server.authority, call).await?;
        if response.status() != 200 {
            return whole(response).await;
        }
        let deadline = Instant::now() + Duration::from_secs_f64(enough.seconds);
        let mut text = Vec::new();
        while text.iter().filter(|byte| **byte == b'\n').count() < enough.events {
            // Neither the end of the time nor that of the watch is an error.
            let Ok(Some(Ok(frame))) = timeout_at(deadline, response.frame()).await else { break };
            text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
        }
        let lines: Vec<&[u8]> =
            text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).collect();
        let events = lines[..lines.len().min(enough.events)].join(&b","[..]);
        let body = [b"{\"watch\":[", &events[..], b"]}"].concat();
        Ok(Answer { code: 200, headers: response.headers().clone(), body: body.into() })
    }

    async fn connect(&self, anonymous: bool) -> Result<SendRequest<Full<Bytes>>, String> {
        let tcp = tokio::net::TcpStream::connect(&self.server.authority).await.map_err(text)?;
        tcp.set_nodelay(true).map_err(text)?;
        let config = if anonymous { &self.server.anonymous } else { &self.server.as_user };
        let connector = TlsConnector::from(config.clone());
        let tls = connector.connect(self.server.name.clone(), tcp).await.map_err(text)?;
        let (sender, connection) = handshake(TokioIo::new(tls)).await.map_err(text)?;
        // Ends with the sender; what it would say of a broken connection, the next request says.
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    authority: &str,
    call: &Call,
) -> Result<Response<Incoming>, String> {
    let method = Method::from_bytes(call.method.as_bytes()).map_err(text)?;
    let mut request = Request::builder().method(method).uri(&call.path).header("Host", authority);
    request = request.header("User-Agent", "oracle/1");
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::from(call.body.clone().unwrap_or_default())).map_err(text)?;
    timeout(PATIENCE, connection.send_request(request)).await.map_err(text)?.map_err(text)
}

async fn whole(response: Response<Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.map_err(text)?.map_err(text)?.to_bytes();
    Ok(Answer { code: head.status.as_u16(), headers: head.headers, body })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
