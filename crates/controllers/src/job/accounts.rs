//! How pods that ended come into a Job's counts, each once: their UIDs are written into the status, then their finalizers are removed,
//! and then they move from the list to the count. A pass that ends between goes on where it stopped.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobStatus, UncountedTerminatedPods};

use super::conditions::{self, Ending, Outcome, written};
use super::indexes::Indexes;
use super::plan::View;
use super::policy::Failure;
use crate::pods::work::Work;
use crate::pods::{KnownPod, Phase};

/// Pods written down at one time at most, which keeps the status small and lets others have their turn.
const MOST_UNCOUNTED: usize = 500;

/// What was done about pods in this pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) created: usize,
    pub(super) deleted: usize,
    /// How many of those were ready.
    pub(super) deleted_ready: usize,
    /// Whether all that was to be done about pods could be looked at, and was.
    pub(super) managed: bool,
}

/// A status on its way.
#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) status: JobStatus,
    /// Whether it has to be written before finalizers are removed.
    pub(super) news: bool,
    /// Pods whose finalizer to remove.
    pub(super) release: Vec<Arc<KnownPod>>,
    /// How the Job ends, once all is counted.
    ending: Option<Ending>,
    /// More pods are to be counted in another pass.
    full: bool,
    /// Whether the Job has just been suspended or resumed.
    pub(super) turned: Option<Turn>,
    /// UIDs of pods that have their finalizer.
    tracked: HashSet<String>,
}

/// Whether a Job has just been suspended, or resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Suspended,
    Resumed,
}

impl Accounts {
    /// Writes down what a view shows, after what was `done`.
    pub(super) fn of(view: &View<'_>, done: Done, now: Timestamp) -> Self {
        let active = view.active.len() + done.created - done.deleted;
        let mut ending = view.ending.clone();
        // While there may be pods that are not known of the end is not told.
        if ending.is_some() && (active > 0 || !done.managed) {
            ending = None;
        }
        let goes_on = view.ending.is_none();
        if goes_on && view.is_complete(active) {
            let message = "Reached expected number of succeeded pods";
            ending = Some(Ending::success("CompletionsReached", message));
        }
        let mut accounts = Self {
            status: view.status.clone(),
            news: false,
            release: Vec::new(),
            full: false,
            turned: None,
            tracked: view.tracked().map(|(pod, _)| pod.uid().to_owned()).collect(),
            ending,
        };
        accounts.start(view, now);
        if goes_on && done.managed && !view.wish.deleting && accounts.ending.is_none() {
            accounts.turn(view.wish.suspended, now);
        }
        let ready = view.ready().saturating_sub(done.deleted_ready);
        accounts.set_numbers(active, ready, view.terminating() + done.deleted);
        accounts.news |= accounts.count_released();
        accounts.write_down(view);
        if let Some(ending) = &accounts.ending {
            accounts.news |= ending.decide(&mut accounts.status, now);
        }
        accounts
    }

    fn start(&mut self, view: &View<'_>, now: Timestamp) {
        if self.status.start_time.is_none() && !view.wish.suspended {
            self.status.start_time = Some(written(now));
        }
    }

    fn turn(&mut self, suspended: bool, now: Timestamp) {
        let (reason, message) =
            if suspended { ("JobSuspended", "Job suspended") } else { ("JobResumed", "Job resumed") };
        if !conditions::set(&mut self.status, conditions::SUSPENDED, suspended, reason, message, now) {
            return;
        }
        self.news = true;
        // The time that a Job may be active begins anew.
        self.status.start_time = (!suspended).then(|| written(now));
        self.turned = Some(if suspended { Turn::Suspended } else { Turn::Resumed });
    }

    fn set_numbers(&mut self, active: usize, ready: usize, terminating: usize) {
        let status = &mut self.status;
        let new = (number(active), number(ready), number(terminating));
        self.news |= (status.active.unwrap_or(0), status.ready, status.terminating)
            != (new.0, Some(new.1), Some(new.2));
        (status.active, status.ready, status.terminating) = (Some(new.0), Some(new.1), Some(new.2));
    }

    /// Moves pods without finalizer from the lists to the counts. Returns whether there were any.
    fn count_released(&mut self) -> bool {
        let JobStatus { uncounted_terminated_pods, succeeded, failed, .. } = &mut self.status;
        let uncounted = uncounted_terminated_pods.get_or_insert_default();
        let tracked = &self.tracked;
        let settle = |uids: &mut Option<Vec<String>>, count: &mut Option<i32>| {
            let Some(list) = uids else { return false };
            let before = list.len();
            list.retain(|uid| tracked.contains(uid));
            let settled = before - list.len();
            if list.is_empty() {
                *uids = None;
            }
            if settled > 0 {
                *count = Some(count.unwrap_or(0).saturating_add(number(settled)));
            }
            settled > 0
        };
        settle(&mut uncounted.succeeded, succeeded) | settle(&mut uncounted.failed, failed)
    }

    fn write_down(&mut self, view: &View<'_>) {
        let mut new_indexes = Vec::new();
        for (pod, work) in view.tracked() {
            let failed = view.wish.has_failed(pod);
            if !self.may_release(view, pod, work, failed) {
                continue;
            }
            self.release.push(pod.clone());
            self.write_down_one(view, pod, work, failed, &mut new_indexes);
            let uncounted = self.uncounted();
            let lists = [&uncounted.succeeded, &uncounted.failed];
            let listed: usize = lists.iter().filter_map(|list| Some(list.as_ref()?.len())).sum();
            if new_indexes.len() + listed >= MOST_UNCOUNTED {
                self.full = true;
                break;
            }
        }
        if view.wish.indexed {
            self.write_down_indexes(view, new_indexes);
        }
    }

    fn may_release(&self, view: &View<'_>, pod: &KnownPod, work: &Work, failed: bool) -> bool {
        if view.wish.deleting || self.ending.is_some() || pod.phase() == Phase::Succeeded {
            return true;
        }
        let awaits_another = || {
            let last = work.index.and_then(|index| view.to_replace.get(&index));
            last.is_some_and(|last| last.uid() == pod.uid())
        };
        failed && !awaits_another()
    }

    fn write_down_one(
        &mut self,
        view: &View<'_>,
        pod: &KnownPod,
        work: &Work,
        failed: bool,
        new_indexes: &mut Vec<u32>,
    ) {
        let (succeeded_before, failed_before) = view.uncounted();
        let uid = pod.uid();
        if pod.phase() == Phase::Succeeded && !failed_before.contains(uid) {
            if view.wish.indexed {
                // The index is enough to count it once.
                let index = view.wish.index_of(work).filter(|index| !view.completed_before.has(*index));
                self.news |= index.is_some();
                new_indexes.extend(index);
            } else if !succeeded_before.contains(uid) {
                self.news = true;
                self.uncounted().succeeded.get_or_insert_default().push(uid.to_owned());
            }
            return;
        }
        // What is left of a Job that failed has failed with it.
        let ends_by_failure = self.ending.as_ref().is_some_and(|ending| ending.outcome == Outcome::Failure);
        let is_new = !failed_before.contains(uid) && view.wish.counts(work);
        if (failed || ends_by_failure) && is_new && view.failure(pod, work) != Failure::Ignored {
            self.news = true;
            self.uncounted().failed.get_or_insert_default().push(uid.to_owned());
        }
    }

    fn write_down_indexes(&mut self, view: &View<'_>, new_indexes: Vec<u32>) {
        let completed = view.completed.and(&new_indexes.into_iter().collect());
        let text = Some(completed.to_string()).filter(|text| !text.is_empty());
        let failed = view.failed_indexes.as_ref().map(Indexes::to_string);
        self.news |= text != self.status.completed_indexes || failed != self.status.failed_indexes;
        self.status.succeeded = Some(i32::try_from(completed.total()).unwrap_or(i32::MAX));
        (self.status.completed_indexes, self.status.failed_indexes) = (text, failed);
    }

    fn uncounted(&mut self) -> &mut UncountedTerminatedPods {
        self.status.uncounted_terminated_pods.get_or_insert_default()
    }

    /// The finalizers of these pods are gone. Returns whether that changes the status.
    pub(super) fn released(&mut self, uids: &[String]) -> bool {
        for uid in uids {
            self.tracked.remove(uid);
        }
        self.count_released()
    }

    /// Ends the Job, if it ends and nothing is left to wait for.
    pub(super) fn conclude(&mut self, now: Timestamp) -> Option<Ending> {
        let ending = self.ending.clone()?;
        let uncounted = self.uncounted();
        let waits = uncounted.succeeded.is_some() || uncounted.failed.is_some() || self.full;
        if waits || self.status.terminating.unwrap_or(0) > 0 {
            return None;
        }
        ending.conclude(&mut self.status, now);
        Some(ending)
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
