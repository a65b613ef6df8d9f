//! Sessions of exec and attach.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{Answer, StreamError};

/// The streams that the query of an exec or attach request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandStreams {
    /// The client will send input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants standard error; not with `tty`.
    pub stderr: bool,
    /// The command runs on a terminal; sizes are sent.
    pub tty: bool,
}

/// Size of the client's terminal, in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The process exited with this code (128 + signal number if it was killed). 0 is success.
    Exited(i32),
    /// The command could not be run or observed; the text is for the user.
    Failed(String),
}

/// One connected exec or attach client.
pub struct CommandSession {
    /// What the client types; `None` if it did not ask for it. Ends at the client's end of input.
    pub stdin: Option<StdinReader>,
    /// `None` if the client did not ask for it.
    pub stdout: Option<OutputWriter>,
    /// `None` if the client did not ask for it.
    pub stderr: Option<OutputWriter>,
    /// Sizes of the client's terminal, newest last.
    pub resize: mpsc::Receiver<TerminalSize>,
    /// Ends the session.
    pub status: StatusSender,
    /// Cancelled when the client is gone, whatever the reason.
    pub gone: CancellationToken,
}

/// The client's input.
pub struct StdinReader(Pin<Box<dyn AsyncRead + Send + Sync>>);

impl AsyncRead for StdinReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

/// One output stream to the client. Waits when the client does not keep up.
pub struct OutputWriter(Pin<Box<dyn AsyncWrite + Send + Sync>>);

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

/// Sends the final status and closes the session. Dropping it without a status closes the connection, which the
/// client reports as an error.
pub struct StatusSender {}

impl StatusSender {
    /// Reports `outcome` after everything that was written to the output streams, closes all of them, and returns when the client
    /// has it. Call it when all output was written.
    pub async fn finish(self, _outcome: Outcome) -> Result<(), StreamError> {
        todo!()
    }
}

/// An accepted request whose connection is about to be handed over.
pub struct CommandUpgrade {}

impl CommandUpgrade {
    /// Waits until the client is connected (the 101 answer must have been sent) and has opened its streams.
    pub async fn session(self) -> Result<CommandSession, StreamError> {
        todo!()
    }
}

/// Answers an exec or attach request: `Ok` holds the 101 answer to send and the upgrade to await, `Err` the refusal.
pub fn accept_command<B>(
    _request: &mut Request<B>,
    _want: CommandStreams,
) -> Result<(Answer, CommandUpgrade), Answer> {
    todo!()
}
