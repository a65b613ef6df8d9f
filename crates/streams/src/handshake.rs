//! Which protocol a client and we have in common, and the answer to its upgrade request. Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Answer;

/// Names one of the protocols offered and chosen over SPDY.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Lists what we would have accepted, in a refusal.
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// The protocols that one kind of request can be served with, by transport.
pub(crate) struct Supported {
    /// WebSocket subprotocols.
    pub(crate) websocket: &'static [&'static str],
    /// What a WebSocket client that offers no subprotocol speaks.
    pub(crate) websocket_default: Option<&'static str>,
    /// Stream protocol versions over SPDY/3.1.
    pub(crate) spdy: &'static [&'static str],
}

/// The transport and the protocol on it that both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreed {
    WebSocket(&'static str),
    Spdy(&'static str),
}

/// Answers an upgrade request: 101 and what was agreed, or a refusal.
pub(crate) fn upgrade<B>(
    request: &mut Request<B>,
    supported: &Supported,
) -> Result<(Answer, Agreed, OnUpgrade), Answer> {
    let headers = request.headers();
    let (answer, agreed) = if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(not_an_upgrade());
    } else if has_token(headers, &header::UPGRADE, "websocket") {
        websocket(request.method(), headers, supported)?
    } else if has_token(headers, &header::UPGRADE, "spdy/3.1") {
        spdy(headers, supported)?
    } else {
        return Err(not_an_upgrade());
    };
    Ok((answer, agreed, hyper::upgrade::on(request)))
}

fn not_an_upgrade() -> Answer {
    refuse(
        StatusCode::BAD_REQUEST,
        "BadRequest",
        "unable to upgrade: the request needs Connection: Upgrade and Upgrade: websocket or SPDY/3.1",
    )
}

fn websocket(
    method: &Method,
    headers: &HeaderMap,
    supported: &Supported,
) -> Result<(Answer, Agreed), Answer> {
    let Handshake { key, offered } = Handshake::read(method, headers)?;
    let common = first_common(&offered, supported.websocket);
    let protocol = match common {
        Some(protocol) => protocol,
        None if offered.is_empty() => match supported.websocket_default {
            Some(protocol) => protocol,
            None => return Err(bad("the Sec-WebSocket-Protocol header is missing")),
        },
        None => return Err(bad(&format!("no subprotocol of {offered:?} is supported"))),
    };
    Ok((websocket_answer(key, common), Agreed::WebSocket(protocol)))
}

/// What a WebSocket client says of itself.
pub(crate) struct Handshake<'h> {
    pub(crate) key: &'h HeaderValue,
    /// The subprotocols that it offers, in its order of preference.
    pub(crate) offered: Vec<&'h str>,
}

impl<'h> Handshake<'h> {
    /// Refuses one whose form is wrong.
    pub(crate) fn read(method: &Method, headers: &'h HeaderMap) -> Result<Self, Answer> {
        if method != Method::GET {
            return Err(bad("a WebSocket handshake must use GET"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(bad("only WebSocket version 13 is supported"));
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
            return Err(bad("the Sec-WebSocket-Key header is missing"));
        };
        Ok(Self { key, offered: tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect() })
    }
}

fn bad(message: &str) -> Answer {
    refuse(StatusCode::BAD_REQUEST, "BadRequest", message)
}

/// The answer that makes a connection a WebSocket.
pub(crate) fn websocket_answer(key: &HeaderValue, protocol: Option<&str>) -> Answer {
    let mut answer = switching("websocket");
    let accept = derive_accept_key(key.as_bytes());
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &header::CONNECTION, "upgrade") && has_token(headers, &header::UPGRADE, "websocket")
}

fn spdy(headers: &HeaderMap, supported: &Supported) -> Result<(Answer, Agreed), Answer> {
    let offered: Vec<&str> = tokens(headers, &STREAM_PROTOCOL).collect();
    if offered.is_empty() {
        let message = "unable to upgrade: the X-Stream-Protocol-Version header is missing";
        return Err(refuse(StatusCode::BAD_REQUEST, "BadRequest", message));
    }
    let Some(protocol) = first_common(&offered, supported.spdy) else {
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {:?}",
            supported.spdy
        );
        let mut answer = refuse(StatusCode::FORBIDDEN, "Forbidden", &message);
        for protocol in supported.spdy {
            answer.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol));
        }
        return Err(answer);
    };
    let mut answer = switching("SPDY/3.1");
    answer.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    Ok((answer, Agreed::Spdy(protocol)))
}

/// The client's order of preference decides.
fn first_common(offered: &[&str], supported: &'static [&'static str]) -> Option<&'static str> {
    offered.iter().find_map(|name| supported.iter().find(|ours| *ours == name)).copied()
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn switching(protocol: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
    answer
}

/// A refusal as a `Status` object.
pub(crate) fn refuse(code: StatusCode, reason: &str, message: &str) -> Answer {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    let mut answer = Response::new(Full::new(Bytes::from(status.to_string())));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPORTED: Supported = Supported {
        websocket: &["v5.channel.k8s.io", "channel.k8s.io"],
        websocket_default: Some("channel.k8s.io"),
        spdy: &["v4.channel.k8s.io", "v3.channel.k8s.io"],
    };

    fn ask(method: &str, headers: &[(&str, &str)]) -> Result<(Answer, Agreed), Answer> {
        let mut request = Request::builder().method(method).uri("/exec");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        upgrade(&mut request, &SUPPORTED).map(|(answer, agreed, _)| (answer, agreed))
    }

    const WEBSOCKET: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn a_websocket_client_gets_its_first_choice_echoed() {
        let offer = ("sec-websocket-protocol", "v9.channel.k8s.io, v5.channel.k8s.io, channel.k8s.io");
        let (answer, agreed) = ask("GET", &[&WEBSOCKET[..], &[offer]].concat()).unwrap();
        assert_eq!(agreed, Agreed::WebSocket("v5.channel.k8s.io"));
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    }

    #[test]
    fn a_websocket_client_without_an_offer_gets_the_oldest_protocol_and_no_echo() {
        let (answer, agreed) = ask("GET", &WEBSOCKET).unwrap();
        assert_eq!(agreed, Agreed::WebSocket("channel.k8s.io"));
        assert!(!answer.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn spdy_clients_offer_in_several_headers() {
        let offers = [
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ];
        let (answer, agreed) = ask("POST", &offers).unwrap();
        assert_eq!(agreed, Agreed::Spdy("v4.channel.k8s.io"));
        assert_eq!(answer.headers()["upgrade"], "SPDY/3.1");
        assert_eq!(answer.headers().get_all("x-stream-protocol-version").iter().count(), 1);
    }

    #[test]
    fn refusals() {
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        assert_eq!(ask("POST", &spdy).unwrap_err().status(), 400);
        let unknown = [&spdy[..], &[("x-stream-protocol-version", "v7.channel.k8s.io")]].concat();
        let answer = ask("POST", &unknown).unwrap_err();
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.headers()["x-accepted-stream-protocol-versions"], "v4.channel.k8s.io");
        let websocket = [&WEBSOCKET[..], &[("sec-websocket-protocol", "other")]].concat();
        assert_eq!(ask("GET", &websocket).unwrap_err().status(), 400);
        assert_eq!(ask("POST", &WEBSOCKET).unwrap_err().status(), 400);
        assert_eq!(ask("GET", &[]).unwrap_err().status(), 400);
    }
}
