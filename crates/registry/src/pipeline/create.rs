//! Create: the whole way from a decoded object to a committed one.

use bytes::Bytes;
use http::StatusCode;
use skiff_machinery::{Claim, Object, Subresource, keys, managed::Operation, names};
use skiff_store::{CommitError, Entry, Expect, Key, Op, Txn};

use super::call::Call;
use super::outcome::Outcome;
use super::{allocate, decode, metadata, metadata_checks, versions};
use crate::admission;
use crate::admission::review::{Review, Write};
use crate::errors::ApiError;
use crate::registry::Registry;

/// How often a name is made from `generateName` before giving up.
const NAMES_TRIED: usize = 8;

/// How often claims are chosen again when another writer took them first.
const CLAIMS_TRIED: usize = 32;

/// How often an object is charged again when others were charged first. With group commit a round is one fsync, in which one of
/// them is.
const CHARGES_TRIED: usize = 100;

/// POST to a collection.
pub(crate) async fn create(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let object = decode::object(call, body)?;
    create_object(registry, call, object, Operation::Update).await
}

/// Creates a decoded object: also for PUT and apply to a name that does not exist. An applied object comes
/// with its managed fields.
pub(crate) async fn create_object(
    registry: &Registry,
    call: &Call,
    mut object: Object,
    operation: Operation,
) -> Result<Outcome, ApiError> {
    let generate = generated_prefix(&object);
    metadata::begin(call, &mut object)?;
    let Some(prefix) = generate else { return create_named(registry, call, object, operation).await };
    for _ in 0..NAMES_TRIED {
        let mut attempt = object.clone();
        attempt.set(&["metadata", "name"], names::generate(&prefix));
        let name = attempt.name().to_owned();
        match create_named(registry, call, attempt, operation).await {
            Err(ApiError::AlreadyExists(_)) => tracing::debug!(name, "generated name is taken"),
            other => return other,
        }
    }
    Err(ApiError::GeneratedNamesTaken(call.subject(&prefix)))
}

fn generated_prefix(object: &Object) -> Option<String> {
    let prefix = object.str(&["metadata", "generateName"]);
    (object.name().is_empty() && !prefix.is_empty()).then(|| prefix.to_owned())
}

async fn create_named(
    registry: &Registry,
    call: &Call,
    mut object: Object,
    operation: Operation,
) -> Result<Outcome, ApiError> {
    prepare(registry, call, &mut object, operation).await?;
    let attempts = if call.kind.strategy.allocates() { CLAIMS_TRIED } else { 1 };
    for left in (0..attempts).rev() {
        // The last attempt needs no copy to go back to.
        let mut attempt = if left > 0 { object.clone() } else { std::mem::take(&mut object) };
        let claims = allocate::allocate(registry, call, &mut attempt, None).await?;
        validate(registry, call, &attempt)?;
        admission::confirm(review(registry, call, &mut attempt)).await?;
        if let Some(outcome) = place(registry, call, attempt, &claims).await? {
            return Ok(outcome);
        }
    }
    Err(ApiError::Internal("addresses or ports chosen for the object were taken again and again".to_owned()))
}

fn review<'r>(registry: &'r Registry, call: &'r Call, object: &'r mut Object) -> Review<'r> {
    let (write, old, deletion) = (Write::Create, None, None);
    Review { registry, call, write, subresource: "", object: Some(object), old, deletion }
}

/// Writes an object with its claims and what it costs; `None`: another writer took a claim first.
async fn place(
    registry: &Registry,
    call: &Call,
    mut object: Object,
    claims: &[Claim],
) -> Result<Option<Outcome>, ApiError> {
    let key = keys::object(&call.kind, call.namespace(), object.name());
    let mut charges = admission::charge(&review(registry, call, &mut object)).await?;
    call.warn_of_ignored(&object);
    if call.dry_run {
        return dry(registry, call, &key, object).await.map(Some);
    }
    metadata::take_revision(&mut object)?;
    let versions::Written { stored: value, shown } = versions::written(call, &object).await?;
    let mut alone =
        Txn { expect: vec![Expect::Absent(key.clone())], ops: vec![Op::Put { key: key.clone(), value }] };
    allocate::claim(call, &mut alone, &object, &[], claims);
    for _ in 0..CHARGES_TRIED {
        let mut txn = alone.clone();
        charges.join(&mut txn);
        match registry.store.commit(txn).await {
            Ok(revision) => {
                let entry = Entry { key, value: shown.into(), created: revision, modified: revision };
                return Ok(Some(Outcome::entry(StatusCode::CREATED, entry)));
            }
            Err(CommitError::Conflict { key: taken, .. }) if taken == key => {
                return Err(ApiError::AlreadyExists(call.subject(object.name())));
            }
            Err(CommitError::Conflict { key: other, .. }) if charges.concern(&other) => {
                charges = admission::charge(&review(registry, call, &mut object)).await?;
            }
            Err(CommitError::Conflict { .. }) => return Ok(None),
            Err(other) => return Err(other.into()),
        }
    }
    Err(ApiError::Internal("the quotas of the namespace changed again and again".to_owned()))
}

/// Everything between decoding and allocation. The writer owns what it wrote and the defaults, not what admission,
/// preparation and allocation add.
async fn prepare(
    registry: &Registry,
    call: &Call,
    object: &mut Object,
    operation: Operation,
) -> Result<(), ApiError> {
    let strategy = &call.kind.strategy;
    call.kind.fill(object);
    if operation == Operation::Update {
        track_writer(call, object);
    }
    call.kind.show(object);
    if admission::admit(review(registry, call, object)).await? {
        call.kind.show(object);
    }
    strategy.prepare_create(registry.context(call), object);
    Ok(())
}

/// Makes the writer own the object, but for a status that is not its to write.
fn track_writer(call: &Call, object: &mut Object) {
    let status = call.kind.has(Subresource::Status).then(|| object.remove(&["status"])).flatten();
    metadata::track(call, object, None, "");
    if let Some(status) = status {
        object.set(&["status"], status);
    }
}

fn validate(registry: &Registry, call: &Call, object: &Object) -> Result<(), ApiError> {
    let mut errors = metadata_checks::validate(&call.kind, object);
    errors.extend(call.kind.strategy.validate(registry.context(call), object));
    if !errors.is_empty() {
        let errors = call.kind.strategy.arrange(errors);
        return Err(ApiError::invalid(call.content_subject(object.name()), errors));
    }
    call.kind.strategy.warnings(object, None).into_iter().for_each(|text| call.warn(text));
    Ok(())
}

async fn dry(registry: &Registry, call: &Call, key: &Key, object: Object) -> Result<Outcome, ApiError> {
    if registry.store.get(key).await?.is_some() {
        return Err(ApiError::AlreadyExists(call.subject(object.name())));
    }
    Ok(Outcome::object(StatusCode::CREATED, object))
}
