//! What plans have to tell, for an executor to record as events.

use k8s_openapi::api::core::v1::ObjectReference;
use skiff_informer::{EventType, Recorder};

/// Something to tell in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) kind: EventType,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Note {
    pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Normal, reason, message: message.into() }
    }

    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Warning, reason, message: message.into() }
    }

    /// Tells it of `object`.
    pub(crate) fn tell(self, recorder: &Recorder, object: ObjectReference) {
        recorder.event(object, self.kind, self.reason, self.message);
    }
}
