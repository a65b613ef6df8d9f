//! SPDY/3.1: frames, header compression, and a server connection with its streams.

mod compression;
mod connection;
mod frame;
mod window;

pub(crate) use connection::{Connection, Stream, StreamReader, StreamWriter};
#[cfg(any(test, debug_assertions))]
pub(crate) use frame::FrameDecoder;
#[cfg(test)]
pub(crate) use frame::{Frame, FrameEncoder};
pub(crate) use frame::{Headers, StreamId};
