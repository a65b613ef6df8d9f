//! What only the server sends, over WebSocket: the events of a watch, the bytes of a log. What the client sends means
//! nothing, but that it is there.

use std::io;
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Buf as _, Bytes};
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    Answer, LINGER, StreamError,
    handshake::{self, Handshake},
    websocket,
};

/// Largest payload of a message of bytes, before it is encoded.
const CHUNK: usize = 16 * 1024;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Lines of text, one in each message with the line feed at its end. As Kubernetes serves watches: the subprotocol that the
    /// client offers is taken, whatever it is, and of several none can be.
    Lines,
    /// Bytes, after a first, empty message. Subprotocols are none, `binary.k8s.io`, and `base64.binary.k8s.io`, whose messages are
    /// text.
    Bytes,
}

/// How content becomes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Lines,
    Binary,
    Base64,
}

/// Whether a client wants to be served over WebSocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    handshake::is_websocket(headers)
}

/// Answers a WebSocket handshake: `Ok` holds the 101 answer to send and the upgrade to await, `Err` the refusal.
pub fn accept_push<B>(request: &mut Request<B>, content: Content) -> Result<(Answer, PushUpgrade), Answer> {
    let Handshake { key, offered } = Handshake::read(request.method(), request.headers())?;
    let (framing, protocol) = agree(&offered, content)?;
    let answer = handshake::websocket_answer(key, protocol);
    Ok((answer, PushUpgrade { framing, upgrade: hyper::upgrade::on(request) }))
}

fn agree<'p>(offered: &[&'p str], content: Content) -> Result<(Framing, Option<&'p str>), Answer> {
    const BYTES: [(&str, Framing); 2] =
        [("binary.k8s.io", Framing::Binary), ("base64.binary.k8s.io", Framing::Base64)];
    match (content, offered) {
        (Content::Lines, []) => Ok((Framing::Lines, None)),
        (Content::Lines, [one]) => Ok((Framing::Lines, Some(one))),
        (Content::Lines, _) => {
            let message = "a watch takes one subprotocol: offer no more";
            Err(handshake::refuse(StatusCode::BAD_REQUEST, "BadRequest", message))
        }
        (Content::Bytes, []) => Ok((Framing::Binary, None)),
        (Content::Bytes, offered) => {
            let known = |offer: &&'p str| {
                BYTES.iter().find(|(name, _)| name == offer).map(|(_, framing)| (*framing, Some(*offer)))
            };
            offered.iter().find_map(known).ok_or_else(|| {
                let message = format!(
                    "requested protocol(s) are not supported: {offered:?}; supports {:?}",
                    BYTES.map(|(name, _)| name)
                );
                handshake::refuse(StatusCode::FORBIDDEN, "Forbidden", &message)
            })
        }
    }
}

/// An accepted request whose connection is about to be handed over.
pub struct PushUpgrade {
    framing: Framing,
    upgrade: OnUpgrade,
}

impl PushUpgrade {
    /// Waits until the client is connected (the 101 answer must have been sent), sends what comes, and closes at its end. A
    /// client that does not take a message within `stall`, or has gone, is given up; what is sent waits for it meanwhile.
    pub async fn send<E>(
        self,
        content: impl Stream<Item = Result<Bytes, E>>,
        stall: Duration,
    ) -> Result<(), StreamError>
    where
        E: std::fmt::Display,
    {
        let io = TokioIo::new(self.upgrade.await.map_err(StreamError::Upgrade)?);
        push(io, self.framing, content, stall).await
    }
}

async fn push<T, E>(
    io: T,
    framing: Framing,
    content: impl Stream<Item = Result<Bytes, E>>,
    stall: Duration,
) -> Result<(), StreamError>
where
    T: AsyncRead + AsyncWrite + Unpin,
    E: std::fmt::Display,
{
    let (mut sink, mut client) = websocket::server(io).await.split();
    if framing != Framing::Lines {
        give(&mut sink, framing.message(Bytes::new()), stall).await?;
    }
    let mut content = std::pin::pin!(content);
    let mut rest = Bytes::new();
    let code = loop {
        if let Some(message) = framing.next(&mut rest) {
            give(&mut sink, message, stall).await?;
            continue;
        }
        tokio::select! {
            more = content.next() => match more {
                Some(Ok(more)) => rest = more,
                Some(Err(error)) => {
                    tracing::debug!(%error, "what a WebSocket client was sent ended early");
                    break CloseCode::Error;
                }
                None => break CloseCode::Normal,
            },
            said = client.next() => match said {
                // The library answers pings while it reads.
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed)) | None => return Ok(()),
                Some(Err(error)) => return Err(StreamError::Connection(websocket::into_io(error))),
            },
        }
    };
    give(&mut sink, Message::Close(Some(CloseFrame { code, reason: "".into() })), stall).await?;
    let closed = async { while let Some(Ok(_)) = client.next().await {} };
    if tokio::time::timeout(LINGER, closed).await.is_err() {
        tracing::debug!("a WebSocket client does not close");
    }
    Ok(())
}

/// Sends one message, which the client has to take in time.
async fn give(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    message: Message,
    stall: Duration,
) -> Result<(), StreamError> {
    let sent = tokio::time::timeout(stall, sink.send(message)).await;
    let sent = sent.unwrap_or_else(|_elapsed| Err(Error::Io(io::ErrorKind::TimedOut.into())));
    sent.map_err(|error| StreamError::Connection(websocket::into_io(error)))
}

impl Framing {
    /// Takes the next message from what is left of a piece of content.
    fn next(self, rest: &mut Bytes) -> Option<Message> {
        if !rest.has_remaining() {
            return None;
        }
        let length = match self {
            Self::Lines => rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1),
            Self::Binary | Self::Base64 => rest.len().min(CHUNK),
        };
        Some(self.message(rest.split_to(length)))
    }

    fn message(self, payload: Bytes) -> Message {
        match self {
            Self::Lines => Message::text(String::from_utf8_lossy(&payload).into_owned()),
            Self::Binary => Message::binary(payload),
            Self::Base64 => Message::text(BASE64_STANDARD.encode(payload)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{FutureExt as _, stream};

    use super::*;
    use crate::test_client::{connection, websocket};

    const STALL: Duration = Duration::from_secs(30);

    fn pieces(texts: &[&'static str]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        let pieces: Vec<_> = texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
        stream::iter(pieces)
    }

    async fn received(framing: Framing, content: &[&'static str]) -> Vec<Message> {
        let (ours, theirs) = connection();
        let sent = tokio::spawn(push(ours, framing, pieces(content), STALL));
        let mut client = websocket(theirs).await;
        let mut messages = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            messages.push(message);
        }
        sent.await.unwrap().unwrap();
        assert!(
            matches!(messages.pop(), Some(Message::Close(Some(close))) if close.code == CloseCode::Normal)
        );
        messages
    }

    #[tokio::test]
    async fn each_line_is_a_message() {
        let messages = received(Framing::Lines, &["{\"a\":1}\n{\"b\":2}\n", "{\"c\":3}\n"]).await;
        assert_eq!(messages, ["{\"a\":1}\n", "{\"b\":2}\n", "{\"c\":3}\n"].map(Message::text));
    }

    #[tokio::test]
    async fn bytes_follow_an_empty_message() {
        let bytes: [&'static [u8]; 3] = [b"", b"a\nb", b"c"];
        assert_eq!(received(Framing::Binary, &["a\nb", "c"]).await, bytes.map(Message::binary));
        assert_eq!(received(Framing::Base64, &["a\nb", "c"]).await, ["", "YQpi", "Yw=="].map(Message::text));
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_it_and_one_that_talks_does_not() {
        let (ours, theirs) = connection();
        let forever = stream::pending::<Result<Bytes, Infallible>>();
        let sent = tokio::spawn(push(ours, Framing::Lines, forever, STALL));
        let mut client = websocket(theirs).await;
        client.send(Message::text("anything")).await.unwrap();
        client.send(Message::Ping(Bytes::from_static(b"p"))).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"p")));
        client.close(None).await.unwrap();
        sent.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (ours, _theirs) = connection();
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096])));
        let error = push(ours, Framing::Binary, endless, STALL).await.unwrap_err();
        assert!(matches!(error, StreamError::Connection(error) if error.kind() == io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn content_that_breaks_off_is_no_normal_end() {
        let (ours, theirs) = connection();
        let broken = stream::iter([Err::<Bytes, _>("broken")]);
        tokio::spawn(push(ours, Framing::Lines, broken, STALL).map(drop));
        let close = websocket(theirs).await.next().await.unwrap().unwrap();
        assert!(matches!(close, Message::Close(Some(close)) if close.code == CloseCode::Error));
    }

    #[test]
    fn subprotocols_are_agreed_on_as_kubernetes_does() {
        let check = |content, offered: &[&str], expected: Result<(Framing, Option<&str>), u16>| {
            let agreed = agree(offered, content).map_err(|refusal| refusal.status().as_u16());
            assert_eq!(agreed, expected, "{offered:?}");
        };
        check(Content::Lines, &[], Ok((Framing::Lines, None)));
        check(Content::Lines, &["binary.k8s.io"], Ok((Framing::Lines, Some("binary.k8s.io"))));
        check(Content::Lines, &["a", "b"], Err(400));
        check(Content::Bytes, &[], Ok((Framing::Binary, None)));
        check(Content::Bytes, &["x", "binary.k8s.io"], Ok((Framing::Binary, Some("binary.k8s.io"))));
        let encoded = "base64.binary.k8s.io";
        check(Content::Bytes, &[encoded], Ok((Framing::Base64, Some(encoded))));
        check(Content::Bytes, &["x"], Err(403));
    }
}
