//! Decoders of this crate for the fuzz targets.

use bytes::BytesMut;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::codec::Decoder as _;

use crate::StreamError;
use crate::channel::{ChannelProtocol, Received};
use crate::spdy::FrameDecoder;
use crate::websocket::{self, Receiver};

/// Reads frames until the bytes end or are refused.
pub fn spdy_frames(data: &[u8]) {
    let mut decoder = FrameDecoder::new();
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
}

struct Ignored;

impl Receiver for Ignored {
    async fn receive(&mut self, message: Received) -> Result<(), StreamError> {
        drop(message);
        Ok(())
    }
}

/// Reads what a WebSocket client sends after its handshake, as channels in both encodings.
pub fn websocket_frames(data: &[u8]) {
    for protocol in ["v5.channel.k8s.io", "base64.channel.k8s.io"] {
        let reading = async {
            let (_, stream) = websocket::server(tokio::io::join(data, tokio::io::sink())).await.split();
            websocket::read(stream, ChannelProtocol::named(protocol), Ignored).await
        };
        // All bytes are there: nothing of it waits.
        drop(reading.now_or_never().expect("reading from memory ends"));
    }
}
