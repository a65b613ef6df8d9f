//! What writes events, seen from those who have them.

use std::time::Duration;

use futures::future::BoxFuture;
use skiff_audit::Event;

/// Where events go.
pub(super) trait Sink: Send + Sync {
    /// As metrics name it.
    fn name(&self) -> &'static str;

    /// Takes an event over; false if it is lost.
    fn write(&self, event: &Event) -> bool;

    /// Waits until everything has been written that was taken over.
    fn flush(&self) -> BoxFuture<'_, ()>;
}

/// How long that is waited for.
pub(super) const FLUSHED: Duration = Duration::from_secs(5);
