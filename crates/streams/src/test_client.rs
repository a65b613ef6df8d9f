//! Small clients for tests, over an in-memory connection.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadHalf, WriteHalf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::codec::{FramedRead, FramedWrite};

use crate::spdy::{Frame, FrameDecoder, FrameEncoder, Headers, StreamId};

/// Both ends of a connection that buffers little, so that everything has to be read.
pub(crate) fn connection() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(8 * 1024)
}

pub(crate) async fn websocket<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(io, Role::Client, None).await
}

/// Everything the server sends until it closes: the bytes per channel in order of arrival, and the close code.
pub(crate) async fn drain(socket: &mut WebSocketStream<DuplexStream>) -> (Vec<(u8, String)>, Option<u16>) {
    let (mut seen, mut code) = (Vec::new(), None);
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(data) if data.len() > 1 => {
                seen.push((data[0], String::from_utf8_lossy(&data[1..]).into_owned()));
            }
            Message::Text(text) if text.len() > 1 => seen.push((text.as_bytes()[0], text[1..].to_owned())),
            Message::Close(frame) => code = frame.map(|frame| frame.code.into()),
            _ => {}
        }
    }
    (seen, code)
}

/// A SPDY client that keeps no windows, as kubectl.
pub(crate) struct SpdyClient<T> {
    frames: FramedRead<ReadHalf<T>, FrameDecoder>,
    sink: FramedWrite<WriteHalf<T>, FrameEncoder>,
    next: StreamId,
}

/// What arrived on one stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) data: Vec<u8>,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
}

impl Arrived {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

impl<T: AsyncRead + AsyncWrite> SpdyClient<T> {
    pub(crate) fn new(io: T) -> Self {
        let (read, write) = tokio::io::split(io);
        Self {
            frames: FramedRead::new(read, FrameDecoder::new()),
            sink: FramedWrite::new(write, FrameEncoder::new().unwrap()),
            next: 1,
        }
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        self.sink.send(frame).await.unwrap();
    }

    pub(crate) async fn open(&mut self, headers: &[(&str, &str)]) -> StreamId {
        let stream = self.next;
        self.next += 2;
        let headers =
            Headers(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
        self.send(Frame::SynStream { stream, fin: false, headers }).await;
        stream
    }

    pub(crate) async fn data(&mut self, stream: StreamId, data: &[u8], fin: bool) {
        self.send(Frame::Data { stream, fin, data: Bytes::copy_from_slice(data) }).await;
    }

    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        self.frames.next().await.map(Result::unwrap)
    }

    /// Reads until `enough`, or until the server closes the connection.
    pub(crate) async fn read_until(
        &mut self,
        enough: impl Fn(&BTreeMap<StreamId, Arrived>) -> bool,
    ) -> BTreeMap<StreamId, Arrived> {
        let mut arrived = BTreeMap::<StreamId, Arrived>::new();
        while !enough(&arrived) {
            match self.frame().await {
                Some(Frame::Data { stream, fin, data }) => {
                    let entry = arrived.entry(stream).or_default();
                    assert!(!entry.ended, "data after the end of stream {stream}");
                    entry.data.extend_from_slice(&data);
                    entry.ended = fin;
                }
                Some(Frame::RstStream { stream, status }) => {
                    arrived.entry(stream).or_default().reset = Some(status);
                }
                Some(_other) => {}
                None => break,
            }
        }
        arrived
    }
}
