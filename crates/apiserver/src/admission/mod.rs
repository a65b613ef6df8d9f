//! Admission: what may change or refuse a write after it was authorised. Each plugin is one file; they run
//! for every kind, in the order of [`admit`].

mod caller;
mod namespace;
mod pod_security;
mod priority;
mod runtime_class;
mod service_account;
mod taint;
mod tolerations;

use skiff_machinery::Object;

use crate::errors::ApiError;
use crate::pipeline::call::Call;

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Update,
    Delete,
}

impl Write {
    /// The verb, as in RBAC.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A write as plugins see it.
pub(crate) struct Review<'a> {
    pub(crate) call: &'a Call,
    pub(crate) write: Write,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// The object to be written, with defaults; not there on delete.
    pub(crate) object: Option<&'a mut Object>,
    /// The object as it is; not there on create.
    pub(crate) old: Option<&'a Object>,
}

impl Review<'_> {
    /// Whether the call's kind is this one of the core group.
    fn is_core(&self, kind: &str) -> bool {
        self.call.kind.gv.group.is_empty() && self.call.kind.names.kind == kind
    }

    /// The pod that is about to be created, if this is one.
    fn new_pod(&mut self) -> Option<&mut Object> {
        let creates_pod = self.is_core("Pod") && self.write == Write::Create && self.subresource.is_empty();
        if creates_pod { self.object.as_deref_mut() } else { None }
    }

    /// The pod that is about to be created or changed, if this is one.
    fn written_pod(&mut self) -> Option<&mut Object> {
        let writes_pod = self.is_core("Pod") && self.subresource.is_empty();
        if writes_pod { self.object.as_deref_mut() } else { None }
    }
}

/// What is refused only of an object that is right in itself: after its validation.
pub(crate) async fn confirm(mut review: Review<'_>) -> Result<(), ApiError> {
    runtime_class::confirm(&mut review)?;
    pod_security::confirm(&review).await
}

/// Runs every plugin; the first refusal counts.
pub(crate) async fn admit(mut review: Review<'_>) -> Result<(), ApiError> {
    namespace::admit(&review).await?;
    priority::admit(&mut review)?;
    tolerations::admit(&mut review);
    taint::admit(&mut review);
    service_account::admit(&mut review).await?;
    runtime_class::admit(&mut review)?;
    caller::admit(&review).await
}
