//! Decoders of this crate for the fuzz targets.

use bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use crate::spdy::FrameDecoder;

/// Reads frames until the bytes end or are refused.
pub fn spdy_frames(data: &[u8]) {
    let mut decoder = FrameDecoder::new();
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
}
