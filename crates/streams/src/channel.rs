//! The channel protocols: each WebSocket message carries bytes of one numbered channel. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use crate::StreamError;

/// Channel numbers of command sessions.
pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const STATUS: u8 = 3;
pub(crate) const RESIZE: u8 = 4;
/// Version 5 only: the second byte names the channel that ends.
pub(crate) const CLOSE: u8 = 255;

/// How one session wraps channels into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelProtocol {
    pub(crate) version: Version,
    /// Text messages: the channel as a digit, then base64.
    base64: bool,
}

/// What a version adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// The final status is text, sent only on failure.
    Legacy,
    /// The final status is a JSON object, always sent.
    V4,
    /// Channels can be closed.
    V5,
}

/// One message from the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Data(u8, Bytes),
    /// The client ended a channel.
    End(u8),
}

impl ChannelProtocol {
    /// By the name negotiated.
    pub(crate) fn named(name: &str) -> Self {
        let version = match name {
            "v5.channel.k8s.io" => Version::V5,
            "v4.channel.k8s.io" | "v4.base64.channel.k8s.io" => Version::V4,
            _ => Version::Legacy,
        };
        Self { version, base64: name.contains("base64.") }
    }

    pub(crate) fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::with_capacity(1 + data.len().div_ceil(3) * 4);
            text.push(char::from(b'0' + channel));
            STANDARD.encode_string(data, &mut text);
            return Message::text(text);
        }
        let mut message = Vec::with_capacity(1 + data.len());
        message.push(channel);
        message.extend_from_slice(data);
        Message::binary(message)
    }

    /// None for messages without content, which clients may send to keep a connection busy.
    pub(crate) fn decode(self, message: Bytes) -> Result<Option<Received>, StreamError> {
        let Some(&first) = message.first() else { return Ok(None) };
        if self.base64 {
            let channel = first.wrapping_sub(b'0');
            let data = STANDARD
                .decode(&message[1..])
                .map_err(|_| StreamError::Protocol("a message is not valid base64"))?;
            return Ok(Some(Received::Data(channel, data.into())));
        }
        if first == CLOSE && self.version >= Version::V5 {
            return match message[1..] {
                [channel] if channel <= RESIZE => Ok(Some(Received::End(channel))),
                _ => Err(StreamError::Protocol("malformed close signal")),
            };
        }
        Ok(Some(Received::Data(first, message.slice(1..))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, message: &'static [u8], expected: Option<Received>) {
        let decoded = ChannelProtocol::named(name).decode(Bytes::from_static(message)).unwrap();
        assert_eq!(decoded, expected, "{name} {message:?}");
    }

    #[test]
    fn messages_from_the_client() {
        check("v5.channel.k8s.io", b"\x00ls\n", Some(Received::Data(STDIN, Bytes::from_static(b"ls\n"))));
        check("v5.channel.k8s.io", b"\xff\x00", Some(Received::End(STDIN)));
        check("v4.channel.k8s.io", b"\xff\x00", Some(Received::Data(CLOSE, Bytes::from_static(b"\0"))));
        check("channel.k8s.io", b"", None);
        check("base64.channel.k8s.io", b"0bHM=", Some(Received::Data(STDIN, Bytes::from_static(b"ls"))));
        for bad in [&b"\xff"[..], b"\xff\x00\x00", b"\xff\x09"] {
            assert!(ChannelProtocol::named("v5.channel.k8s.io").decode(Bytes::copy_from_slice(bad)).is_err());
        }
        assert!(
            ChannelProtocol::named("v4.base64.channel.k8s.io").decode(Bytes::from_static(b"0?")).is_err()
        );
    }

    #[test]
    fn messages_to_the_client() {
        let v5 = ChannelProtocol::named("v5.channel.k8s.io");
        assert_eq!(v5.encode(STDOUT, b"hi"), Message::binary(&b"\x01hi"[..]));
        assert_eq!(
            ChannelProtocol::named("base64.channel.k8s.io").encode(STDOUT, b"hi"),
            Message::text("1aGk=")
        );
    }
}
