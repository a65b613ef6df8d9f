//! `namespaces/finalize`: the list of finalizers in a namespace's `spec`.

use bytes::Bytes;
use serde_json::Value;
use skiff_machinery::managed::Operation;
use skiff_machinery::{Object, Subresource};

use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::outcome::Outcome;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{decode, metadata};
use crate::registry::Registry;

/// PUT.
pub(super) async fn finalize(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let wanted = decode::object(call, body)?;
    let make = |old: &Object| Ok(finalized(old, &wanted));
    update::change(registry, call, Part::Narrow(Subresource::Finalize), Operation::Update, make).await
}

fn finalized(old: &Object, wanted: &Object) -> Object {
    let mut new = old.clone();
    match wanted.get(&["spec", "finalizers"]).and_then(Value::as_array) {
        Some(finalizers) if !finalizers.is_empty() => new.set(&["spec", "finalizers"], finalizers.clone()),
        _ => drop(new.remove(&["spec", "finalizers"])),
    }
    metadata::take_preconditions(&mut new, wanted);
    new
}
