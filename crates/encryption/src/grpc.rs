//! Calls of a key management service (version 2 of its API) over its socket.
//!
//! gRPC as far as it is needed: a call is an HTTP/2 request with one message and five bytes before it, its answer the same
//! with `grpc-status` in the trailers. hyper speaks HTTP/2 in this program already; a gRPC library would bring a second
//! stack of clients, balancing and code that is generated, for three calls a minute. So each call has a connection and a
//! thread of its own, and whoever asks need not know of an async runtime.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;

use crate::configuration::KmsConfig;
use crate::kms::{Encrypted, Service, Status};

/// The most bytes of an answer: a key with annotations of 32 kB is less.
const MOST_ANSWER: usize = 1 << 20;

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    healthz: String,
    #[prost(string, tag = "3")]
    key_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct DecryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    key_id: String,
    #[prost(btree_map = "string, bytes", tag = "4")]
    annotations: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct DecryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    plaintext: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct EncryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    plaintext: Vec<u8>,
    #[prost(string, tag = "2")]
    uid: String,
}

#[derive(Clone, PartialEq, Message)]
struct EncryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(btree_map = "string, bytes", tag = "3")]
    annotations: BTreeMap<String, Vec<u8>>,
}

/// A service behind a socket.
#[derive(Debug)]
pub struct Socket(KmsConfig);

impl Socket {
    /// The service of a configuration; nothing is asked of it yet.
    pub fn new(config: &KmsConfig) -> Self {
        Self(config.clone())
    }

    fn call<A: Message + Default>(&self, method: &'static str, request: &impl Message) -> Result<A, String> {
        let mut body = vec![0];
        body.put_u32(u32::try_from(request.encoded_len()).map_err(|error| error.to_string())?);
        body.extend(request.encode_to_vec());
        let (config, body) = (self.0.clone(), Bytes::from(body));
        let thread = std::thread::Builder::new().name("kms".to_owned());
        let called = thread.spawn(move || block(&config, method, body)).map_err(|error| error.to_string())?;
        let answer = called.join().map_err(|_| "the call panicked".to_owned())??;
        A::decode(answer).map_err(|error| rpc_error(13, &error.to_string()))
    }
}

impl Service for Socket {
    fn status(&self) -> Result<Status, String> {
        let StatusResponse { version, healthz, key_id } = self.call("Status", &StatusRequest {})?;
        Ok(Status { version, healthz, key_id })
    }

    fn encrypt(&self, uid: &str, plaintext: &[u8]) -> Result<Encrypted, String> {
        let request = EncryptRequest { plaintext: plaintext.to_vec(), uid: uid.to_owned() };
        let EncryptResponse { ciphertext, key_id, annotations } = self.call("Encrypt", &request)?;
        Ok(Encrypted { ciphertext, key_id, annotations })
    }

    fn decrypt(&self, uid: &str, encrypted: &Encrypted) -> Result<Vec<u8>, String> {
        let Encrypted { ciphertext, key_id, annotations } = encrypted.clone();
        let request = DecryptRequest { ciphertext, uid: uid.to_owned(), key_id, annotations };
        Ok(self.call::<DecryptResponse>("Decrypt", &request)?.plaintext)
    }
}

/// One call, on a thread that does nothing else.
fn block(config: &KmsConfig, method: &str, body: Bytes) -> Result<Bytes, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let answer = async { tokio::time::timeout(config.timeout, unary(config, method, body)).await };
    runtime.block_on(answer).unwrap_or_else(|_| Err(rpc_error(4, "context deadline exceeded")))
}

async fn unary(config: &KmsConfig, method: &str, body: Bytes) -> Result<Bytes, String> {
    let unavailable = |error: &dyn std::fmt::Display| rpc_error(14, &format!("connection error: {error}"));
    let stream = connect(config)
        .map_err(|error| unavailable(&format_args!("dial unix {}: {error}", config.socket.display())))?;
    let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(|error| unavailable(&error))?;
    let serving = tokio::spawn(connection);
    let request = Request::post(format!("http://localhost/v2.KeyManagementService/{method}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| unavailable(&error))?;
    let (head, body) = answer.into_parts();
    let collected = Limited::new(body, MOST_ANSWER).collect().await;
    let collected = collected.map_err(|error| unavailable(&error))?;
    serving.abort();
    if head.status != StatusCode::OK {
        return Err(rpc_error(
            2,
            &format!("unexpected HTTP status code received from server: {}", head.status),
        ));
    }
    // An answer without a message has its status in the head.
    let trailers = collected.trailers().cloned().unwrap_or_default();
    check_status(if trailers.contains_key("grpc-status") { &trailers } else { &head.headers })?;
    message(collected.to_bytes())
}

fn connect(config: &KmsConfig) -> std::io::Result<UnixStream> {
    let address = match config.socket.to_str().and_then(|path| path.strip_prefix("/@")) {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&config.socket)?,
    };
    let stream = StdStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn check_status(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").map(|code| (code, code.parse::<u32>())) {
        Some((_, Ok(0))) => Ok(()),
        Some((_, Ok(code))) => Err(rpc_error(code, text("grpc-message").unwrap_or_default())),
        Some((other, Err(_))) => Err(rpc_error(2, &format!("malformed grpc-status: {other:?}"))),
        None => Err(rpc_error(13, "server closed the stream without sending trailers")),
    }
}

/// The one message of an answer.
fn message(mut body: Bytes) -> Result<Bytes, String> {
    if body.len() < 5 {
        return Err(rpc_error(13, "the answer has no message"));
    }
    let (compressed, length) = (body.get_u8(), body.get_u32());
    if compressed != 0 || usize::try_from(length) != Ok(body.len()) {
        return Err(rpc_error(13, "the answer is not one message as it is"));
    }
    Ok(body)
}

/// As clients in Go print it.
fn rpc_error(code: u32, description: &str) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("Unknown");
    format!("rpc error: code = {name} desc = {description}")
}
