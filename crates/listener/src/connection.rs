//! One connection: handshake, requests, end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::body::{Answer, RequestBody};
use crate::contain::{Panicked, contained};
use crate::exchange::{Course, End, Exchanges};
use crate::gather::Gathered;
use crate::io::Held;
use crate::peer::{Peer, Place};
use crate::{AUDIT_ID, BoxError, Limits};

/// What a connection is served with.
pub(crate) struct Serving<C> {
    pub(crate) limits: Arc<Limits>,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) connected: C,
    pub(crate) shutdown: CancellationToken,
}

/// Serves one connection to its end.
pub(crate) async fn serve<C, H, F, B>(
    serving: Serving<C>,
    stream: TcpStream,
    address: std::net::SocketAddr,
    place: Arc<Place>,
) where
    C: FnOnce(Peer) -> H,
    H: Fn(Request<RequestBody>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Serving { limits, tls, connected, shutdown } = serving;
    let ended = place.ended.clone();
    let Some(shaken) = ended.run_until_cancelled(handshake(&limits, tls, stream)).await else { return };
    let Some(stream) = shaken else { return };
    let connection = stream.get_ref().1;
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let peer =
        Peer { address, certificate: certificate.map(|c| c.clone().into_owned()), place: place.clone() };
    if peer.certificate.is_some() {
        peer.known();
    }
    let is_http2 = connection.alpn_protocol() == Some(b"h2");
    let exchanges = Exchanges::new();
    let builder = builder(&limits, is_http2);
    let handler = connected(peer);
    let answering = (limits.clone(), exchanges.clone(), place.clone());
    let service = service_fn(move |request| {
        let (limits, exchanges, place) = answering.clone();
        answer(limits, exchanges, place, handler.clone(), request)
    });
    let io = Gathered::new(Held::new(stream, place.clone()), is_http2);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io.clone()), service);
    drive((connection, io), &exchanges, &place, &limits, &shutdown).await;
}

async fn handshake(
    limits: &Limits,
    tls: Arc<ServerConfig>,
    stream: TcpStream,
) -> Option<TlsStream<TcpStream>> {
    if let Err(error) = prepare(&stream, limits) {
        tracing::debug!(%error, "cannot set a socket's options");
    }
    match tokio::time::timeout(limits.handshake, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("TLS handshake took too long");
            None
        }
    }
}

fn prepare(stream: &TcpStream, limits: &Limits) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    Ok(rustix::net::sockopt::set_tcp_keepidle(stream, limits.tcp_keepalive)?)
}

/// The protocol is what the TLS handshake agreed on: there is no guessing, which could be waited for.
fn builder(limits: &Limits, is_http2: bool) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // A head that does not come is silence, which `drive` ends in order.
        .header_read_timeout(None)
        .max_headers(limits.head_fields)
        .max_buf_size(limits.head_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(limits.resets)
        .max_header_list_size(limits.head_bytes)
        .max_send_buf_size(limits.send_buffer)
        .keep_alive_interval(limits.ping.0)
        .keep_alive_timeout(limits.ping.1);
    if is_http2 { builder.http2_only() } else { builder.http1_only() }
}

/// Lets a connection go on for as long as it may.
async fn drive<C>(
    (connection, io): (C, Gathered<Held>),
    exchanges: &Exchanges,
    place: &Place,
    limits: &Limits,
    shutdown: &CancellationToken,
) where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let several = || exchanges.are_several();
    let outcome = loop {
        let until = match exchanges.check(Instant::now(), place.is_stranger(), limits) {
            Course::Until(at) => at,
            Course::End(End::Idle) => {
                connection.as_mut().graceful_shutdown();
                let end = io.drive(connection.as_mut(), several);
                break tokio::time::timeout(limits.drain, end).await.unwrap_or(Ok(()));
            }
            Course::End(why) => return tracing::debug!(?why, "a connection's client is too slow"),
        };
        tokio::select! {
            outcome = io.drive(connection.as_mut(), several) => break outcome,
            () = tokio::time::sleep_until(until) => {}
            () = place.ended.cancelled() => return,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                break io.drive(connection.as_mut(), several).await;
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer<H, F, B>(
    limits: Arc<Limits>,
    exchanges: Exchanges,
    place: Arc<Place>,
    handler: H,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible>
where
    H: Fn(Request<RequestBody>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let running = exchanges.begin();
    let reusable = request.version() <= Version::HTTP_11;
    let (head, incoming) = request.into_parts();
    let (body, rest) = RequestBody::new(incoming);
    let mut request = Request::from_parts(head, body);
    request.extensions_mut().insert(running.exchange().clone());
    let outcome = contained(handler(request)).await;
    let mut response = match outcome {
        Ok(response) => response.map(Either::Left),
        Err(panicked) => refuse(&panicked).map(Either::Right),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        place.stream();
    } else if reusable && !rest.take(limits.unread_body).await {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, running)))
}

/// The answer to a request whose handler panicked. Its ID is the only way from what the client saw to what the log says.
fn refuse(panicked: &Panicked) -> Response<Full<Bytes>> {
    let id = Uuid::new_v4().to_string();
    let mut response = Response::new(Full::from(panicked.told(&id) + "\n"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.extend(HeaderValue::from_str(&id).ok().map(|id| (AUDIT_ID, id)));
    response
}
