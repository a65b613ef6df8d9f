//! Sessions of port-forward.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::Instant,
};

use crate::{
    Answer, StreamError,
    channel::{ChannelProtocol, Received},
    handshake::{self, Agreed, Supported},
    input::{self, InputReader, InputSender},
    spdy,
    websocket::{Channels, Receiver, Tunnel},
};

/// How long the second stream of a connection may take after the first.
const PAIR_WITHIN: Duration = Duration::from_secs(30);
/// Bytes that may wait for a pod on a channel of the old WebSocket protocol.
const INPUT_LIMIT: usize = 256 * 1024;
/// Two channels each, numbered in one byte.
const MAX_PORTS: usize = 127;

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

const SUPPORTED: Supported = Supported {
    websocket: &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"],
    websocket_default: Some("v4.channel.k8s.io"),
    spdy: &["portforward.k8s.io"],
};

/// Answers a port-forward request: `Ok` holds the 101 answer to send and the upgrade to await, `Err` the refusal.
pub fn accept_port_forward<B>(request: &mut Request<B>) -> Result<(Answer, PortForwardUpgrade), Answer> {
    let ports = ports_of_query(request.uri().query().unwrap_or_default());
    let (answer, agreed, upgrade) = handshake::upgrade(request, &SUPPORTED)?;
    let protocol = match agreed {
        Agreed::Spdy(_) => Protocol::Spdy,
        Agreed::WebSocket(TUNNEL) => Protocol::TunnelledSpdy,
        Agreed::WebSocket(name) => {
            let bad = |message: &str| handshake::refuse(StatusCode::BAD_REQUEST, "BadRequest", message);
            Protocol::Channels(ChannelProtocol::named(name), ports.map_err(|message| bad(&message))?)
        }
    };
    Ok((answer, PortForwardUpgrade { protocol, upgrade }))
}

/// The ports that a client of the channel protocol names in its query.
fn ports_of_query(query: &str) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    let values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "ports");
    for (_, value) in values {
        for port in value.split(',') {
            match port.parse() {
                Ok(0) | Err(_) => return Err(format!("query parameter \"ports\": {port:?} is not a port")),
                Ok(port) => ports.push(port),
            }
        }
    }
    match ports.len() {
        0 => Err("query parameter \"ports\" is required".into()),
        1..=MAX_PORTS => Ok(ports),
        _ => Err(format!("query parameter \"ports\": at most {MAX_PORTS} ports")),
    }
}

enum Protocol {
    Spdy,
    TunnelledSpdy,
    Channels(ChannelProtocol, Vec<u16>),
}

/// An accepted request whose connection is about to be handed over.
pub struct PortForwardUpgrade {
    protocol: Protocol,
    upgrade: OnUpgrade,
}

impl PortForwardUpgrade {
    /// Waits until the client is connected; the 101 answer must have been sent.
    pub async fn session(self) -> Result<PortForwardSession, StreamError> {
        let io = TokioIo::new(self.upgrade.await.map_err(StreamError::Upgrade)?);
        session_over(io, self.protocol).await
    }
}

async fn session_over<T>(io: T, protocol: Protocol) -> Result<PortForwardSession, StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let source = match protocol {
        Protocol::Spdy => over_spdy(io)?,
        Protocol::TunnelledSpdy => over_spdy(Tunnel::new(io).await)?,
        Protocol::Channels(protocol, ports) => over_channels(io, protocol, &ports).await?,
    };
    Ok(PortForwardSession(source))
}

/// One connected port-forward client; each local connection of the client is one [`Forwarded`]. Connections
/// already handed out live on when the session is dropped.
pub struct PortForwardSession(Source);

enum Source {
    Spdy { connection: spdy::Connection, unpaired: HashMap<PairId, Unpaired> },
    Channels { ready: VecDeque<Forwarded>, channels: Channels },
}

/// What the two streams of one connection have in common: the client's request number, or for old clients the number of
/// the stream that came first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PairId {
    Request(String),
    FirstStream(spdy::StreamId),
}

struct Unpaired {
    stream: spdy::Stream,
    deadline: Instant,
}

impl PortForwardSession {
    /// The next connection to forward; `None` when the client is gone. Safe to cancel.
    pub async fn next(&mut self) -> Option<Forwarded> {
        match &mut self.0 {
            Source::Channels { ready, channels } => match ready.pop_front() {
                Some(forwarded) => Some(forwarded),
                None => {
                    channels.gone.cancelled().await;
                    None
                }
            },
            Source::Spdy { connection, unpaired } => loop {
                let deadline = unpaired.values().map(|stream| stream.deadline).min();
                tokio::select! {
                    stream = connection.accept() => {
                        if let Some(forwarded) = pair(unpaired, stream?) {
                            return Some(forwarded);
                        }
                    }
                    () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                        let now = Instant::now();
                        unpaired.retain(|_, stream| stream.deadline > now);
                    }
                }
            },
        }
    }
}

impl PortForwardSession {
    /// Whether no more connections can come, whatever the client does: in the channel protocol the request has named them all.
    pub fn is_exhausted(&self) -> bool {
        matches!(&self.0, Source::Channels { ready, .. } if ready.is_empty())
    }

    /// Tells a client of the channel protocol that all its connections have ended: nothing says so of a single one.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn finish(self) -> Result<(), StreamError> {
        match self.0 {
            Source::Channels { channels, .. } => channels.finish().await,
            Source::Spdy { .. } => Ok(()),
        }
    }
}

fn over_spdy<T: AsyncRead + AsyncWrite + Send + 'static>(io: T) -> Result<Source, StreamError> {
    let well_formed = |headers: &spdy::Headers| role(headers).is_some() && port(headers).is_some();
    let connection = spdy::Connection::start(io, well_formed)?;
    Ok(Source::Spdy { connection, unpaired: HashMap::new() })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Error,
    Data,
}

fn role(headers: &spdy::Headers) -> Option<Role> {
    match headers.get("streamtype")? {
        "error" => Some(Role::Error),
        "data" => Some(Role::Data),
        _ => None,
    }
}

fn port(headers: &spdy::Headers) -> Option<u16> {
    headers.get("port")?.parse().ok().filter(|port| *port != 0)
}

/// Joins a stream with its partner, or keeps it until that comes.
fn pair(unpaired: &mut HashMap<PairId, Unpaired>, stream: spdy::Stream) -> Option<Forwarded> {
    let own = role(&stream.headers)?;
    let id = match (stream.headers.get("requestid"), own) {
        (Some(request), _) => PairId::Request(request.to_owned()),
        (None, Role::Error) => PairId::FirstStream(stream.id),
        (None, Role::Data) => PairId::FirstStream(stream.id.checked_sub(2)?),
    };
    let Some(partner) = unpaired.remove(&id).filter(|partner| role(&partner.stream.headers) != Some(own))
    else {
        unpaired.insert(id, Unpaired { stream, deadline: Instant::now() + PAIR_WITHIN });
        return None;
    };
    let (data, error) = if own == Role::Data { (stream, partner.stream) } else { (partner.stream, stream) };
    let port = port(&data.headers)?;
    let data = DataStream { read: data.read, write: Box::pin(data.write) };
    Some(Forwarded { port, data, error: ErrorSender(Box::pin(error.write)), ends_apart: true })
}

async fn over_channels<T>(io: T, protocol: ChannelProtocol, ports: &[u16]) -> Result<Source, StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (inputs, readers): (Vec<_>, Vec<_>) = ports.iter().map(|_| input::pipe(INPUT_LIMIT, None)).unzip();
    let channels = Channels::start(io, protocol, DataReceiver(inputs)).await;
    let mut ready = VecDeque::new();
    for ((number, port), read) in (0u8..).zip(ports).zip(readers) {
        let (data, error) = (2 * number, 2 * number + 1);
        channels.send(data, &port.to_le_bytes()).await?;
        channels.send(error, &port.to_le_bytes()).await?;
        let data = DataStream { read, write: Box::pin(channels.writer(data)) };
        let error = ErrorSender(Box::pin(channels.writer(error)));
        ready.push_back(Forwarded { port: *port, data, error, ends_apart: false });
    }
    Ok(Source::Channels { ready, channels })
}

/// Distributes what a client of the channel protocol sends.
struct DataReceiver(Vec<InputSender>);

impl Receiver for DataReceiver {
    async fn receive(&mut self, message: Received) -> Result<(), StreamError> {
        if let Received::Data(channel, data) = message
            && channel % 2 == 0
            && let Some(input) = self.0.get(usize::from(channel / 2))
        {
            input.push(data).await;
        }
        Ok(())
    }
}

/// One connection to forward into the pod.
pub struct Forwarded {
    /// The pod's port.
    pub port: u16,
    /// The bytes of the connection; shutting it down sends the end of the stream, dropping it ends both directions.
    pub data: DataStream,
    /// Reports that the connection failed. Dropping it reports that it went well.
    pub error: ErrorSender,
    /// Whether the client has a word for the end of what it sends. Those of the channel protocol have none, so that a connection
    /// of theirs ends when the pod's side does.
    pub ends_apart: bool,
}

/// The bytes of one forwarded connection.
pub struct DataStream {
    read: InputReader,
    write: Pin<Box<dyn AsyncWrite + Send>>,
}

impl AsyncRead for DataStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for DataStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write.as_mut().poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_shutdown(cx)
    }
}

/// Tells the client why a forwarded connection failed.
pub struct ErrorSender(Pin<Box<dyn AsyncWrite + Send>>);

impl ErrorSender {
    /// Sends `message` and closes the error stream.
    pub async fn fail(mut self, message: &str) -> Result<(), StreamError> {
        self.0.write_all(message.as_bytes()).await?;
        Ok(self.0.shutdown().await?)
    }
}

#[cfg(test)]
mod tests;
