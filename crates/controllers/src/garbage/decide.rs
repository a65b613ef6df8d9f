//! What becomes of an object, given the state of its owners.

use kube::api::PropagationPolicy;

use super::graph::{FOREGROUND, ORPHAN, Uid};

/// The state of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// Exists and stays.
    Solid,
    /// Does not exist.
    Absent,
    /// Is being deleted and waits for its dependents.
    Waiting,
}

/// What to do with an object.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Keep,
    /// Keep the object, drop these owners.
    Disown(Vec<Uid>),
    /// Delete it; first let its owners no longer wait for it, if it waits for dependents that wait for it in turn.
    Delete {
        policy: PropagationPolicy,
        unblock_owners: bool,
    },
}

/// Decides on an object that is not being deleted. `waits_in_turn`: it has dependents that are themselves deleted in
/// the foreground.
pub(super) fn verdict(
    owners: &[(Uid, OwnerState)],
    finalizers: &[String],
    has_dependents: bool,
    waits_in_turn: bool,
) -> Verdict {
    let any = |state: OwnerState| owners.iter().any(|(_, other)| *other == state);
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if any(OwnerState::Solid) {
        let gone = owners.iter().filter(|(_, state)| *state != OwnerState::Solid);
        let gone: Vec<Uid> = gone.map(|(uid, _)| uid.clone()).collect();
        return if gone.is_empty() { Verdict::Keep } else { Verdict::Disown(gone) };
    }
    if any(OwnerState::Waiting) && has_dependents {
        return Verdict::Delete { policy: PropagationPolicy::Foreground, unblock_owners: waits_in_turn };
    }
    let has = |finalizer: &str| finalizers.iter().any(|name| name == finalizer);
    let policy = if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    };
    Verdict::Delete { policy, unblock_owners: false }
}
