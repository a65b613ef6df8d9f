//! Sessions of exec and attach.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Answer, StreamError,
    channel::{self, ChannelProtocol, Received, Version},
    handshake::{self, Agreed, Supported},
    input::{self, InputReader, InputSender},
    resize::{Sizes, TerminalSize},
    spdy,
    status::{self, Outcome},
    websocket::{Channels, Receiver},
};

/// How long a SPDY client may take to open its streams.
const OPEN_STREAMS_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of input that may wait for the command. WebSocket has no flow control per channel: beyond this the whole
/// connection waits.
const INPUT_LIMIT: usize = 1024 * 1024;

const SUPPORTED: Supported = Supported {
    websocket: &[
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "channel.k8s.io",
        "base64.channel.k8s.io",
    ],
    websocket_default: Some("channel.k8s.io"),
    spdy: &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
};

/// The streams that the query of an exec or attach request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandStreams {
    /// The client will send input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants standard error; ignored with `tty`, where there is only one output.
    pub stderr: bool,
    /// The command runs on a terminal; sizes are sent.
    pub tty: bool,
}

/// One connected exec or attach client.
pub struct CommandSession {
    /// What the client types; `None` if it did not ask for it. Ends at the client's end of input, fails when the
    /// connection is lost. Dropping it discards further input.
    pub stdin: Option<StdinReader>,
    /// `None` if the client did not ask for it.
    pub stdout: Option<OutputWriter>,
    /// `None` if the client did not ask for it.
    pub stderr: Option<OutputWriter>,
    /// Sizes of the client's terminal, newest last. Without a terminal it never yields.
    pub resize: mpsc::Receiver<TerminalSize>,
    /// Ends the session.
    pub status: StatusSender,
    /// Cancelled when the client is gone, whatever the reason.
    pub gone: CancellationToken,
}

/// Answers an exec or attach request: `Ok` holds the 101 answer to send and the upgrade to await, `Err` the refusal.
pub fn accept_command<B>(
    request: &mut Request<B>,
    want: CommandStreams,
) -> Result<(Answer, CommandUpgrade), Answer> {
    if !(want.stdin || want.stdout || want.stderr) {
        let message = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(handshake::refuse(StatusCode::BAD_REQUEST, "BadRequest", message));
    }
    let want = CommandStreams { stderr: want.stderr && !want.tty, ..want };
    let (answer, agreed, upgrade) = handshake::upgrade(request, &SUPPORTED)?;
    Ok((answer, CommandUpgrade { want, agreed, upgrade }))
}

/// An accepted request whose connection is about to be handed over.
pub struct CommandUpgrade {
    want: CommandStreams,
    agreed: Agreed,
    upgrade: OnUpgrade,
}

impl CommandUpgrade {
    /// Waits until the client is connected (the 101 answer must have been sent) and has opened its streams.
    pub async fn session(self) -> Result<CommandSession, StreamError> {
        let io = TokioIo::new(self.upgrade.await.map_err(StreamError::Upgrade)?);
        session_over(io, self.agreed, self.want).await
    }
}

async fn session_over<T>(io: T, agreed: Agreed, want: CommandStreams) -> Result<CommandSession, StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match agreed {
        Agreed::WebSocket(protocol) => over_websocket(io, ChannelProtocol::named(protocol), want).await,
        Agreed::Spdy(protocol) => over_spdy(io, protocol, want).await,
    }
}

async fn over_websocket<T>(
    io: T,
    protocol: ChannelProtocol,
    want: CommandStreams,
) -> Result<CommandSession, StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (input, stdin) = input::pipe(INPUT_LIMIT, None);
    let (sizes, resize) = Sizes::channel();
    let channels =
        Channels::start(io, protocol, CommandReceiver { input: want.stdin.then_some(input), sizes }).await;
    let output = |channel| OutputWriter(Box::pin(channels.writer(channel)));
    let (stdout, stderr) =
        (want.stdout.then(|| output(channel::STDOUT)), want.stderr.then(|| output(channel::STDERR)));
    // Old clients wait for a first, empty message to know that the command is being run.
    let first = match (want.stdout, want.stderr) {
        (true, _) => channel::STDOUT,
        (false, true) => channel::STDERR,
        (false, false) => channel::STATUS,
    };
    channels.send(first, b"").await?;
    Ok(CommandSession {
        stdin: want.stdin.then_some(StdinReader(stdin)),
        stdout,
        stderr,
        resize,
        gone: channels.gone.clone(),
        status: StatusSender(Status::Channels(channels)),
    })
}

/// Distributes what a WebSocket client sends.
struct CommandReceiver {
    input: Option<InputSender>,
    sizes: Sizes,
}

impl Receiver for CommandReceiver {
    async fn receive(&mut self, message: Received) -> Result<(), StreamError> {
        match (message, &self.input) {
            (Received::Data(channel::STDIN, data), Some(input)) => input.push(data).await,
            (Received::End(channel::STDIN), Some(input)) => input.end(),
            (Received::Data(channel::RESIZE, data), _) => self.sizes.feed(&data),
            (other, _) => tracing::debug!(?other, "ignoring a message on a channel that is not in use"),
        }
        Ok(())
    }
}

async fn over_spdy<T>(io: T, protocol: &str, want: CommandStreams) -> Result<CommandSession, StreamError>
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let resizes = want.tty && matches!(protocol, "v3.channel.k8s.io" | "v4.channel.k8s.io");
    let mut connection = spdy::Connection::start(io, |headers| role(headers).is_some())?;
    let mut opened = SpdyStreams::default();
    let expected =
        1 + [want.stdin, want.stdout, want.stderr, resizes].iter().filter(|wanted| **wanted).count();
    let all = async {
        while opened.count() < expected {
            opened.place(connection.accept().await.ok_or(StreamError::Gone)?);
        }
        Ok::<(), StreamError>(())
    };
    match tokio::time::timeout(OPEN_STREAMS_WITHIN, all).await {
        Ok(result) => result?,
        Err(_elapsed) => {
            let (opened, seconds) = (opened.count(), OPEN_STREAMS_WITHIN.as_secs());
            return Err(StreamError::MissingStreams { expected, opened, seconds });
        }
    }
    let missing = StreamError::Protocol("the client opened a stream twice, or one it did not ask for");
    let Some(error) = opened.error else { return Err(missing) };
    let (sizes, resize) = Sizes::channel();
    let mut to_end = Vec::new();
    let mut ended = |stream: &spdy::Stream| to_end.push(stream.id);
    [&opened.stdin, &opened.stdout, &opened.stderr, &opened.resize]
        .into_iter()
        .flatten()
        .for_each(&mut ended);
    let mut input_side = Vec::new();
    if let Some(stream) = opened.resize {
        input_side.push(stream.write);
        tokio::spawn(read_sizes(stream.read, sizes));
    }
    let stdin = opened.stdin.map(|stream| {
        input_side.push(stream.write);
        StdinReader(stream.read)
    });
    let output = |stream: spdy::Stream| OutputWriter(Box::pin(stream.write));
    let gone = connection.gone().clone();
    let json = protocol == "v4.channel.k8s.io";
    let status = SpdyStatus { connection, error, to_end, _input_side: input_side, json };
    Ok(CommandSession {
        stdin,
        stdout: opened.stdout.map(output),
        stderr: opened.stderr.map(output),
        resize,
        gone,
        status: StatusSender(Status::Spdy(Box::new(status))),
    })
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Error,
    Stdin,
    Stdout,
    Stderr,
    Resize,
}

fn role(headers: &spdy::Headers) -> Option<Role> {
    Some(match headers.get("streamtype")? {
        "error" => Role::Error,
        "stdin" => Role::Stdin,
        "stdout" => Role::Stdout,
        "stderr" => Role::Stderr,
        "resize" => Role::Resize,
        _ => return None,
    })
}

#[derive(Default)]
struct SpdyStreams {
    error: Option<spdy::Stream>,
    stdin: Option<spdy::Stream>,
    stdout: Option<spdy::Stream>,
    stderr: Option<spdy::Stream>,
    resize: Option<spdy::Stream>,
}

impl SpdyStreams {
    fn place(&mut self, stream: spdy::Stream) {
        let place = match role(&stream.headers) {
            Some(Role::Error) => &mut self.error,
            Some(Role::Stdin) => &mut self.stdin,
            Some(Role::Stdout) => &mut self.stdout,
            Some(Role::Stderr) => &mut self.stderr,
            Some(Role::Resize) => &mut self.resize,
            None => return,
        };
        *place = Some(stream);
    }

    fn count(&self) -> usize {
        [&self.error, &self.stdin, &self.stdout, &self.stderr, &self.resize].into_iter().flatten().count()
    }
}

async fn read_sizes(mut stream: spdy::StreamReader, mut sizes: Sizes) {
    let mut buffer = [0; 256];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        sizes.feed(&buffer[..length]);
    }
}

/// The client's input.
pub struct StdinReader(InputReader);

impl AsyncRead for StdinReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

/// One output stream to the client. Writing waits when the client does not keep up, and fails with
/// [`io::ErrorKind::BrokenPipe`] when it is gone. It ends with the session, or with SPDY when dropped.
pub struct OutputWriter(Pin<Box<dyn AsyncWrite + Send>>);

impl AsyncWrite for OutputWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

/// Sends the final status and closes the session. Dropping it without a status closes the connection once the outputs are
/// dropped too, which the client reports as an error.
pub struct StatusSender(Status);

enum Status {
    Channels(Channels),
    Spdy(Box<SpdyStatus>),
}

struct SpdyStatus {
    connection: spdy::Connection,
    error: spdy::Stream,
    /// Streams whose our side ends before the status.
    to_end: Vec<spdy::StreamId>,
    /// Kept so that these streams stay open for as long as the session.
    _input_side: Vec<spdy::StreamWriter>,
    json: bool,
}

impl StatusSender {
    /// Reports `outcome` after everything that was written to the output streams, closes all of them, and returns
    /// when it was handed to the connection. Call it when all output was written.
    pub async fn finish(self, outcome: Outcome) -> Result<(), StreamError> {
        match self.0 {
            Status::Channels(channels) => {
                let text = match channels.protocol.version {
                    Version::V4 | Version::V5 => Some(status::json(&outcome)),
                    Version::Legacy => status::text(&outcome),
                };
                if let Some(text) = text {
                    channels.send(channel::STATUS, text.as_bytes()).await?;
                }
                channels.finish().await
            }
            Status::Spdy(status) => {
                let SpdyStatus { connection, error, to_end, json, .. } = *status;
                let text = if json { Some(status::json(&outcome)) } else { status::text(&outcome) };
                connection.finish(error.id, text.map(Bytes::from).unwrap_or_default(), &to_end).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
