//! `pods/ephemeralcontainers`: containers added to a running pod for debugging.

use bytes::Bytes;
use skiff_machinery::managed::Operation;
use skiff_machinery::{Object, Subresource, Verb};

use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::outcome::Outcome;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{decode, metadata, patch};
use crate::registry::Registry;

/// PUT or PATCH of the pod, of which only `spec.ephemeralContainers` counts.
pub(super) async fn change(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let part = Part::Narrow(Subresource::EphemeralContainers);
    if call.verb == Verb::Patch && patch::is_apply(call) {
        return patch::apply(registry, call, part, body, &applied).await;
    }
    let put = if call.verb == Verb::Update { Some(decode::object(call, body)?) } else { None };
    let make = |old: &Object| {
        let wanted = match &put {
            Some(wanted) => wanted.clone(),
            None => patch::patched(call, old, body)?,
        };
        Ok(extended(old, &wanted))
    };
    update::change(registry, call, part, Operation::Update, make).await
}

/// The pod with the ephemeral containers of one that was applied, and with what is noted of its managers.
fn applied(old: &Object, merged: Object) -> Object {
    const MANAGERS: &[&str] = &["metadata", "managedFields"];
    let mut new = extended(old, &merged);
    match merged.get(MANAGERS) {
        Some(managers) => new.set(MANAGERS, managers.clone()),
        None => drop(new.remove(MANAGERS)),
    }
    new
}

/// The pod with the ephemeral containers of another; the strategy checks what became of them.
fn extended(old: &Object, wanted: &Object) -> Object {
    const FIELD: &[&str] = &["spec", "ephemeralContainers"];
    let mut new = old.clone();
    match wanted.get(FIELD) {
        Some(containers) => new.set(FIELD, containers.clone()),
        None => drop(new.remove(FIELD)),
    }
    metadata::take_preconditions(&mut new, wanted);
    new
}
