//! A key management service (version 2 of Kubernetes' API for them) in the process of a test, on a socket.
//!
//! What it gives instead of a key says by which of its own it was closed; nothing of it is secret.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{BufMut as _, Bytes};
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

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
struct EncryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    plaintext: Vec<u8>,
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

#[derive(Clone, PartialEq, Message)]
struct DecryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    ciphertext: Vec<u8>,
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

/// Which annotation goes with what it has closed, and must come back.
const ANNOTATION: &str = "version.test.example";

#[derive(Debug)]
struct Keys {
    current: String,
    known: BTreeSet<String>,
}

/// A service that runs until it is dropped.
#[derive(Debug)]
pub struct KmsPlugin {
    socket: PathBuf,
    keys: Arc<Mutex<Keys>>,
    /// Ends with everything that it serves.
    _runtime: Runtime,
}

impl KmsPlugin {
    /// Serves at a socket, with keys of which the last is the current one.
    ///
    /// # Panics
    ///
    /// When it cannot, or there is no key.
    #[must_use]
    pub fn start(socket: &Path, keys: &[&str]) -> Self {
        let current = (*keys.last().expect("a key")).to_owned();
        let keys = Keys { current, known: keys.iter().map(|key| (*key).to_owned()).collect() };
        let keys = Arc::new(Mutex::new(keys));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = {
            let _guard = runtime.enter();
            UnixListener::bind(socket).expect("a socket")
        };
        runtime.spawn(listen(listener, keys.clone()));
        Self { socket: socket.to_owned(), keys, _runtime: runtime }
    }

    /// Closes with this key from now on, and opens with it and those before.
    pub fn rotate(&self, key: &str) {
        let mut keys = locked(&self.keys);
        keys.known.insert(key.to_owned());
        keys.current = key.to_owned();
    }

    /// Opens nothing more that was closed with this key.
    pub fn forget(&self, key: &str) {
        locked(&self.keys).known.remove(key);
    }
}

impl Drop for KmsPlugin {
    fn drop(&mut self) {
        // The next one binds it anew.
        std::fs::remove_file(&self.socket).ok();
    }
}

fn locked(keys: &Mutex<Keys>) -> MutexGuard<'_, Keys> {
    keys.lock().expect("whoever held it has not panicked")
}

async fn listen(listener: UnixListener, keys: Arc<Mutex<Keys>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let keys = keys.clone();
        let service = hyper::service::service_fn(move |request| serve(request, keys.clone()));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn serve(request: Request<Incoming>, keys: Arc<Mutex<Keys>>) -> Result<Response<Body>, hyper::Error> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let message = body.get(5..).unwrap_or_default();
    Ok(answer(&called(&method, message, &locked(&keys))))
}

/// The answer's message, or why there is none.
fn called(method: &str, message: &[u8], keys: &Keys) -> Result<Vec<u8>, String> {
    let unreadable = |error: prost::DecodeError| error.to_string();
    let annotations = BTreeMap::from([(ANNOTATION.to_owned(), b"1".to_vec())]);
    let key_id = keys.current.clone();
    Ok(match method {
        "Status" => {
            StatusResponse { version: "v2".to_owned(), healthz: "ok".to_owned(), key_id }.encode_to_vec()
        }
        "Encrypt" => {
            let plain = EncryptRequest::decode(message).map_err(unreadable)?.plaintext;
            let ciphertext = [key_id.as_bytes(), b":", &plain].concat();
            EncryptResponse { ciphertext, key_id, annotations }.encode_to_vec()
        }
        "Decrypt" => {
            let asked = DecryptRequest::decode(message).map_err(unreadable)?;
            if !keys.known.contains(&asked.key_id) || asked.annotations != annotations {
                return Err(format!("the key {:?} is not known", asked.key_id));
            }
            let head = format!("{}:", asked.key_id);
            let plain = asked.ciphertext.strip_prefix(head.as_bytes()).ok_or("closed by another key")?;
            DecryptResponse { plaintext: plain.to_vec() }.encode_to_vec()
        }
        other => return Err(format!("there is no method {other:?}")),
    })
}

/// As gRPC has it: a message with its length before it, and how it went behind it.
fn answer(told: &Result<Vec<u8>, String>) -> Response<Body> {
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    match told {
        Ok(message) => {
            data.put_u8(0);
            data.put_u32(u32::try_from(message.len()).expect("a short message"));
            data.extend(message);
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        Err(why) => {
            trailers.insert("grpc-status", HeaderValue::from_static("5"));
            let why = HeaderValue::from_str(why).unwrap_or(HeaderValue::from_static("unreadable"));
            trailers.insert("grpc-message", why);
        }
    }
    let frames = [Frame::data(Bytes::from(data)), Frame::trailers(trailers)].map(Ok);
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
