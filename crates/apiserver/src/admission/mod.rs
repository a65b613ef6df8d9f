//! Admission: what may change or refuse a write after it was authorised. Each plugin is one file; they run
//! for every kind, in the order of [`admit`].

mod asking;
mod attributes;
mod caller;
mod configured;
mod external_ips;
mod limits;
mod mountable;
mod namespace;
mod params;
mod pod_security;
mod priority;
mod quota;
mod resize;
mod runtime_class;
mod service_account;
mod surroundings;
mod taint;
mod tolerations;
mod topology;

use serde_json::Value;
use skiff_machinery::{Object, keys};
use skiff_store::{Entry, Page};

use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::options::DeleteOptions;
use crate::plugins::Plugin;

pub(crate) use asking::connect;
pub(crate) use configured::Configured;
pub(crate) use quota::{Charges, charge};
pub(crate) use surroundings::kinds;

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
    /// How it is deleted; only there on delete.
    pub(crate) deletion: Option<&'a DeleteOptions>,
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
    let plugins = &review.call.server.plugins;
    if plugins.has(Plugin::DenyServiceExternalIPs) {
        external_ips::confirm(&review)?;
    }
    if plugins.has(Plugin::LimitRanger) {
        limits::confirm(&review).await?;
    }
    if plugins.has(Plugin::ServiceAccount) {
        service_account::confirm(&review).await?;
    }
    if plugins.has(Plugin::PodSecurity) {
        pod_security::confirm(&review).await?;
    }
    if plugins.has(Plugin::RuntimeClass) {
        runtime_class::confirm(&mut review)?;
    }
    resize::confirm(&review).await?;
    asking::validate(&review).await
}

/// Runs every plugin; the first refusal counts. Tells whether a policy or webhook changed the object.
pub(crate) async fn admit(mut review: Review<'_>) -> Result<bool, ApiError> {
    built_in(&mut review).await?;
    asking::mutate(&mut review).await
}

/// Lets policies and webhooks change and refuse what a subresource takes that is no part of the object, e.g. a Binding.
pub(crate) async fn review_exchanged(
    call: &Call,
    subresource: &str,
    object: &mut Object,
) -> Result<(), ApiError> {
    let (write, old, deletion) = (Write::Create, None, None);
    let mut review = Review { call, write, subresource, object: Some(object), old, deletion };
    if call.server.plugins.has(Plugin::PodTopologyLabels) {
        topology::admit(&mut review).await?;
    }
    asking::mutate(&mut review).await?;
    asking::validate(&review).await
}

/// The whole of admission for what is answered and not stored.
pub(crate) async fn admit_transient(
    call: &Call,
    subresource: &str,
    object: &mut Object,
) -> Result<(), ApiError> {
    let (write, old, deletion) = (Write::Create, None, None);
    let mut review = Review { call, write, subresource, object: Some(&mut *object), old, deletion };
    built_in(&mut review).await?;
    review_exchanged(call, subresource, object).await
}

/// Waits until a change of policies and webhooks counts, so that it does when it is acknowledged.
pub(crate) async fn settle(call: &Call) {
    if call.kind.gv.group == "admissionregistration.k8s.io" && !call.dry_run {
        call.server.configured.catch_up(call.server.store.revision()).await;
    }
}

/// An object as the crates that decide have it.
fn tree(object: &Object) -> Value {
    Value::Object(object.as_map().clone())
}

/// What is stored of a core kind, by its plural name, in the namespace of a call.
async fn all_in_namespace(call: &Call, resource: &str) -> Result<Vec<Entry>, ApiError> {
    let prefix: String = keys::core(resource, call.namespace(), "");
    Ok(call.server.store.list(prefix.as_str().into(), Page::default()).await?.entries)
}

async fn built_in(review: &mut Review<'_>) -> Result<(), ApiError> {
    let plugins = &review.call.server.plugins;
    namespace::admit(review).await?;
    if plugins.has(Plugin::LimitRanger) {
        limits::admit(review).await?;
    }
    if plugins.has(Plugin::ServiceAccount) {
        service_account::admit(review).await?;
    }
    if plugins.has(Plugin::TaintNodesByCondition) {
        taint::admit(review);
    }
    if plugins.has(Plugin::Priority) {
        priority::admit(review)?;
    }
    if plugins.has(Plugin::DefaultTolerationSeconds) {
        tolerations::admit(review);
    }
    if plugins.has(Plugin::RuntimeClass) {
        runtime_class::admit(review)?;
    }
    if plugins.has(Plugin::PodTopologyLabels) {
        topology::admit(review).await?;
    }
    caller::admit(review).await
}
