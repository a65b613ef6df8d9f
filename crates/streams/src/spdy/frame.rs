//! Frames on the wire. Pure: bytes to frames and back, with the compression state of each direction.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::compression::{Deflater, Inflater};

/// Bytes in front of every frame.
const HEADER: usize = 8;
/// Largest control frame we take, in bytes.
const MAX_CONTROL: usize = 64 * 1024;
const CONTROL: u32 = 0x8000_0000;
const VERSION: u16 = 3;
const FIN: u8 = 1;
const STREAM_MASK: u32 = 0x7fff_ffff;

/// A stream's number: odd if the client opened it.
pub(crate) type StreamId = u32;

/// Name-value pairs; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    SynStream {
        stream: StreamId,
        fin: bool,
        headers: Headers,
    },
    SynReply {
        stream: StreamId,
        fin: bool,
        headers: Headers,
    },
    RstStream {
        stream: StreamId,
        status: u32,
    },
    /// Only the one setting that concerns us: bytes a new stream's window starts with.
    Settings {
        initial_window: Option<u32>,
    },
    Ping(u32),
    GoAway {
        last_good: StreamId,
        status: u32,
    },
    Headers {
        stream: StreamId,
        fin: bool,
        headers: Headers,
    },
    WindowUpdate {
        stream: StreamId,
        delta: u32,
    },
    Data {
        stream: StreamId,
        fin: bool,
        data: Bytes,
    },
    /// A control frame of a kind that this version does not define; to be ignored.
    Unknown(u16),
}

/// Bytes that are not a frame. The connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame ends too early")]
    Truncated,
    #[error("a control frame is too large")]
    TooLarge,
    #[error("control frame of version {0}, not 3")]
    Version(u16),
    #[error("a header block is not a zlib stream with the dictionary of SPDY/3")]
    Compression,
    #[error("a header is not UTF-8")]
    NotText,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Frames from bytes.
pub(crate) struct FrameDecoder(Inflater);

impl FrameDecoder {
    pub(crate) fn new() -> Self {
        Self(Inflater::new())
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: &[u8]) -> Result<Frame, FrameError> {
        let fin = flags & FIN != 0;
        let word = |body: &mut &[u8]| body.try_get_u32().map_err(|_| FrameError::Truncated);
        Ok(match kind {
            1 => {
                let stream = word(&mut body)? & STREAM_MASK;
                let _associated = word(&mut body)?;
                let _priority_and_slot = body.try_get_u16().map_err(|_| FrameError::Truncated)?;
                Frame::SynStream { stream, fin, headers: self.0.block(body)? }
            }
            2 => {
                Frame::SynReply { stream: word(&mut body)? & STREAM_MASK, fin, headers: self.0.block(body)? }
            }
            3 => Frame::RstStream { stream: word(&mut body)? & STREAM_MASK, status: word(&mut body)? },
            4 => settings(body)?,
            6 => Frame::Ping(word(&mut body)?),
            7 => Frame::GoAway { last_good: word(&mut body)? & STREAM_MASK, status: word(&mut body)? },
            8 => Frame::Headers { stream: word(&mut body)? & STREAM_MASK, fin, headers: self.0.block(body)? },
            9 => Frame::WindowUpdate {
                stream: word(&mut body)? & STREAM_MASK,
                delta: word(&mut body)? & STREAM_MASK,
            },
            other => Frame::Unknown(other),
        })
    }
}

const INITIAL_WINDOW: u32 = 7;

fn settings(mut body: &[u8]) -> Result<Frame, FrameError> {
    let count = body.try_get_u32().map_err(|_| FrameError::Truncated)?;
    let mut initial_window = None;
    for _ in 0..count {
        let id = body.try_get_u32().map_err(|_| FrameError::Truncated)? & 0x00ff_ffff;
        let value = body.try_get_u32().map_err(|_| FrameError::Truncated)?;
        if id == INITIAL_WINDOW {
            initial_window = Some(value);
        }
    }
    Ok(Frame::Settings { initial_window })
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(mut header) = buffer.get(..HEADER) else { return Ok(None) };
        let first = header.get_u32();
        let flags = header[0];
        let length = (header.get_u32() & 0x00ff_ffff) as usize;
        let control = first & CONTROL != 0;
        if control && length > MAX_CONTROL {
            return Err(FrameError::TooLarge);
        }
        if buffer.len() < HEADER + length {
            buffer.reserve(HEADER + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEADER);
        let body = buffer.split_to(length).freeze();
        if !control {
            return Ok(Some(Frame::Data { stream: first, fin: flags & FIN != 0, data: body }));
        }
        let [a, b, c, d] = first.to_be_bytes();
        let (version, kind) = (u16::from_be_bytes([a & 0x7f, b]), u16::from_be_bytes([c, d]));
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        self.control(kind, flags, &body).map(Some)
    }
}

/// Bytes from frames.
pub(crate) struct FrameEncoder(Deflater);

impl FrameEncoder {
    pub(crate) fn new() -> Result<Self, FrameError> {
        Deflater::new().map(Self)
    }
}

impl Encoder<Frame> for FrameEncoder {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        match frame {
            Frame::Data { stream, fin, data } => {
                put_header(out, stream & STREAM_MASK, fin, data.len())?;
                out.put_slice(&data);
                Ok(())
            }
            Frame::SynStream { stream, fin, headers } => {
                let block = self.0.block(&headers)?;
                put_control(out, 1, fin, &[stream, 0], 2 + block.len())?;
                out.put_u16(0);
                out.put_slice(&block);
                Ok(())
            }
            Frame::SynReply { stream, fin, headers } => self.with_block(out, 2, stream, fin, &headers),
            Frame::Headers { stream, fin, headers } => self.with_block(out, 8, stream, fin, &headers),
            Frame::RstStream { stream, status } => put_control(out, 3, false, &[stream, status], 0),
            Frame::Settings { initial_window: None } => put_control(out, 4, false, &[0], 0),
            Frame::Settings { initial_window: Some(window) } => {
                put_control(out, 4, false, &[1, INITIAL_WINDOW, window], 0)
            }
            Frame::Ping(id) => put_control(out, 6, false, &[id], 0),
            Frame::GoAway { last_good, status } => put_control(out, 7, false, &[last_good, status], 0),
            Frame::WindowUpdate { stream, delta } => put_control(out, 9, false, &[stream, delta], 0),
            Frame::Unknown(kind) => put_control(out, kind, false, &[], 0),
        }
    }
}

impl FrameEncoder {
    fn with_block(
        &mut self,
        out: &mut BytesMut,
        kind: u16,
        stream: StreamId,
        fin: bool,
        headers: &Headers,
    ) -> Result<(), FrameError> {
        let block = self.0.block(headers)?;
        put_control(out, kind, fin, &[stream], block.len())?;
        out.put_slice(&block);
        Ok(())
    }
}

/// Writes a control frame's header and its leading words; `more` bytes are to follow.
fn put_control(
    out: &mut BytesMut,
    kind: u16,
    fin: bool,
    words: &[u32],
    more: usize,
) -> Result<(), FrameError> {
    let first = CONTROL | u32::from(VERSION) << 16 | u32::from(kind);
    put_header(out, first, fin, 4 * words.len() + more)?;
    words.iter().for_each(|word| out.put_u32(*word));
    Ok(())
}

fn put_header(out: &mut BytesMut, first: u32, fin: bool, length: usize) -> Result<(), FrameError> {
    let length = u32::try_from(length).ok().filter(|length| *length < 1 << 24).ok_or(FrameError::TooLarge)?;
    out.reserve(HEADER + length as usize);
    out.put_u32(first);
    out.put_u32(u32::from(fin) << 24 | length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> impl Strategy<Value = Headers> {
        prop::collection::vec(("[a-z-]{1,20}", "[ -~]{0,40}"), 0..6).prop_map(Headers)
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let id = 0..=STREAM_MASK;
        let data = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop_oneof![
            (id.clone(), any::<bool>(), headers()).prop_map(|(stream, fin, headers)| Frame::SynStream {
                stream,
                fin,
                headers
            }),
            (id.clone(), any::<bool>(), headers()).prop_map(|(stream, fin, headers)| Frame::SynReply {
                stream,
                fin,
                headers
            }),
            (id.clone(), any::<bool>(), headers()).prop_map(|(stream, fin, headers)| Frame::Headers {
                stream,
                fin,
                headers
            }),
            (id.clone(), any::<u32>()).prop_map(|(stream, status)| Frame::RstStream { stream, status }),
            prop::option::of(any::<u32>()).prop_map(|initial_window| Frame::Settings { initial_window }),
            any::<u32>().prop_map(Frame::Ping),
            (id.clone(), any::<u32>()).prop_map(|(last_good, status)| Frame::GoAway { last_good, status }),
            (id.clone(), id.clone()).prop_map(|(stream, delta)| Frame::WindowUpdate { stream, delta }),
            (id, any::<bool>(), data).prop_map(|(stream, fin, data)| Frame::Data { stream, fin, data }),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire_in_any_portions(
            frames in prop::collection::vec(frame(), 1..20),
            portion in 1usize..50,
        ) {
            let (mut encoder, mut decoder) = (FrameEncoder::new().unwrap(), FrameDecoder::new());
            let mut wire = BytesMut::new();
            for frame in &frames {
                encoder.encode(frame.clone(), &mut wire).unwrap();
            }
            let (mut arrived, mut seen) = (BytesMut::new(), Vec::new());
            for bytes in wire.chunks(portion) {
                arrived.extend_from_slice(bytes);
                while let Some(frame) = decoder.decode(&mut arrived).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_frame)) = FrameDecoder::new().decode(&mut buffer) {}
        }
    }

    #[test]
    fn layout() {
        let mut wire = BytesMut::new();
        let mut encoder = FrameEncoder::new().unwrap();
        encoder.encode(Frame::Ping(5), &mut wire).unwrap();
        assert_eq!(wire.split()[..], [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 5]);
        let data = Frame::Data { stream: 3, fin: true, data: Bytes::from_static(b"ab") };
        encoder.encode(data, &mut wire).unwrap();
        assert_eq!(wire[..], [0, 0, 0, 3, 1, 0, 0, 2, b'a', b'b']);
    }
}
