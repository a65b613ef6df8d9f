//! Watches and logs over WebSocket: the answer that HTTP would get, in messages.

use std::time::Duration;

use http::header::{
    CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use skiff_streams::{Answer, Content, PushUpgrade};
use tokio_util::sync::CancellationToken;

use super::body::{self, Body};

/// A client that gets its answer over WebSocket.
pub(crate) struct Push(Result<(Answer, PushUpgrade), Answer>);

impl Push {
    /// Takes the handshake, and the token that may be among its subprotocols, out of a request; what is left is answered as any
    /// other. `None`: the client speaks plain HTTP.
    #[allow(
        clippy::result_large_err,
        reason = "a handshake is answered or refused with a whole HTTP answer, once"
    )]
    pub(crate) fn take(request: &mut Request<Body>, content: Content) -> Option<Self> {
        if !skiff_streams::is_websocket(request.headers()) {
            return None;
        }
        skiff_auth::strip_credentials(request.headers_mut());
        let accepted = skiff_streams::accept_push(request, content);
        let handshake = [
            CONNECTION,
            UPGRADE,
            SEC_WEBSOCKET_EXTENSIONS,
            SEC_WEBSOCKET_KEY,
            SEC_WEBSOCKET_PROTOCOL,
            SEC_WEBSOCKET_VERSION,
        ];
        for name in handshake {
            request.headers_mut().remove(name);
        }
        Some(Self(accepted))
    }

    /// Sends the body of an answer in messages, as long as the client takes each within `stall`. A refusal stays as it is.
    pub(crate) fn answer(
        self,
        response: Response<Body>,
        stall: Duration,
        shutdown: CancellationToken,
    ) -> Response<Body> {
        if !response.status().is_success() {
            return response;
        }
        let (answer, upgrade) = match self.0 {
            Ok(accepted) => accepted,
            Err(refusal) => return refusal.map(body::wrap),
        };
        let content = response.into_body().into_data_stream();
        tokio::spawn(async move {
            let sent = shutdown.run_until_cancelled(upgrade.send(content, stall)).await;
            if let Some(Err(error)) = sent {
                tracing::debug!(error = &error as &dyn std::error::Error, "a WebSocket client was lost");
            }
        });
        answer.map(body::wrap)
    }
}
