//! Delete: at once, after a grace period, or when the last finalizer goes.

use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use skiff_machinery::{Dependents, Grace, Kind, Namespace, Object, keys};
use skiff_store::{CommitError, Entry, Expect, Op, Txn};

use super::at_once::at_once;
use super::call::{Call, timestamp};
use super::options::{self, DeleteOptions, Propagation};
use super::outcome::Outcome;
use super::paging::Request;
use super::select::Selection;
use super::{allocate, list, metadata, versions};
use crate::admission;
use crate::admission::review::{Review, Write};
use crate::errors::{ApiError, Subject};
use crate::registry::Registry;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// How often a deletion is tried again after losing a race.
const RACES: usize = 100;

/// How many objects of a collection are deleted at the same time, so that they share what the store waits for.
const AT_ONCE: usize = 32;

/// What goes with a deletion.
#[derive(Default)]
pub(crate) struct Along<'a> {
    /// What is expected and written in the same transaction.
    pub(crate) together: Txn,
    /// What is noted in an object that does not go at once.
    pub(crate) note: Option<&'a (dyn Fn(&mut Object) + Send + Sync)>,
}

/// DELETE of one object.
pub(crate) async fn delete(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let options = read_options(call, body)?;
    if let Some(why) = call.kind.strategy.stays(&call.path.name) {
        return Err(ApiError::forbidden(call.subject(&call.path.name), why));
    }
    for _ in 0..RACES {
        let entry = registry.entry(call).await?;
        if let Some(outcome) = delete_entry(registry, call, &entry, &options, &Along::default()).await? {
            return Ok(outcome);
        }
    }
    Err(ApiError::modified(call.subject(&call.path.name)))
}

fn read_options(call: &Call, body: &Bytes) -> Result<DeleteOptions, ApiError> {
    let options = DeleteOptions::read(call, body)?;
    if options.propagation.is_none() {
        call.kind.strategy.warns_of_dependents().into_iter().for_each(|text| call.warn(text));
    }
    Ok(options)
}

/// DELETE of a collection: every object that the selectors match.
pub(crate) async fn delete_collection(
    registry: &Registry,
    call: &Call,
    body: &Bytes,
) -> Result<Outcome, ApiError> {
    let selection = Selection::of(call, &*registry.store)?;
    let request = Request::read(call)?;
    let options = read_options(call, body)?;
    let selected = list::select(registry, call, &selection, request).await?;
    let deletions =
        selected.entries.iter().map(|entry| delete_found(registry, call, entry.clone(), &options));
    at_once(deletions, AT_ONCE).await?;
    Ok(Outcome::list(selected))
}

/// Deletes an object that was found, if it is still there.
async fn delete_found(
    registry: &Registry,
    call: &Call,
    entry: Entry,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let mut current = Some(entry);
    while let Some(entry) = current {
        current = match delete_entry(registry, call, &entry, options, &Along::default()).await? {
            Some(_) => None,
            None => match registry.store.get(&entry.key).await? {
                Some(entry) => Some(versions::shown_one(call, entry).await?),
                None => None,
            },
        };
    }
    Ok(())
}

/// One try to delete what the version of the call shows as `entry`; `None`: another writer came first.
pub(crate) async fn delete_entry(
    registry: &Registry,
    call: &Call,
    entry: &Entry,
    options: &DeleteOptions,
    along: &Along<'_>,
) -> Result<Option<Outcome>, ApiError> {
    let old = registry.decoded(call, entry)?;
    check_preconditions(call, &old, options)?;
    let review = || {
        let (write, object, old) = (Write::Delete, None, Some(&*old));
        Review { registry, call, write, subresource: "", object, old, deletion: Some(options) }
    };
    admission::admit(review()).await?;
    admission::confirm(review()).await?;

    let mut new = (*old).clone();
    along.note.iter().for_each(|note| note(&mut new));
    set_finalizers(&call.kind, &mut new, options);
    match plan(&call.kind, &old, options.grace_period, call.now) {
        Plan::Pending if new == *old => return Ok(Some(Outcome::entry(pending(options), entry.clone()))),
        Plan::Pending => {}
        Plan::Mark { deletion, grace } => mark(registry, call, &mut new, &old, deletion, grace),
        Plan::Remove => {
            let strategy = &call.kind.strategy;
            let begins = strategy.deletes_in_two_steps() && !old.is_terminating();
            let grace = if begins || strategy.is_held(&new) { None } else { Some(0) };
            mark_or_keep(registry, call, &mut new, &old, grace);
            if !begins && !is_held(&call.kind, &new) {
                // Kinds whose deletions may take time show how they ended.
                let last = if call.kind.strategy.ends_gracefully() { &new } else { &*old };
                return remove(registry, call, entry, last, options.dry_run, along.together.clone()).await;
            }
        }
    }
    store(registry, call, entry, new, options, along.together.clone()).await
}

/// The status of what is not gone yet.
fn pending(options: &DeleteOptions) -> StatusCode {
    if options.cascades { StatusCode::ACCEPTED } else { StatusCode::OK }
}

/// What a request means for an object.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// A deletion under way goes on as it is.
    Pending,
    /// The owner (a node) has until `deletion` to end it.
    Mark { deletion: Timestamp, grace: i64 },
    /// Gone as soon as no finalizer holds it.
    Remove,
}

fn plan(kind: &Kind, old: &Object, requested: Option<i64>, now: Timestamp) -> Plan {
    if !old.is_terminating() {
        return match kind.strategy.grace(old, requested) {
            Grace::Immediate => Plan::Remove,
            Grace::Period(seconds) => Plan::Mark { deletion: later(now, seconds), grace: seconds },
        };
    }
    let running = old.get(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    match (running, requested) {
        (None | Some(0), _) | (Some(_), Some(0)) => Plan::Remove,
        (Some(running), Some(shorter)) if shorter < running => {
            let began: Option<Timestamp> = old.str(&["metadata", "deletionTimestamp"]).parse().ok();
            let deletion = began.map_or(now, |end| later(end, shorter - running));
            Plan::Mark { deletion, grace: shorter }
        }
        _ => Plan::Pending,
    }
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

fn mark(registry: &Registry, call: &Call, new: &mut Object, old: &Object, deletion: Timestamp, grace: i64) {
    if !old.is_terminating() {
        metadata::bump_generation(new);
    }
    new.set(&["metadata", "deletionTimestamp"], timestamp(deletion));
    new.set(&["metadata", "deletionGracePeriodSeconds"], grace);
    call.kind.strategy.mark_deletion(registry.context(call), new);
}

fn mark_or_keep(registry: &Registry, call: &Call, new: &mut Object, old: &Object, grace: Option<i64>) {
    if !old.is_terminating() {
        if call.kind.strategy.counts_deletion() {
            metadata::bump_generation(new);
        }
        new.set(&["metadata", "deletionTimestamp"], timestamp(call.now));
    }
    if let Some(grace) = grace {
        new.set(&["metadata", "deletionGracePeriodSeconds"], grace);
    }
    call.kind.strategy.mark_deletion(registry.context(call), new);
}

fn is_held(kind: &Kind, object: &Object) -> bool {
    !object.finalizers().is_empty() || kind.strategy.is_held(object)
}

/// Whether an object that is being deleted may go: no finalizer holds it, and no node still has its grace.
pub(crate) fn is_released(kind: &Kind, object: &Object) -> bool {
    let grace = object.get(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    !is_held(kind, object) && grace.unwrap_or(0) == 0
}

fn check_preconditions(call: &Call, old: &Object, options: &DeleteOptions) -> Result<(), ApiError> {
    let checks = [
        ("UID", &options.uid, old.uid(), "deleted and then recreated"),
        ("ResourceVersion", &options.resource_version, old.resource_version(), "modified"),
    ];
    for (what, wanted, found, happened) in checks {
        if let Some(wanted) = wanted
            && wanted != found
        {
            // Those that are deleted in two steps are looked at before the store is, which words it otherwise.
            if call.kind.strategy.deletes_in_two_steps() {
                let message = format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                );
                return Err(ApiError::Conflict { subject: call.subject(old.name()), message });
            }
            return Err(ApiError::Conflict {
                subject: options::precondition_subject(call, old.name()),
                message: format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {happened}"
                ),
            });
        }
    }
    Ok(())
}

/// Adds and removes the garbage collector's finalizers as the propagation policy says.
fn set_finalizers(kind: &Kind, object: &mut Object, options: &DeleteOptions) {
    if kind.strategy.dependents() == Dependents::Unthinkable {
        return;
    }
    let current: Vec<String> = object.finalizers().into_iter().map(str::to_owned).collect();
    let has = |name: &str| current.iter().any(|f| f == name);
    let wanted = match options.propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None if has(ORPHAN) => Some(ORPHAN),
        None if has(FOREGROUND) => Some(FOREGROUND),
        None => (kind.strategy.dependents() == Dependents::Orphaned).then_some(ORPHAN),
    };
    let mut finalizers: Vec<String> =
        current.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND || wanted == Some(f)).cloned().collect();
    if let Some(wanted) = wanted.filter(|wanted| !has(wanted)) {
        finalizers.push(wanted.to_owned());
    }
    if finalizers.is_empty() {
        object.remove(&["metadata", "finalizers"]);
    } else if finalizers != current {
        object.set(&["metadata", "finalizers"], finalizers);
    }
}

async fn store(
    registry: &Registry,
    call: &Call,
    entry: &Entry,
    new: Object,
    options: &DeleteOptions,
    mut txn: Txn,
) -> Result<Option<Outcome>, ApiError> {
    let status = pending(options);
    if options.dry_run {
        return Ok(Some(Outcome::object(status, new)));
    }
    let versions::Written { stored: value, shown } = versions::written(call, &new).await?;
    txn.expect.push(Expect::At(entry.key.clone(), entry.modified));
    txn.ops.push(Op::Put { key: entry.key.clone(), value });
    match registry.store.commit(txn).await {
        Ok(revision) => {
            let written = Entry { value: shown.into(), modified: revision, ..entry.clone() };
            Ok(Some(Outcome::entry(status, written)))
        }
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Removes an object with all that hangs on it in the same transaction: its claims, what leaves with it, and what `txn` says.
/// `None`: another writer came first. `last` is answered where Kubernetes answers the object.
pub(crate) async fn remove(
    registry: &Registry,
    call: &Call,
    entry: &Entry,
    last: &Object,
    dry_run: bool,
    mut txn: Txn,
) -> Result<Option<Outcome>, ApiError> {
    if !dry_run {
        txn.expect.push(Expect::At(entry.key.clone(), entry.modified));
        txn.ops.push(Op::Delete { key: entry.key.clone() });
        let held = call.kind.strategy.held(last);
        allocate::claim(call, &mut txn, last, &held, &[]);
        let companions = call.kind.strategy.leaves_with(last);
        txn.ops.extend(companions.iter().map(|other| Op::Delete {
            key: keys::core(other.resource, Namespace::new(&other.namespace), &other.name),
        }));
        match registry.store.commit(txn).await {
            Ok(_) => {}
            Err(CommitError::Conflict { .. }) => return Ok(None),
            Err(other) => return Err(other.into()),
        }
    }
    if call.kind.strategy.answers_deleted() {
        return Ok(Some(Outcome::object(StatusCode::OK, last.clone())));
    }
    Ok(Some(Outcome::status(StatusCode::OK, success(&call.subject(last.name()), last.uid()))))
}

/// The Status of a success that concerns an object.
pub(crate) fn success(subject: &Subject, uid: &str) -> Value {
    let mut details = serde_json::Map::new();
    for (key, value) in
        [("name", &*subject.name), ("group", &subject.group), ("kind", &subject.resource), ("uid", uid)]
    {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(metadata: Value) -> Object {
        Object::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn a_second_request_may_only_shorten_the_grace() {
        let catalogue = skiff_kinds::builtin();
        let pods = catalogue.find("", "v1", "pods").unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let terminating =
            object(json!({"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}));
        let check = |requested: Option<i64>, expected: Plan| {
            assert_eq!(plan(pods, &terminating, requested, now), expected);
        };
        check(None, Plan::Pending);
        check(Some(60), Plan::Pending);
        check(Some(0), Plan::Remove);
        check(Some(10), Plan::Mark { deletion: "2026-01-01T00:00:10Z".parse().unwrap(), grace: 10 });
    }

    #[test]
    fn propagation_becomes_a_finalizer() {
        let catalogue = skiff_kinds::builtin();
        let check = |kind: &str, before: &[&str], propagation: Option<Propagation>, after: &[&str]| {
            let mut object = object(json!({"finalizers": before}));
            let options = DeleteOptions { propagation, ..DeleteOptions::default() };
            set_finalizers(catalogue.find("", "v1", kind).unwrap(), &mut object, &options);
            assert_eq!(object.finalizers(), after);
        };
        check("services", &["a/b"], None, &["a/b"]);
        check("services", &["a/b"], Some(Propagation::Foreground), &["a/b", FOREGROUND]);
        check("services", &[FOREGROUND], Some(Propagation::Orphan), &[ORPHAN]);
        check("services", &[ORPHAN], Some(Propagation::Background), &[]);
        check("replicationcontrollers", &[], None, &[ORPHAN]);
        check("replicationcontrollers", &[], Some(Propagation::Background), &[]);
        check("events", &[], Some(Propagation::Orphan), &[]);
    }
}
