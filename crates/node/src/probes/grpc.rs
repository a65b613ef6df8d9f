//! The standard gRPC health check, spoken directly over HTTP/2.

use super::perform::{Outcome, connect, connect_error};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;

/// The `SERVING` status of the health protocol.
const SERVING: u64 = 1;

/// Asks the server at `address` whether `service` (all of it, if empty) serves. A refused
/// connection is tried again for `patience`.
pub(crate) async fn check(address: &str, service: &str, patience: Duration) -> Outcome {
    match ask(address, service, patience).await {
        Ok(SERVING) => Outcome::Success,
        Ok(status) => {
            let name = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
            let name = usize::try_from(status)
                .ok()
                .and_then(|status| name.get(status))
                .copied()
                .unwrap_or("UNKNOWN");
            Outcome::Failure(format!("service unhealthy (responded with \"{name}\")"))
        }
        Err(cause) => Outcome::Failure(cause),
    }
}

async fn ask(address: &str, service: &str, patience: Duration) -> Result<u64, String> {
    let tcp = connect(address, patience).await.map_err(|error| {
        format!(
            "error: failed to connect service at {address:?}: dial tcp {address}: {}",
            connect_error(&error)
        )
    })?;
    let failed = |error: hyper::Error| format!("error: health rpc probe failed: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .map_err(failed)?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(frame(&request_message(service))))
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let mut status = response.headers().get("grpc-status").cloned();
        let collected = response.into_body().collect().await.map_err(failed)?;
        if let Some(trailer) = collected.trailers().and_then(|trailers| trailers.get("grpc-status")) {
            status = Some(trailer.clone());
        }
        match status.as_ref().and_then(|status| status.to_str().ok()) {
            None | Some("0") => Ok(status_of(&collected.to_bytes())),
            Some("12") => {
                Err("error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                    .into())
            }
            Some(code) => Err(format!("error: health rpc probe failed: rpc error: code = {code}")),
        }
    };
    let answer = answer.await;
    connection.abort();
    answer
}

/// A `HealthCheckRequest`: field 1 is the service's name.
fn request_message(service: &str) -> Vec<u8> {
    let name = &service.as_bytes()[..service.len().min(127)];
    if name.is_empty() {
        return Vec::new();
    }
    let length = u8::try_from(name.len()).unwrap_or(127);
    [&[0x0a, length], name].concat()
}

/// A gRPC message: uncompressed, with its length.
fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}

/// The status of a `HealthCheckResponse` in its frame: field 1, a varint; 0 when absent.
fn status_of(frame: &[u8]) -> u64 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => u64::from(*status),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(frame(&request_message("ab")).as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(frame(&request_message("")).as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(status_of(&[0, 0, 0, 0, 2, 0x08, 1]), SERVING);
        assert_eq!(status_of(&[0, 0, 0, 0, 0]), 0);
    }
}
