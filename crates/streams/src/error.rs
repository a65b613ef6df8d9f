//! What can go wrong with a stream session.

use std::io;

/// Failure of a session. None is retryable: the client has to connect again.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The HTTP connection was not handed over after the 101 answer.
    #[error("the connection was not upgraded")]
    Upgrade(#[source] hyper::Error),
    /// The client did not open the streams it asked for in time.
    #[error("the client opened {opened} of {expected} streams within {seconds} s")]
    MissingStreams {
        /// Streams the query asked for, with the status stream.
        expected: usize,
        /// Streams that arrived.
        opened: usize,
        /// The bound.
        seconds: u64,
    },
    /// The peer broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The connection failed.
    #[error("connection lost")]
    Connection(#[from] io::Error),
    /// The peer closed the connection.
    #[error("the client went away")]
    Gone,
}
