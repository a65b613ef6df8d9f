//! Server side of the remote-command and port-forward protocols.
//!
//! One session type serves every wire protocol: [`accept_command`] and [`accept_port_forward`] look at the request, answer
//! the upgrade and hand out the session once the client is connected. Behind them are WebSocket (`v5`, `v4` and
//! unversioned channel protocols, raw and base64), SPDY/3.1, and SPDY/3.1 tunnelled in WebSocket messages.

mod command;
mod error;
mod forward;

pub use command::{
    CommandSession, CommandStreams, CommandUpgrade, Outcome, OutputWriter, StatusSender, StdinReader,
    TerminalSize, accept_command,
};
pub use error::StreamError;
pub use forward::{
    DataStream, ErrorSender, Forwarded, PortForwardSession, PortForwardUpgrade, accept_port_forward,
};

/// What an upgrade request is answered with: empty for 101, a `Status` object otherwise.
pub type Answer = http::Response<http_body_util::Full<bytes::Bytes>>;
