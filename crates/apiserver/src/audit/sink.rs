//! What writes events, seen from those who have them.

use std::time::Duration;

use skiff_audit::Event;
use tokio::sync::oneshot;

/// Where events go.
pub(super) trait Sink: Send + Sync {
    /// As metrics name it.
    fn name(&self) -> &'static str;

    /// Takes an event over; false if it is lost.
    fn write(&self, event: &Event) -> bool;

    /// Hands over whom to tell when everything has been written that was taken over before; false if nobody can be told.
    fn tell(&self, written: oneshot::Sender<()>) -> bool;
}

/// How long it is waited for.
const FLUSHED: Duration = Duration::from_secs(5);

/// Waits until everything has been written that was taken over, but not for ever.
pub(super) async fn flush(sink: &dyn Sink) {
    let (written, is_written) = oneshot::channel();
    if sink.tell(written) && tokio::time::timeout(FLUSHED, is_written).await.is_err() {
        tracing::warn!(
            sink = sink.name(),
            "some requests may not be written down: the audit backend is slow"
        );
    }
}
