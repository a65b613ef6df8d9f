//! A Deployment that was scaled, or is paused: its ReplicaSets are scaled in proportion, so that a rollout gets on neither faster
//! nor slower.

use std::cmp::Reverse;

use super::model::{Member, Strategy, Wants, sum};
use super::revisions;

/// Whether the Deployment asks for another number than when its ReplicaSets were last scaled.
pub(super) fn is_due(wants: &Wants<'_>, new: Option<&Member>, old: &[Member]) -> bool {
    let noted =
        old.iter().chain(new).filter(|member| member.is_active()).filter_map(|m| revisions::desired(&m.set));
    noted.into_iter().any(|desired| desired != wants.replicas)
}

/// Scales: a lone ReplicaSet to the full number, several in proportion.
pub(super) fn scale(wants: &Wants<'_>, new: Option<&mut Member>, old: &mut [Member], status_replicas: i32) {
    skiff_ordered::sort_by_key(old, |member| Reverse(member.age()));
    let has_new = new.is_some();
    let saturated = new.as_deref().is_some_and(|new| is_saturated(wants, new));
    let mut active = 0;
    let mut all: Vec<&mut Member> = old.iter_mut().chain(new).collect();
    active += all.iter().filter(|member| member.is_active()).count();
    match active {
        0 => {
            // The new one is the last of them; without one, the newest is the first.
            let only = if has_new { all.last_mut() } else { all.first_mut() };
            if let Some(only) = only {
                only.scale(wants.replicas, wants, false);
            }
        }
        1 => all.iter_mut().filter(|member| member.is_active()).for_each(|only| {
            only.scale(wants.replicas, wants, false);
        }),
        _ if saturated => {
            let last = all.len() - 1;
            all[..last].iter_mut().filter(|member| member.is_active()).for_each(|old| {
                old.scale(0, wants, false);
            });
        }
        _ if wants.strategy == Strategy::Rolling => {
            all.retain(|member| member.is_active());
            in_proportion(wants, all, status_replicas);
        }
        _ => {}
    }
}

/// Whether the new ReplicaSet has all the replicas that are asked for, available.
fn is_saturated(wants: &Wants<'_>, new: &Member) -> bool {
    new.replicas() == wants.replicas
        && revisions::desired(&new.set) == Some(wants.replicas)
        && new.available() == wants.replicas
}

fn in_proportion(wants: &Wants<'_>, mut members: Vec<&mut Member>, status_replicas: i32) {
    let allowed = if wants.replicas > 0 { wants.most() } else { 0 };
    let to_add = allowed - sum(members.iter().map(|member| &**member), Member::replicas);
    // The largest first; of those as large, growing the younger, shrinking the older.
    match to_add {
        0 => {}
        1.. => skiff_ordered::sort_by_key(&mut members, |member| {
            (Reverse(member.replicas()), Reverse(member.age()))
        }),
        _ => skiff_ordered::sort_by_key(&mut members, |member| (Reverse(member.replicas()), member.age())),
    }
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(members.len());
    for member in &members {
        let share = share(wants, member, status_replicas, to_add, added);
        sizes.push(member.replicas() + share);
        added += share;
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + to_add - added).max(0);
    }
    for (member, size) in members.into_iter().zip(sizes) {
        member.scale(size, wants, true);
    }
}

/// How many of `to_add` (fewer than none when shrinking), of which `added` are given already, one ReplicaSet gets.
fn share(wants: &Wants<'_>, member: &Member, status_replicas: i32, to_add: i32, added: i32) -> i32 {
    let left = to_add - added;
    if member.replicas() == 0 || left == 0 {
        return 0;
    }
    let fraction = fraction(wants, member, status_replicas);
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

fn fraction(wants: &Wants<'_>, member: &Member, status_replicas: i32) -> i32 {
    if wants.replicas == 0 {
        return -member.replicas();
    }
    // What somebody took away or spoilt is guessed.
    let before = revisions::most(&member.set).filter(|most| *most != 0).unwrap_or(status_replicas);
    if before == 0 {
        return 0;
    }
    let size = f64::from(member.replicas()) * f64::from(wants.most()) / f64::from(before);
    #[allow(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    let size = size.round() as i32;
    size - member.replicas()
}
