//! Server side of the remote-command and port-forward protocols.
//!
//! One session type serves every wire protocol: [`accept_command`] and [`accept_port_forward`] look at the request, answer
//! the upgrade and hand out the session once the client is connected. Behind them are WebSocket (`v5`, `v4` and
//! unversioned channel protocols, raw and base64), SPDY/3.1, and SPDY/3.1 tunnelled in WebSocket messages.
//!
//! [`accept_push`] is for what only the server sends, a watch or a log.
//!
//! A connection has one task that reads and one that writes. The reader never waits for the writer, so pings are
//! answered while output is stuck; it waits only for the consumer of a stream whose buffer is full.

#![allow(
    clippy::result_large_err,
    reason = "an upgrade is answered or refused with a whole HTTP answer, once"
)]

use std::time::Duration;

mod channel;
mod command;
mod error;
mod forward;
#[cfg(debug_assertions)]
pub mod fuzzing;
mod handshake;
mod input;
mod outbound;
mod push;
mod resize;
mod spdy;
mod status;
#[cfg(test)]
mod test_client;
mod websocket;

pub use command::{
    CommandSession, CommandStreams, CommandUpgrade, OutputWriter, StatusSender, StdinReader, accept_command,
};
pub use error::StreamError;
pub use forward::{
    DataStream, ErrorSender, Forwarded, PortForwardSession, PortForwardUpgrade, accept_port_forward,
};
pub use push::{Content, PushUpgrade, accept_push, is_websocket};
pub use resize::TerminalSize;
pub use status::Outcome;

/// What an upgrade request is answered with: empty for 101, a `Status` object otherwise.
pub type Answer = http::Response<http_body_util::Full<bytes::Bytes>>;

/// How long a connection waits for the client to close after our end. Closing first could destroy output that
/// the client has not read yet.
const LINGER: Duration = Duration::from_secs(10);
