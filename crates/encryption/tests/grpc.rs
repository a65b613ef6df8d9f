//! A key management service behind a socket, as one that was written with a gRPC library answers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use skiff_encryption::KmsConfig;
use skiff_encryption::grpc::Socket;
use skiff_encryption::kms::{Encrypted, Service as _};
use tokio::net::UnixListener;

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A message with its head, and the trailers.
fn answer(message: &[u8], status: &str, text: &str) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-message", text.parse().unwrap());
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let data = [&[0][..], &length, message].concat();
    let data = if status == "0" { data } else { Vec::new() };
    let frames = [Frame::data(Bytes::from(data)), Frame::trailers(trailers)].map(Ok);
    let body = StreamBody::new(tokio_stream(frames));
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
}

fn tokio_stream<T: Send + Sync + 'static>(items: [T; 2]) -> impl futures::Stream<Item = T> + Send + Sync {
    futures::stream::iter(items)
}

async fn serve(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    assert_eq!(request.headers()["te"], "trailers");
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(match path.as_str() {
        // version = 1, healthz = 2, key_id = 3.
        "/v2.KeyManagementService/Status" => answer(b"\x0a\x02v2\x12\x02ok\x1a\x03one", "0", ""),
        // plaintext = 1 and uid = 2; ciphertext = 1, key_id = 2.
        "/v2.KeyManagementService/Encrypt" => {
            assert_eq!(&body[5..], b"\x0a\x04seed\x12\x03uid");
            answer(b"\x0a\x06closed\x12\x03one", "0", "")
        }
        "/v2.KeyManagementService/Decrypt" if body.ends_with(b"slow") => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Response::new(Full::new(Bytes::new()).boxed())
        }
        _ => answer(b"", "5", "no such key"),
    })
}

fn config(socket: std::path::PathBuf) -> KmsConfig {
    KmsConfig { name: "vault".to_owned(), socket, timeout: Duration::from_millis(1500) }
}

#[tokio::test]
async fn a_service_is_asked_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kms.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(serve);
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { connection.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    let asked = tokio::task::spawn_blocking(move || {
        let service = Socket::new(&config(path));
        let status = service.status().unwrap();
        assert_eq!((&*status.version, &*status.healthz, &*status.key_id), ("v2", "ok", "one"));
        let encrypted = service.encrypt("uid", b"seed").unwrap();
        assert_eq!((&*encrypted.ciphertext, &*encrypted.key_id), (&b"closed"[..], "one"));
        let why = service.decrypt("uid", &encrypted).unwrap_err();
        assert_eq!(why, "rpc error: code = NotFound desc = no such key");
        let slow = Encrypted { key_id: "slow".to_owned(), ..Encrypted::default() };
        let why = service.decrypt("", &slow).unwrap_err();
        assert_eq!(why, "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
    });
    asked.await.unwrap();
    server.abort();
    let nobody = Socket::new(&config(dir.path().join("nobody.sock")));
    let why = nobody.status().unwrap_err();
    assert!(why.starts_with("rpc error: code = Unavailable desc = connection error: dial unix "), "{why}");
}
