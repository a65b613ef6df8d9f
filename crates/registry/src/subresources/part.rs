//! Subresources that change a part of the object: containers added to a running pod for debugging, and what it may use.

use bytes::Bytes;
use skiff_machinery::managed::Operation;
use skiff_machinery::{Object, Subresource, Verb};

use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::outcome::Outcome;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{decode, metadata, patch};
use crate::registry::Registry;

/// PUT or PATCH of the object, of which only that part counts that the strategy takes; it also checks what became of it.
pub(super) async fn change(
    registry: &Registry,
    call: &Call,
    subresource: Subresource,
    body: &Bytes,
) -> Result<Outcome, ApiError> {
    let part = Part::Narrow(subresource);
    let narrow = |old: &Object, wanted: &Object| call.kind.strategy.narrow(subresource, old, wanted);
    if call.verb == Verb::Patch && patch::is_apply(call) {
        let within = |old: &Object, merged: Object| {
            let mut new = narrow(old, &merged);
            metadata::take_preconditions(&mut new, &merged);
            take_managers(&mut new, &merged);
            new
        };
        return patch::apply(registry, call, part, body, &within).await;
    }
    let put = if call.verb == Verb::Update { Some(decode::object(call, body)?) } else { None };
    let make = |old: &Object| {
        let wanted = match &put {
            Some(wanted) => wanted.clone(),
            None => patch::patched(registry, call, old, body)?,
        };
        let mut new = narrow(old, &wanted);
        metadata::take_preconditions(&mut new, &wanted);
        Ok(new)
    };
    update::change(registry, call, part, Operation::Update, make).await
}

/// What is noted of an object's managers becomes that of another.
fn take_managers(new: &mut Object, merged: &Object) {
    const MANAGERS: &[&str] = &["metadata", "managedFields"];
    match merged.get(MANAGERS) {
        Some(managers) => new.set(MANAGERS, managers.clone()),
        None => drop(new.remove(MANAGERS)),
    }
}
